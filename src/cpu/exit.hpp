// Why a vCPU left guest execution. What an exit carries travels with it.
//
// A software engine asks the bus directly in mid-instruction, so port and memory-mapped I/O exits come only
// from engines that run on hardware.
#pragma once

#include <string>
#include <variant>

#include "base/address.hpp"

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
struct PortIo {
  u16 port;
  u8 size;
  bool write;
};
struct Mmio {
  GuestPhys address;
  u8 size;
  bool write;
};
}  // namespace exit

using Exit = std::variant<exit::Halted, exit::Shutdown, exit::Interrupted, exit::BudgetSpent, exit::PortIo,
                          exit::Mmio>;

}  // namespace vellum
