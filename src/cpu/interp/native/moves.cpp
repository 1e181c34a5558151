// The commonest vector moves without a thunk: they are most of what compiled code does with vector registers
// (copying memory, spilling, zeroing), and a copy between guest memory and the state needs no host register
// of the guest's.
//
// Insn.dst and src are the low 128 bits of vector registers, or general registers; Insn.imm is the offset of
// the destination's upper half, for VEX forms (which clear it or fill it).
#include <array>

#include "cpu/interp/native/families.hpp"
#include "cpu/interp/native/memory.hpp"

namespace vellum::interp::native {
namespace {

u16 high_of(const Insn& i) {
  return static_cast<u16>(i.imm);
}

template <Gate kGate>
[[gnu::always_inline]] inline void clear_high(Vcpu& v, const Insn& i) {
  if constexpr (kGate == Gate::kAvx) reg<std::array<u64, 2>>(v, high_of(i)) = {};
}

// 16 or 32 bytes, memory to register.
template <Gate kGate, unsigned kSize>
Flow load_whole(Vcpu& v, const Insn& i) {
  if (!gate_open<kGate>(v.state)) [[unlikely]]
    return gate_fault(v, kGate);
  return with_source(v, i, kSize, [&](const void* memory) {
    copy_128(&reg<u8>(v, i.dst), memory);
    if constexpr (kSize == 32) {
      copy_128(&reg<u8>(v, high_of(i)), static_cast<const u8*>(memory) + 16);
    } else {
      clear_high<kGate>(v, i);
    }
    return true;
  });
}

template <Gate kGate, unsigned kSize>
Flow store_whole(Vcpu& v, const Insn& i) {
  if (!gate_open<kGate>(v.state)) [[unlikely]]
    return gate_fault(v, kGate);
  return with_target(v, i, kSize, [&](void* memory) {
    copy_128(memory, &reg<u8>(v, i.src));
    if constexpr (kSize == 32) copy_128(static_cast<u8*>(memory) + 16, &reg<u8>(v, high_of(i)));
    return true;
  });
}

// 4 or 8 bytes, memory to register, the rest cleared.
template <Gate kGate, class T>
Flow load_low(Vcpu& v, const Insn& i) {
  if (!gate_open<kGate>(v.state)) [[unlikely]]
    return gate_fault(v, kGate);
  T value;
  if (!load<T>(v, i, value)) return Flow::kFault;
  reg<std::array<u64, 2>>(v, i.dst) = {value, 0};
  clear_high<kGate>(v, i);
  return Flow::kNext;
}

// 4 or 8 bytes of a vector register to memory (src says which).
template <Gate kGate, class T>
Flow store_low(Vcpu& v, const Insn& i) {
  if (!gate_open<kGate>(v.state)) [[unlikely]]
    return gate_fault(v, kGate);
  return store<T>(v, i, reg<T>(v, i.src)) ? after_store(v) : Flow::kFault;
}

// MOVD, MOVQ between register files, and MOVQ xmm, xmm.
template <Gate kGate, class T>
Flow to_vector(Vcpu& v, const Insn& i) {
  if (!gate_open<kGate>(v.state)) [[unlikely]]
    return gate_fault(v, kGate);
  reg<std::array<u64, 2>>(v, i.dst) = {reg<T>(v, i.src), 0};
  clear_high<kGate>(v, i);
  return Flow::kNext;
}

template <Gate kGate, class T>
Flow from_vector(Vcpu& v, const Insn& i) {
  if (!gate_open<kGate>(v.state)) [[unlikely]]
    return gate_fault(v, kGate);
  write_reg<T>(v, i.dst, reg<T>(v, i.src));
  return Flow::kNext;
}

template <Gate kGate>
Flow copy_register(Vcpu& v, const Insn& i) {
  if (!gate_open<kGate>(v.state)) [[unlikely]]
    return gate_fault(v, kGate);
  reg<std::array<u64, 2>>(v, i.dst) = reg<std::array<u64, 2>>(v, i.src);
  clear_high<kGate>(v, i);
  return Flow::kNext;
}

// PXOR, XORPS … of a register with itself.
template <Gate kGate>
Flow clear_register(Vcpu& v, const Insn& i) {
  if (!gate_open<kGate>(v.state)) [[unlikely]]
    return gate_fault(v, kGate);
  reg<std::array<u64, 2>>(v, i.dst) = {};
  clear_high<kGate>(v, i);
  return Flow::kNext;
}

enum class Move : u8 { kNone, kWhole, kWholeAligned, kLow, kXor };

Move classify(ZydisMnemonic m) {
  switch (m) {
    case ZYDIS_MNEMONIC_MOVUPS:
    case ZYDIS_MNEMONIC_MOVUPD:
    case ZYDIS_MNEMONIC_MOVDQU:
    case ZYDIS_MNEMONIC_LDDQU:
    case ZYDIS_MNEMONIC_VMOVUPS:
    case ZYDIS_MNEMONIC_VMOVUPD:
    case ZYDIS_MNEMONIC_VMOVDQU:
    case ZYDIS_MNEMONIC_VLDDQU:
      return Move::kWhole;
    case ZYDIS_MNEMONIC_MOVAPS:
    case ZYDIS_MNEMONIC_MOVAPD:
    case ZYDIS_MNEMONIC_MOVDQA:
    case ZYDIS_MNEMONIC_MOVNTPS:
    case ZYDIS_MNEMONIC_MOVNTPD:
    case ZYDIS_MNEMONIC_MOVNTDQ:
    case ZYDIS_MNEMONIC_MOVNTDQA:
    case ZYDIS_MNEMONIC_VMOVAPS:
    case ZYDIS_MNEMONIC_VMOVAPD:
    case ZYDIS_MNEMONIC_VMOVDQA:
    case ZYDIS_MNEMONIC_VMOVNTPS:
    case ZYDIS_MNEMONIC_VMOVNTPD:
    case ZYDIS_MNEMONIC_VMOVNTDQ:
    case ZYDIS_MNEMONIC_VMOVNTDQA:
      return Move::kWholeAligned;
    case ZYDIS_MNEMONIC_MOVD:
    case ZYDIS_MNEMONIC_MOVQ:
    case ZYDIS_MNEMONIC_MOVSS:
    case ZYDIS_MNEMONIC_MOVSD:
    case ZYDIS_MNEMONIC_VMOVD:
    case ZYDIS_MNEMONIC_VMOVQ:
    case ZYDIS_MNEMONIC_VMOVSS:
    case ZYDIS_MNEMONIC_VMOVSD:
      return Move::kLow;
    case ZYDIS_MNEMONIC_PXOR:
    case ZYDIS_MNEMONIC_XORPS:
    case ZYDIS_MNEMONIC_XORPD:
    case ZYDIS_MNEMONIC_VPXOR:
    case ZYDIS_MNEMONIC_VXORPS:
    case ZYDIS_MNEMONIC_VXORPD:
      return Move::kXor;
    default:
      return Move::kNone;
  }
}

ZydisRegisterClass class_of(const ZydisDecodedOperand& operand) {
  return operand.type == ZYDIS_OPERAND_TYPE_REGISTER ? ZydisRegisterGetClass(operand.reg.value)
                                                     : ZYDIS_REGCLASS_INVALID;
}

void set_destination(const ZydisDecodedOperand& operand, Insn& out) {
  out.dst = xmm_offset(vector_number(operand));
  out.imm = ymm_high_offset(vector_number(operand));
}

bool bind_whole(const Request& r, bool aligned, Insn& out) {
  if (r.is_memory(1) || r.is_memory(0)) {
    const bool is_load = r.is_memory(1);
    const ZydisDecodedOperand& vector = r.operand(is_load ? 0 : 1);
    const bool wide = class_of(vector) == ZYDIS_REGCLASS_YMM;
    if (!wide && class_of(vector) != ZYDIS_REGCLASS_XMM) return false;
    r.memory(is_load ? 1 : 0, out);
    out.aux = !aligned ? 0 : wide ? 31 : 15;
    set_destination(vector, out);
    out.src = out.dst;
    if (is_load) {
      out.run = wide      ? load_whole<Gate::kAvx, 32>
                : r.vex() ? load_whole<Gate::kAvx, 16>
                          : load_whole<Gate::kSse, 16>;
    } else {
      out.run = wide      ? store_whole<Gate::kAvx, 32>
                : r.vex() ? store_whole<Gate::kAvx, 16>
                          : store_whole<Gate::kSse, 16>;
    }
    return true;
  }
  if (class_of(r.operand(0)) != ZYDIS_REGCLASS_XMM) return false;
  set_destination(r.operand(0), out);
  out.src = xmm_offset(vector_number(r.operand(1)));
  out.run = r.vex() ? copy_register<Gate::kAvx> : copy_register<Gate::kSse>;
  return true;
}

template <class T>
bool bind_low_sized(const Request& r, Insn& out) {
  const bool vex = r.vex();
  const ZydisDecodedOperand &to = r.operand(0), &from = r.operand(1);
  const bool to_xmm = class_of(to) == ZYDIS_REGCLASS_XMM, from_xmm = class_of(from) == ZYDIS_REGCLASS_XMM;
  if (to_xmm) set_destination(to, out);
  if (from_xmm) out.src = xmm_offset(vector_number(from));
  if (r.is_memory(1) && to_xmm) {
    r.memory(1, out);
    out.run = vex ? load_low<Gate::kAvx, T> : load_low<Gate::kSse, T>;
  } else if (r.is_memory(0) && from_xmm) {
    r.memory(0, out);
    out.run = vex ? store_low<Gate::kAvx, T> : store_low<Gate::kSse, T>;
  } else if (to_xmm && from_xmm) {
    // MOVQ clears the rest; MOVSS and MOVSD between registers merge, which is the thunk's.
    if (r.mnemonic() != ZYDIS_MNEMONIC_MOVQ && r.mnemonic() != ZYDIS_MNEMONIC_VMOVQ) return false;
    out.run = vex ? to_vector<Gate::kAvx, T> : to_vector<Gate::kSse, T>;
  } else if (to_xmm && r.is_register(1)) {
    out.src = register_offset(from.reg.value);
    out.run = vex ? to_vector<Gate::kAvx, T> : to_vector<Gate::kSse, T>;
  } else if (from_xmm && r.is_register(0)) {
    out.dst = register_offset(to.reg.value);
    out.run = vex ? from_vector<Gate::kAvx, T> : from_vector<Gate::kSse, T>;
  } else {
    return false;
  }
  return true;
}

bool bind_low(const Request& r, Insn& out) {
  for (unsigned n = 0; n < r.decoded.info.operand_count_visible; ++n)
    if (class_of(r.operand(n)) == ZYDIS_REGCLASS_MMX) return false;
  if (r.decoded.info.operand_count_visible != 2) return false;  // VMOVSS xmm, xmm, xmm
  unsigned bits = 64;
  for (unsigned n = 0; n < 2; ++n)
    if (r.is_memory(n) || class_of(r.operand(n)) == ZYDIS_REGCLASS_GPR32) bits = r.operand(n).size;
  return bits == 32 ? bind_low_sized<u32>(r, out) : bind_low_sized<u64>(r, out);
}

bool bind_xor(const Request& r, Insn& out) {
  const unsigned last = r.decoded.info.operand_count_visible - 1u;
  const ZydisDecodedOperand& source = r.operand(r.vex() ? 1 : 0);
  if (!r.is_register(last) || source.reg.value != r.operand(last).reg.value) return false;
  if (class_of(source) == ZYDIS_REGCLASS_MMX) return false;
  set_destination(r.operand(0), out);
  out.run = r.vex() ? clear_register<Gate::kAvx> : clear_register<Gate::kSse>;
  return true;
}

}  // namespace

bool bind_move(const Request& r, Insn& out) {
  switch (classify(r.mnemonic())) {
    case Move::kWhole:
      return bind_whole(r, false, out);
    case Move::kWholeAligned:
      return bind_whole(r, true, out);
    case Move::kLow:
      return bind_low(r, out);
    case Move::kXor:
      return bind_xor(r, out);
    default:
      return false;
  }
}

}  // namespace vellum::interp::native
