// Runs code one instruction of the host's at a time, so that a test can be the other processor between any
// two of them: what a data race would need luck for is tried at each place in turn.
#pragma once

#include <functional>

#include "base/int.hpp"

namespace vellum::differential {

/// Called before each of the host's instructions, in a signal handler on the same thread. `rip`: the
/// instruction.
using StepObserver = std::function<void(u64 step, const u8* rip)>;

/// Runs `f`, and returns how many instructions it took. One call at a time in a process.
u64 run_in_host_steps(const std::function<void()>& f, const StepObserver& observer);

/// Whether the instruction orders earlier stores before later loads on its own processor (SDM vol. 3A §9.2.5,
/// §9.3): MFENCE, a LOCK prefix, XCHG with memory, CPUID.
bool is_full_fence(const u8* instruction);

}  // namespace vellum::differential
