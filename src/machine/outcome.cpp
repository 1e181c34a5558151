#include "machine/outcome.hpp"

#include <fmt/format.h>

namespace vellum {

int exit_status(const Outcome& outcome) {
  using Kind = Outcome::Kind;
  switch (outcome.kind) {
    case Kind::kPowerOff:
    case Kind::kReset:
    case Kind::kLeft:
      return 0;
    case Kind::kDebugExit:
      return ((outcome.code << 1) | 1) & 0xff;
    case Kind::kTripleFault:
      return 4;
    case Kind::kPanic:
      return 6;
    case Kind::kStuck:
      return 8;
    case Kind::kOutputClosed:
    case Kind::kHostFailure:
      return 10;
    case Kind::kSignal:
      return 128 + outcome.code;
  }
  return 10;
}

std::string describe(const Outcome& outcome) {
  using Kind = Outcome::Kind;
  switch (outcome.kind) {
    case Kind::kPowerOff:
    case Kind::kReset:
    case Kind::kLeft:
    case Kind::kSignal:
    case Kind::kDebugExit:
      return {};
    case Kind::kTripleFault:
      return fmt::format("the guest crashed: {}", outcome.text);
    case Kind::kPanic:
      return fmt::format("the guest's kernel panicked: {}", outcome.text);
    case Kind::kStuck:
      return fmt::format("the guest is stuck for ever: {}", outcome.text);
    case Kind::kOutputClosed:
      return fmt::format("the guest's console has nowhere to go: {}", outcome.text);
    case Kind::kHostFailure:
      return outcome.text;
  }
  return {};
}

}  // namespace vellum
