// The interpreter's own form of a decoded instruction: a handler and its operands, resolved as far as the
// bytes allow.
//
// Register operands are byte offsets within Vcpu, so that one handler serves AH and R15 alike. While a
// handler runs, v.state.rip is the address of the next instruction; RIP-relative operands are therefore
// ordinary base + disp.
#pragma once

#include "cpu/system/segments.hpp"
#include "cpu/system/vcpu.hpp"
#include "x86/decode.hpp"

namespace vellum::interp {

enum class Flow : u8 {
  kNext,     ///< go on with the next instruction of the unit
  kJump,     ///< done; RIP changed, but neither the code's mode nor its privilege: look up RIP
  kEndUnit,  ///< done; look at hazards and look up RIP afresh (jumps, mode changes, stores that hit code)
  kFault,    ///< v.fault holds an exception; the engine sets RIP back to this instruction and delivers it
  kRepeat,   ///< a REP instruction stopped midway: RIP stays at this instruction, state is consistent, not
             ///< retired
};

struct Insn;
using Handler = Flow (*)(Vcpu&, const Insn&);

struct Insn {
  Handler run = nullptr;
  u64 imm = 0;  ///< immediate (sign-extended as the instruction does), or a relative displacement
  const void* extra = nullptr;  ///< what a handler needs beyond (a native thunk)
  i32 disp = 0;
  u16 dst = 0, src = 0;     ///< register operands
  u16 base = 0, index = 0;  ///< of the memory operand; Vcpu::zero when absent
  u16 seg_base = 0;         ///< 64-bit mode: FS.base, GS.base or Vcpu::zero
  u8 scale = 0;             ///< shift of the index
  u8 address_shift = 0;     ///< 0, 32 or 48: zero bits above the effective address
  u8 seg = 0;               ///< x86::Seg of the memory operand
  bool legacy = false;      ///< not 64-bit mode: limits and types are checked
  u8 length = 0;            ///< bytes
  u8 size = 0;              ///< operand size in bytes
  u8 position = 0;          ///< instructions of the unit before this one
  u8 aux = 0;               ///< a handler's own: condition, REP kind, address size …
};

template <class T>
T& reg(Vcpu& v, u16 offset) {
  return *reinterpret_cast<T*>(reinterpret_cast<u8*>(&v) +
                               offset);  // SAFETY: offsets come from gpr_offset() below
}
inline u64 reg64(const Vcpu& v, u16 offset) {
  return *reinterpret_cast<const u64*>(reinterpret_cast<const u8*>(&v) + offset);
}

inline constexpr u16 gpr_offset(unsigned number, bool high_byte = false) {
  return static_cast<u16>(8 * number + (high_byte ? 1 : 0));  // Vcpu::state is first, gpr is first in it
}

/// The effective address (offset within the segment).
inline u64 offset_of(const Vcpu& v, const Insn& i) {
  const u64 sum = reg64(v, i.base) + (reg64(v, i.index) << i.scale) + static_cast<u64>(i64{i.disp});
  return sum << i.address_shift >> i.address_shift;
}

/// The linear address of the memory operand, `size` bytes of which are accessed. In 64-bit mode the canonical
/// check is the MMU's (pass i.seg to it).
[[gnu::always_inline]] inline bool linear_of(Vcpu& v, const Insn& i, unsigned size, Access access,
                                             u64& linear) {
  const u64 offset = offset_of(v, i);
  if (i.legacy) [[unlikely]]
    return legacy_address(v, static_cast<x86::Seg>(i.seg), offset, size, access, linear);
  linear = offset + reg64(v, i.seg_base);
  return true;
}

/// Fills in the fields of `out` that describe memory operand `operand` (base, index, scale, disp, seg …).
/// `mode_64`: the code's mode.
void bind_memory(const ZydisDecodedOperand& operand, const ZydisDecodedInstruction& info, bool mode_64,
                 Insn& out);

u16 zero_offset();  ///< of Vcpu::zero
u16 rip_offset();   ///< of Vcpu::state.rip

/// The offset of a general register operand: any width, AH to BH included.
u16 register_offset(ZydisRegister r);

}  // namespace vellum::interp
