// The guest's vector and x87 state in the host's own registers while translated code runs.
//
// Context::vectors says what is there, and that it may be used; what is not is in VcpuState::xsave. A unit
// that needs any of it begins with a test of these bits. Wherever translated code calls C++ or is left, what
// is in the host's registers goes back to memory first, and the bits are 0 (spill() in routines.cpp). So a
// bit that is set also says that nothing has changed since that decides whether the instructions may run:
// CR0, CR4, XCR0, MXCSR's masks and FCW's change in C++ only. Code that changes them without calling C++ must
// leave no bit set.
#pragma once

#include "cpu/bt/layout.hpp"

namespace vellum::bt {

/// Bits of Context::vectors.
enum VectorBits : u32 {
  kSseOpen = 1,  ///< the vector registers and MXCSR are the guest's; legacy SSE instructions may run
  kAvxOpen = 2,  ///< the same; VEX-encoded ones may run
  kX87Open = 4,  ///< the x87 state is the guest's; x87 and MMX instructions may run
  kVectors = kSseOpen | kAvxOpen,
};

/// The instructions that may run natively without a further look: they are enabled, and none can raise a
/// floating-point exception, since all are masked and no x87 exception is pending.
u32 open_vectors(VcpuState& state);

/// The routines' bodies. Both may change every register but RAX, R14 and R15, and the flags.
/// ECX: the bits of what is in the host's registers; moves it to memory, leaves the host's defaults.
void emit_save_vectors(a::Assembler& as, const Distances& d);
/// ECX: the bits of what is to be loaded. Changes RAX.
void emit_load_vectors(a::Assembler& as, const Distances& d);

}  // namespace vellum::bt
