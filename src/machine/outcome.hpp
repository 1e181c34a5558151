// How a run of the machine's vCPUs ends, and the exit status that stands for it (docs/exit-status.md).
//
// A guest's code through the debug-exit port gives odd statuses, (v << 1) | 1; all of our own are even, so
// that the two cannot be mixed up.
#pragma once

#include <string>

#include "base/int.hpp"

namespace vellum {

struct Outcome {
  enum class Kind : u8 {
    kPowerOff,      ///< ACPI S5
    kReset,         ///< the guest asked for a reset: ACPI, port 0xcf9, the keyboard controller
    kPanic,         ///< a reset after the console showed a kernel panic
    kTripleFault,   ///< a vCPU shut down
    kDebugExit,     ///< a write to port 0xf4; `code` is the value
    kStuck,         ///< every vCPU halted for ever
    kLeft,          ///< the user typed Ctrl-] twice
    kSignal,        ///< a signal asked us to end; `code` is its number
    kOutputClosed,  ///< nobody reads the console any more
    kHostFailure,   ///< the host let us down while the guest ran
  };
  Kind kind = Kind::kPowerOff;
  int code = 0;
  std::string text;  ///< the kinds that get a message: what happened
};

/// The exit status of `vellum run`. kSignal has none (the process dies of the signal).
int exit_status(const Outcome& outcome);

/// The one line for the user, without "vellum: "; empty when there is nothing to say.
std::string describe(const Outcome& outcome);

}  // namespace vellum
