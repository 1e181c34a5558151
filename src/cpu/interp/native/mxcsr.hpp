// The host's MXCSR while guest instructions run (SDM vol. 1 §10.2.3).
//
// Between thunks the host keeps the guest's MXCSR as long as that differs from the default in sticky flags
// only: our own code neither reads nor minds those, and two STMXCSR are cheaper than two LDMXCSR. Any other
// setting is loaded for the one instruction.
#pragma once

#include "cpu/interp/native/fault_guard.hpp"
#include "cpu/system/vcpu.hpp"

namespace vellum::interp::native {

inline constexpr u32 kMxcsrDefault = 0x1f80;
inline constexpr u32 kMxcsrFlags = 0x3f;
inline constexpr u32 kMxcsrMasks = 0x1f80;
inline constexpr u32 kMxcsrValid =
    0xffff;  // MXCSR_MASK: DAZ exists, AMD's misaligned mode (bit 17) is not offered

[[gnu::always_inline]] inline u32 host_mxcsr() {
  u32 value;
  asm volatile("stmxcsr %0" : "=m"(value));
  return value;
}
[[gnu::always_inline]] inline void host_mxcsr(u32 value) {
  asm volatile("ldmxcsr %0" : : "m"(value));
}

/// The slow way of run_float(): another rounding mode, DAZ, FTZ, or unmasked exceptions.
bool run_float_slow(Vcpu& v, Thunk thunk, void* memory);

/// Runs a thunk whose instruction reads or changes MXCSR. False: v.fault holds #XM (or #UD, by
/// CR4.OSXMMEXCPT), MXCSR has the flags, nothing else changed.
[[gnu::always_inline]] inline bool run_float(Vcpu& v, Thunk thunk, void* memory) {
  u32& guest = v.state.xsave.mxcsr();
  if ((guest & ~kMxcsrFlags) != kMxcsrDefault) [[unlikely]]
    return run_float_slow(v, thunk, memory);
  if (host_mxcsr() != guest) host_mxcsr(guest);
  thunk(&v.state, memory);
  guest = host_mxcsr();
  return true;
}

}  // namespace vellum::interp::native
