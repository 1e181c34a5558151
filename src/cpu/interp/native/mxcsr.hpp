// The host's MXCSR while guest instructions run (SDM vol. 1 §10.2.3).
//
// A guest's MXCSR that differs from the default in sticky flags only stays loaded after the thunk: our own
// code neither reads nor minds those. Any other setting is taken back at once. (Measured on a Zen 5: LDMXCSR
// of the value that is loaded already costs 0.3 ns, STMXCSR 3.4 ns, so it pays to load always and never to
// ask.)
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
  host_mxcsr(guest);
  thunk(&v.state, memory);
  asm volatile("stmxcsr %0" : "=m"(guest));
  return true;
}

}  // namespace vellum::interp::native
