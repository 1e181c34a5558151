// The memory operand of a native instruction: guest RAM itself when it lies within one page of it, so that
// the instruction's access has the size and order that it has on hardware; else a buffer (page crossings,
// memory-mapped I/O, armed breakpoints), moved in or out by the MMU, which checks everything first.
//
// Insn.aux is the alignment that the instruction demands, minus one (0, 15, 31): #GP(0) if not met (SDM vol.
// 2A §2.4, exception types 1, 2 and 4).
#pragma once

#include "cpu/interp/operand.hpp"

namespace vellum::interp::native {

/// The largest operand that an instruction moves at once.
inline constexpr unsigned kMaxOperand = 64;

[[gnu::always_inline]] inline bool aligned_linear(Vcpu& v, const Insn& i, unsigned size, Access access,
                                                  u64& linear) {
  if (!linear_of(v, i, size, access, linear)) return false;
  return (linear & i.aux) == 0 || v.raise_gp(0);
}

/// Calls run(pointer) with `size` bytes of the memory operand. run returns false after raising a fault.
template <class Run>
[[gnu::always_inline]] inline Flow with_source(Vcpu& v, const Insn& i, unsigned size, Run run) {
  u64 linear;
  if (!aligned_linear(v, i, size, Access::kRead, linear)) return Flow::kFault;
  bool faulted;
  if (u8* p = v.mmu.pointer_for_read(linear, size, seg_of(i), faulted); p != nullptr) [[likely]]
    return run(static_cast<void*>(p)) ? Flow::kNext : Flow::kFault;
  alignas(64) u8 buffer[kMaxOperand];
  if (faulted || !v.mmu.read_bytes(linear, buffer, size, seg_of(i))) return Flow::kFault;
  return run(static_cast<void*>(buffer)) ? Flow::kNext : Flow::kFault;
}

/// Calls run(pointer), which writes `size` bytes there. run returns false after raising a fault, having
/// written nothing. `stored`, asked after run, tells whether it wrote: an x87 store that raises an exception
/// does not.
template <class Run, class Stored>
[[gnu::always_inline]] inline Flow with_target(Vcpu& v, const Insn& i, unsigned size, Run run,
                                               Stored stored) {
  u64 linear;
  if (!aligned_linear(v, i, size, Access::kWrite, linear)) return Flow::kFault;
  bool faulted;
  if (u8* p = v.mmu.pointer_for_write(linear, size, seg_of(i), faulted); p != nullptr) [[likely]] {
    if (!run(static_cast<void*>(p))) return Flow::kFault;
    v.mmu.wrote(linear, size);
    return after_store(v);
  }
  if (faulted || !v.mmu.probe(linear, size, Access::kWrite, seg_of(i))) return Flow::kFault;
  alignas(64) u8 buffer[kMaxOperand];
  if (!run(static_cast<void*>(buffer))) return Flow::kFault;
  if (stored() && !v.mmu.write_bytes(linear, buffer, size, seg_of(i))) return Flow::kFault;
  return after_store(v);
}

template <class Run>
[[gnu::always_inline]] inline Flow with_target(Vcpu& v, const Insn& i, unsigned size, Run run) {
  return with_target(v, i, size, run, [] { return true; });
}

// SAFETY: as guest_load() and guest_store(): one machine instruction on memory that other threads may race
// on.
[[gnu::always_inline]] inline void copy_128(void* to, const void* from) {
  const auto& source = *static_cast<const detail::Unaligned<u128>*>(from);
  auto& target = *static_cast<detail::Unaligned<u128>*>(to);
  asm volatile("movdqu %1, %%xmm0\n\tmovdqu %%xmm0, %0" : "=m"(target.value) : "m"(source.value) : "xmm0");
}

}  // namespace vellum::interp::native
