#include "cli/diff_command.hpp"

#include <unistd.h>

#include <cstdio>

#include "base/log.hpp"
#include "cli/one_line.hpp"

namespace vellum::cli {
namespace {

std::string outcome_text(const std::optional<Outcome>& outcome) {
  if (!outcome) return "the limit was reached";
  switch (outcome->kind) {
    case Outcome::Kind::kPowerOff:
      return "both powered off";
    case Outcome::Kind::kReset:
      return "both reset";
    case Outcome::Kind::kDebugExit:
      return fmt::format("both left through the debug exit with {}", outcome->code);
    default:
      return fmt::format("both ended: {}", describe(*outcome));
  }
}

}  // namespace

int diff_command(const DiffOptions& options) {
  init_logging(options.log_level);
  const bool terminal = ::isatty(STDERR_FILENO) == 1;
  const auto result = run_lockstep(options.request, [terminal](u64 position) {
    if (terminal && position % 10'000'000 == 0)
      fmt::print(stderr, "\r{} million instructions compared\x1b[K", position / 1'000'000);
  });
  if (terminal) fmt::print(stderr, "\r\x1b[K");
  if (!result) {
    fmt::print(stderr, "vellum: {}\n", one_line(result.error().message));
    return 2;
  }
  if (!result->divergence) {
    fmt::print("no divergence between {} and {} in {} instructions ({} comparisons); {}\n",
               options.request.engine_a, options.request.engine_b, result->instructions, result->comparisons,
               outcome_text(result->outcome));
    return 0;
  }
  const Divergence& d = *result->divergence;
  fmt::print("{} (A) and {} (B) diverge after {} instructions, on vCPU {}, at\n  {}\n",
             options.request.engine_a, options.request.engine_b, d.position, d.vcpu, d.instruction);
  for (const auto& line : d.differences) fmt::print("  {}\n", line);
  return 1;
}

}  // namespace vellum::cli
