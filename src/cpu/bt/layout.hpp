// Host operands of what translated code works with: scratch registers, guest registers, fields of the
// Context.
#pragma once

#include <asmjit/x86.h>

#include <bit>

#include "cpu/bt/context.hpp"

namespace vellum::bt {

namespace a = asmjit::x86;

// Scratch. RAX also carries flags (LAHF) and implicit operands; R14 the address of the guest's memory
// operand.
inline constexpr a::Gp kT0 = a::rax, kT1 = a::r14, kT2 = a::r15;

/// The host's registers for these two of the guest's.
inline const a::Gp kGuestRax = a::gpq(static_cast<u32>(kHostOf[x86::kRax])),
                   kGuestRsp = a::gpq(static_cast<u32>(kHostOf[x86::kRsp]));

inline constexpr u16 kRflags = offsetof(VcpuState, rflags), kCr4 = offsetof(VcpuState, cr4);

inline a::Gp sized(const a::Gp& r, unsigned bytes) {
  switch (bytes) {
    case 1:
      return r.r8();
    case 2:
      return r.r16();
    case 4:
      return r.r32();
    default:
      return r.r64();
  }
}

/// The shift that multiplies by an address's scale: 1, 2, 4, 8, or 0 where there is no index.
inline u32 shift_of(u8 scale) {
  return scale == 0 ? 0 : static_cast<u32>(std::countr_zero(scale));
}

/// Memory at `offset` from the Context, by way of GS.
inline a::Mem gs_at(i64 offset, unsigned bytes) {
  a::Mem m = a::ptr_abs(static_cast<u64>(offset), bytes);
  m.setSegment(a::gs);
  return m;
}
inline a::Mem gs_at(const a::Gp& base, i64 offset, unsigned bytes) {
  a::Mem m = a::ptr(base, static_cast<i32>(offset), bytes);
  m.setSegment(a::gs);
  return m;
}

/// Distances from the Context that depend on where the vCPU lies.
struct Distances {
  i64 state = 0;  ///< of VcpuState

  a::Mem gpr(unsigned n, unsigned bytes = 8) const { return gs_at(state + 8 * static_cast<i64>(n), bytes); }
  a::Mem at(u16 offset_in_state, unsigned bytes) const { return gs_at(state + offset_in_state, bytes); }
  a::Mem segment_base(x86::Seg seg) const { return segment_field(seg, offsetof(x86::Segment, base), 8); }
  a::Mem selector(x86::Seg seg) const { return segment_field(seg, offsetof(x86::Segment, selector), 2); }
  a::Mem rip() const { return at(static_cast<u16>(offsetof(VcpuState, rip)), 8); }

 private:
  a::Mem segment_field(x86::Seg seg, std::size_t offset, unsigned bytes) const {
    return at(static_cast<u16>(offsetof(VcpuState, seg) + static_cast<unsigned>(seg) * sizeof(x86::Segment) +
                               offset),
              bytes);
  }
};

inline a::Mem field(std::size_t offset, unsigned bytes) {
  return gs_at(static_cast<i64>(offset), bytes);
}

}  // namespace vellum::bt
