// Running one thunk with SIMD floating-point exceptions unmasked.
//
// A guest that unmasks an exception in MXCSR wants #XM with its destination unchanged and MXCSR as the
// processor leaves it (pre-computation exceptions of any element hide post-computation ones, an unmasked
// underflow need not be inexact: SDM vol. 1 §11.5.2-11.5.3). The host's own #XM has all that, so the thunk
// runs under the guest's masks and the SIGFPE that the host's kernel makes of #XM becomes the thunk's return.
//
// The one piece of state that a signal handler must find stands in fault_guard.cpp: a thread-local record
// that says that a thunk is running on this thread (docs/design/signals.md).
#pragma once

#include "cpu/interp/native/thunk.hpp"

namespace vellum::interp::native {

/// Runs `thunk` under `mxcsr`, which has exceptions unmasked. `mxcsr` becomes what the instruction left
/// there. False: it raised an unmasked exception and wrote no destination. The host's MXCSR is the default
/// one afterwards.
bool run_guarded(Thunk thunk, VcpuState& state, void* memory, u32& mxcsr);

}  // namespace vellum::interp::native
