// What 64-bit mode dropped: decimal adjustment, BOUND, ARPL.
#include "cpu/interp/alu.hpp"
#include "cpu/interp/binding.hpp"

namespace vellum::interp {
namespace {

using namespace x86::rflags;

constexpr u16 kAl = gpr_offset(x86::kRax);
constexpr u16 kAh = gpr_offset(x86::kRax, true);
constexpr u16 kAx = gpr_offset(x86::kRax);

void set_flag(Vcpu& v, u64 flag, bool set) {
  v.state.rflags = (v.state.rflags & ~flag) | (set ? flag : 0);
}
bool flag(const Vcpu& v, u64 f) {
  return (v.state.rflags & f) != 0;
}

// SF, ZF and PF of a byte.
void set_result_flags(Vcpu& v, u8 value) {
  set_flag(v, kSf, (value & 0x80) != 0);
  set_flag(v, kZf, value == 0);
  set_flag(v, kPf, __builtin_parity(value) == 0);
}

// The pseudo-code of SDM vol. 2, DAA and DAS; OF is undefined and stays.
template <bool subtract>
Flow decimal_adjust(Vcpu& v, const Insn&) {
  const u8 old_al = reg<u8>(v, kAl);
  const bool old_cf = flag(v, kCf);
  u8 al = old_al;
  bool cf = false;
  const bool low = (old_al & 0xf) > 9 || flag(v, kAf);
  if (low) {
    al = static_cast<u8>(subtract ? al - 6 : al + 6);
    cf = old_cf || (subtract ? old_al < 6 : old_al > 0xf9);
  }
  set_flag(v, kAf, low);
  const bool high = old_al > 0x99 || old_cf;
  if (high) al = static_cast<u8>(subtract ? al - 0x60 : al + 0x60);
  set_flag(v, kCf, high || (subtract && cf));
  reg<u8>(v, kAl) = al;
  set_result_flags(v, al);
  return Flow::kNext;
}

// AAA and AAS. OF, SF, ZF and PF are undefined and stay.
template <bool subtract>
Flow ascii_adjust(Vcpu& v, const Insn&) {
  const bool adjust = (reg<u8>(v, kAl) & 0xf) > 9 || flag(v, kAf);
  if (adjust) {
    const u16 ax = reg<u16>(v, kAx);
    if constexpr (subtract) {
      reg<u16>(v, kAx) = static_cast<u16>(ax - 6);
      reg<u8>(v, kAh) = static_cast<u8>(reg<u8>(v, kAh) - 1);
    } else {
      reg<u16>(v, kAx) = static_cast<u16>(ax + 0x106);
    }
  }
  set_flag(v, kAf, adjust);
  set_flag(v, kCf, adjust);
  reg<u8>(v, kAl) &= 0xf;
  return Flow::kNext;
}

Flow aam_op(Vcpu& v, const Insn& i) {
  const auto base = static_cast<u8>(i.imm);
  if (base == 0) {
    v.raise(x86::kDe);
    return Flow::kFault;
  }
  const u8 al = reg<u8>(v, kAl);
  reg<u8>(v, kAh) = al / base;
  reg<u8>(v, kAl) = al % base;
  set_result_flags(v, reg<u8>(v, kAl));
  return Flow::kNext;
}

Flow aad_op(Vcpu& v, const Insn& i) {
  const auto al = static_cast<u8>(reg<u8>(v, kAl) + reg<u8>(v, kAh) * static_cast<u8>(i.imm));
  reg<u16>(v, kAx) = al;
  set_result_flags(v, al);
  return Flow::kNext;
}

template <class T>
Flow bound_op(Vcpu& v, const Insn& i) {
  u64 address;
  std::make_unsigned_t<T> low, high;
  if (!linear_of(v, i, 2 * sizeof(T), Access::kRead, address) || !v.mmu.read(address, low, seg_of(i)) ||
      !v.mmu.read(address + sizeof(T), high, seg_of(i)))
    return Flow::kFault;
  const auto index = reg<T>(v, i.dst);
  if (index < static_cast<T>(low) || index > static_cast<T>(high)) {
    v.raise(x86::kBr);
    return Flow::kFault;
  }
  return Flow::kNext;
}

// Raises the destination's RPL to the source's. #UD in real and virtual-8086 mode.
Flow arpl_op(Vcpu& v, const Insn& i) {
  if (v.state.real_mode() || v.state.virtual_8086()) {
    v.raise_ud();
    return Flow::kFault;
  }
  const u16 source = reg<u16>(v, i.src);
  bool raised = false;
  const auto adjust = [&](u16 selector) {
    raised = (selector & 3) < (source & 3);
    return raised ? static_cast<u16>((selector & ~3u) | (source & 3u)) : selector;
  };
  Flow flow = Flow::kNext;
  if (i.aux != 0) {
    u16 selector;  // read first: memory is written only if the RPL rises
    if (!load<u16>(v, i, selector)) return Flow::kFault;
    if (adjust(selector) != selector) {
      flow = modify<u16>(v, i, adjust);
      if (flow == Flow::kFault) return flow;
    }
  } else {
    reg<u16>(v, i.dst) = adjust(reg<u16>(v, i.dst));
  }
  set_flag(v, kZf, raised);
  return flow;
}

}  // namespace

namespace bind {

void bcd(const Binding& b, Insn& out) {
  switch (b.mnemonic()) {
    case ZYDIS_MNEMONIC_DAA:
      out.run = &decimal_adjust<false>;
      break;
    case ZYDIS_MNEMONIC_DAS:
      out.run = &decimal_adjust<true>;
      break;
    case ZYDIS_MNEMONIC_AAA:
      out.run = &ascii_adjust<false>;
      break;
    case ZYDIS_MNEMONIC_AAS:
      out.run = &ascii_adjust<true>;
      break;
    case ZYDIS_MNEMONIC_AAM:
      out.imm = b.immediate(0);
      out.run = &aam_op;
      break;
    default:
      out.imm = b.immediate(0);
      out.run = &aad_op;
      break;
  }
}

void bound(const Binding& b, Insn& out) {
  out.dst = b.register_of(0);
  b.memory(1, out);
  out.run = b.size(0) == 2 ? &bound_op<i16> : &bound_op<i32>;
}

void arpl(const Binding& b, Insn& out) {
  out.src = b.register_of(1);
  out.aux = b.is_memory(0);
  if (b.is_memory(0))
    b.memory(0, out);
  else
    out.dst = b.register_of(0);
  out.run = &arpl_op;
}

}  // namespace bind

}  // namespace vellum::interp
