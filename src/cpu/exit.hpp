// Why a vCPU left guest execution. What an exit carries travels with it.
//
// Port and memory-mapped I/O is none: every engine asks the bus by itself, software in mid-instruction,
// hardware between two entries.
#pragma once

#include <string>
#include <variant>

namespace vellum {

namespace exit {
/// HLT with nothing pending: the run loop decides how to wait.
struct Halted {};
/// Triple fault. `reason` names the events that led here, for the one message that a user gets.
struct Shutdown {
  std::string reason;
};
/// Hazards::kStop was set.
struct Interrupted {};
/// All steps of the budget are taken, no more.
struct BudgetSpent {};
/// The host cannot run this vCPU any further; `reason` says what it refused.
struct HostFailed {
  std::string reason;
};
}  // namespace exit

using Exit =
    std::variant<exit::Halted, exit::Shutdown, exit::Interrupted, exit::BudgetSpent, exit::HostFailed>;

}  // namespace vellum
