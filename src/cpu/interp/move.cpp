// Data movement: MOV, MOVZX, MOVSX(D), LEA, XCHG, CMOVcc, SETcc, sign conversions, XLAT, single-flag
// instructions, NOP.
#include <utility>

#include "cpu/interp/alu.hpp"
#include "cpu/interp/binding.hpp"

namespace vellum::interp {
namespace {

template <class T>
struct Mov {
  static Flow reg_reg(Vcpu& v, const Insn& i) {
    write_reg<T>(v, i.dst, reg<T>(v, i.src));
    return Flow::kNext;
  }
  static Flow reg_imm(Vcpu& v, const Insn& i) {
    write_reg<T>(v, i.dst, static_cast<T>(i.imm));
    return Flow::kNext;
  }
  static Flow reg_mem(Vcpu& v, const Insn& i) {
    T value;
    if (!load<T>(v, i, value)) return Flow::kFault;
    write_reg<T>(v, i.dst, value);
    return Flow::kNext;
  }
  static Flow mem_reg(Vcpu& v, const Insn& i) {
    return store<T>(v, i, reg<T>(v, i.src)) ? after_store(v) : Flow::kFault;
  }
  static Flow mem_imm(Vcpu& v, const Insn& i) {
    return store<T>(v, i, static_cast<T>(i.imm)) ? after_store(v) : Flow::kFault;
  }
  // A0 to A3: the address is a 64-bit immediate.
  static bool moffs(Vcpu& v, const Insn& i, Access access, u64& linear) {
    if (i.legacy) return legacy_address(v, seg_of(i), i.imm, sizeof(T), access, linear);
    linear = i.imm + reg64(v, i.seg_base);
    return true;
  }
  static Flow reg_moffs(Vcpu& v, const Insn& i) {
    u64 linear;
    T value;
    if (!moffs(v, i, Access::kRead, linear) || !v.mmu.read<T>(linear, value, seg_of(i))) return Flow::kFault;
    write_reg<T>(v, i.dst, value);
    return Flow::kNext;
  }
  static Flow moffs_reg(Vcpu& v, const Insn& i) {
    u64 linear;
    if (!moffs(v, i, Access::kWrite, linear) || !v.mmu.write<T>(linear, reg<T>(v, i.src), seg_of(i)))
      return Flow::kFault;
    return after_store(v);
  }
};

bool is_moffs(const Binding& b) {
  return b.decoded.info.opcode >= 0xa0 && b.decoded.info.opcode <= 0xa3;
}

// --- Segment registers
// ------------------------------------------------------------------------------------------

x86::Seg segment_of(ZydisRegister r) {
  return static_cast<x86::Seg>(r - ZYDIS_REGISTER_ES);
}
static_assert(ZYDIS_REGISTER_GS - ZYDIS_REGISTER_ES == 5 && ZYDIS_REGISTER_SS - ZYDIS_REGISTER_ES == 2);

// Loading SS holds off interrupts and debug traps for one instruction; a second load in a row does not.
Flow finish_segment_load(Vcpu& v, x86::Seg seg, bool shadowed_before) {
  if (seg == x86::Seg::kSs && !shadowed_before) v.state.shadow_mov_ss = true;
  return Flow::kEndUnit;
}
Flow mov_seg_reg(Vcpu& v, const Insn& i) {
  const auto seg = static_cast<x86::Seg>(i.aux);
  if (!load_segment(v, seg, reg<u16>(v, i.src))) return Flow::kFault;
  return finish_segment_load(v, seg, false);
}
Flow mov_seg_mem(Vcpu& v, const Insn& i) {
  const auto seg = static_cast<x86::Seg>(i.aux);
  u16 selector;
  if (!load<u16>(v, i, selector) || !load_segment(v, seg, selector)) return Flow::kFault;
  return finish_segment_load(v, seg, false);
}
template <class T>
Flow mov_reg_seg(Vcpu& v, const Insn& i) {
  write_reg<T>(v, i.dst, static_cast<T>(v.state.seg[i.aux].selector));
  return Flow::kNext;
}
Flow mov_mem_seg(Vcpu& v, const Insn& i) {
  return store<u16>(v, i, v.state.seg[i.aux].selector) ? after_store(v) : Flow::kFault;
}

bool is_segment_register(const Binding& b, unsigned n) {
  return b.is_register(n) && ZydisRegisterGetClass(b.operand(n).reg.value) == ZYDIS_REGCLASS_SEGMENT;
}
bool is_system_register(const Binding& b, unsigned n) {
  if (!b.is_register(n)) return false;
  const auto kind = ZydisRegisterGetClass(b.operand(n).reg.value);
  return kind == ZYDIS_REGCLASS_CONTROL || kind == ZYDIS_REGCLASS_DEBUG || kind == ZYDIS_REGCLASS_TEST;
}

// --- Extension
// ----------------------------------------------------------------------------------------------------

template <class To, class From>
struct Extend {
  static Flow from_reg(Vcpu& v, const Insn& i) {
    write_reg<std::make_unsigned_t<To>>(
        v, i.dst, static_cast<std::make_unsigned_t<To>>(static_cast<To>(reg<From>(v, i.src))));
    return Flow::kNext;
  }
  static Flow from_mem(Vcpu& v, const Insn& i) {
    std::make_unsigned_t<From> value;
    if (!load(v, i, value)) return Flow::kFault;
    write_reg<std::make_unsigned_t<To>>(
        v, i.dst, static_cast<std::make_unsigned_t<To>>(static_cast<To>(static_cast<From>(value))));
    return Flow::kNext;
  }
};

template <bool is_signed>
void bind_extend(const Binding& b, Insn& out) {
  out.dst = b.register_of(0);
  if (b.is_memory(1))
    b.memory(1, out);
  else
    out.src = b.register_of(1);
  for_word_size(b.size(0), [&](auto to) {
    for_size(b.size(1), [&](auto from) {
      using To = std::conditional_t<is_signed, std::make_signed_t<decltype(to)>, decltype(to)>;
      using From = std::conditional_t<is_signed, std::make_signed_t<decltype(from)>, decltype(from)>;
      out.run = b.is_memory(1) ? &Extend<To, From>::from_mem : &Extend<To, From>::from_reg;
    });
  });
}

// --- XCHG
// ---------------------------------------------------------------------------------------------------------

template <class T>
struct Xchg {
  static Flow reg_reg(Vcpu& v, const Insn& i) {
    const T a = reg<T>(v, i.dst);
    const T b = reg<T>(v, i.src);
    write_reg<T>(v, i.dst, b);
    write_reg<T>(v, i.src, a);
    return Flow::kNext;
  }
  // Locked with or without the prefix.
  static Flow mem_reg(Vcpu& v, const Insn& i) {
    T old{};
    const T fresh = reg<T>(v, i.src);
    const Flow flow = modify_locked<T>(v, i, [&](T a) {
      old = a;
      return fresh;
    });
    if (flow != Flow::kFault) write_reg<T>(v, i.src, old);
    return flow;
  }
};

// --- Conditions
// ---------------------------------------------------------------------------------------------------

template <u8 cc>
struct Conditional {
  template <class T>
  static Flow cmov_reg(Vcpu& v, const Insn& i) {
    // A 32-bit destination's upper half is cleared even if the condition is false.
    write_reg<T>(v, i.dst, condition<cc>(v.state.rflags) ? reg<T>(v, i.src) : reg<T>(v, i.dst));
    return Flow::kNext;
  }
  template <class T>
  static Flow cmov_mem(Vcpu& v, const Insn& i) {
    T value;  // loaded, and faulted on, whatever the condition
    if (!load<T>(v, i, value)) return Flow::kFault;
    write_reg<T>(v, i.dst, condition<cc>(v.state.rflags) ? value : reg<T>(v, i.dst));
    return Flow::kNext;
  }
  static Flow set_reg(Vcpu& v, const Insn& i) {
    reg<u8>(v, i.dst) = condition<cc>(v.state.rflags);
    return Flow::kNext;
  }
  static Flow set_mem(Vcpu& v, const Insn& i) {
    return store<u8>(v, i, condition<cc>(v.state.rflags)) ? after_store(v) : Flow::kFault;
  }
};

template <class F, std::size_t... cc>
Handler for_condition_of(unsigned n, F f, std::index_sequence<cc...>) {
  Handler result = nullptr;
  ((n == cc ? (result = f(Conditional<cc>{}), 0) : 0), ...);
  return result;
}
template <class F>
Handler for_condition(unsigned n, F f) {
  return for_condition_of(n, f, std::make_index_sequence<16>{});
}

// --- The rest
// -----------------------------------------------------------------------------------------------------

constexpr u16 kRax = gpr_offset(x86::kRax);
constexpr u16 kRdx = gpr_offset(x86::kRdx);

template <class To, class From>
Flow widen_accumulator(Vcpu& v, const Insn&) {
  write_reg<To>(v, kRax, static_cast<To>(static_cast<std::make_signed_t<From>>(reg<From>(v, kRax))));
  return Flow::kNext;
}
template <class T>
Flow sign_to_rdx(Vcpu& v, const Insn&) {
  write_reg<T>(v, kRdx,
               static_cast<std::make_signed_t<T>>(reg<T>(v, kRax)) < 0 ? static_cast<T>(~T{0}) : T{0});
  return Flow::kNext;
}

template <class T>
Flow lea_op(Vcpu& v, const Insn& i) {
  write_reg<T>(v, i.dst, static_cast<T>(offset_of(v, i)));
  return Flow::kNext;
}

Flow xlat_op(Vcpu& v, const Insn& i) {
  u8 value;  // the binder made AL the index: base rBX, index zero-extended AL is added here
  const u64 offset = (reg64(v, i.base) + reg<u8>(v, kRax)) << i.address_shift >> i.address_shift;
  u64 linear = offset + reg64(v, i.seg_base);
  if (i.legacy && !legacy_address(v, seg_of(i), offset, 1, Access::kRead, linear)) return Flow::kFault;
  if (!v.mmu.read<u8>(linear, value, seg_of(i))) return Flow::kFault;
  reg<u8>(v, kRax) = value;
  return Flow::kNext;
}

// imm: bits to clear, then `aux` decides; see the binder.
Flow clear_flags(Vcpu& v, const Insn& i) {
  v.state.rflags &= ~i.imm;
  return Flow::kNext;
}
Flow set_flags(Vcpu& v, const Insn& i) {
  v.state.rflags |= i.imm;
  return Flow::kNext;
}
Flow complement_flags(Vcpu& v, const Insn& i) {
  v.state.rflags ^= i.imm;
  return Flow::kNext;
}
Flow lahf_op(Vcpu& v, const Insn&) {
  reg<u8>(v, gpr_offset(x86::kRax, true)) = static_cast<u8>((v.state.rflags & 0xd5) | x86::rflags::kFixed1);
  return Flow::kNext;
}
Flow sahf_op(Vcpu& v, const Insn&) {
  v.state.rflags = (v.state.rflags & ~u64{0xd5}) | (reg<u8>(v, gpr_offset(x86::kRax, true)) & 0xd5);
  return Flow::kNext;
}
Flow salc_op(Vcpu& v, const Insn&) {
  reg<u8>(v, kRax) = (v.state.rflags & x86::rflags::kCf) != 0 ? 0xff : 0;
  return Flow::kNext;
}
Flow nop_op(Vcpu&, const Insn&) {
  return Flow::kNext;
}

}  // namespace

namespace bind {

void mov(const Binding& b, Insn& out) {
  if (is_system_register(b, 0) || is_system_register(b, 1)) return control_register(b, out);
  if (is_segment_register(b, 0)) {
    const auto seg = segment_of(b.operand(0).reg.value);
    if (seg == x86::Seg::kCs) return undefined(b, out);
    out.aux = static_cast<u8>(seg);
    if (b.is_memory(1)) {
      b.memory(1, out);
      out.run = &mov_seg_mem;
    } else {
      out.src = b.register_of(1);
      out.run = &mov_seg_reg;
    }
    return;
  }
  if (is_segment_register(b, 1)) {
    out.aux = static_cast<u8>(segment_of(b.operand(1).reg.value));
    if (b.is_memory(0)) {
      b.memory(0, out);
      out.run = &mov_mem_seg;
    } else {
      out.dst = b.register_of(0);
      for_word_size(b.size(0), [&](auto t) { out.run = &mov_reg_seg<decltype(t)>; });
    }
    return;
  }
  for_size(b.size(0), [&](auto t) {
    using Form = Mov<decltype(t)>;
    if (is_moffs(b) && (b.is_memory(0) || b.is_memory(1))) {
      const unsigned n = b.is_memory(0) ? 0 : 1;
      b.memory(n, out);
      out.imm = static_cast<u64>(b.operand(n).mem.disp.value) << out.address_shift >> out.address_shift;
      if (n == 0) {
        out.src = b.register_of(1);
        out.run = &Form::moffs_reg;
      } else {
        out.dst = b.register_of(0);
        out.run = &Form::reg_moffs;
      }
      return;
    }
    if (b.is_memory(0)) {
      b.memory(0, out);
      if (b.is_immediate(1)) {
        out.imm = b.immediate(1);
        out.run = &Form::mem_imm;
      } else {
        out.src = b.register_of(1);
        out.run = &Form::mem_reg;
      }
      return;
    }
    out.dst = b.register_of(0);
    if (b.is_memory(1)) {
      b.memory(1, out);
      out.run = &Form::reg_mem;
    } else if (b.is_immediate(1)) {
      out.imm = b.immediate(1);
      out.run = &Form::reg_imm;
    } else {
      out.src = b.register_of(1);
      out.run = &Form::reg_reg;
    }
  });
}

void movzx(const Binding& b, Insn& out) {
  bind_extend<false>(b, out);
}
void movsx(const Binding& b, Insn& out) {
  bind_extend<true>(b, out);
}

void lea(const Binding& b, Insn& out) {
  out.dst = b.register_of(0);
  b.memory(1, out);
  for_word_size(b.size(0), [&](auto t) { out.run = &lea_op<decltype(t)>; });
}

void xchg(const Binding& b, Insn& out) {
  for_size(b.size(0), [&](auto t) {
    using Form = Xchg<decltype(t)>;
    if (b.is_memory(0) || b.is_memory(1)) {
      const unsigned n = b.is_memory(0) ? 0 : 1;
      b.memory(n, out);
      out.src = b.register_of(1 - n);
      out.run = &Form::mem_reg;
    } else {
      out.dst = b.register_of(0);
      out.src = b.register_of(1);
      out.run = &Form::reg_reg;
    }
  });
}

void cmov(const Binding& b, Insn& out) {
  out.dst = b.register_of(0);
  const bool memory = b.is_memory(1);
  if (memory)
    b.memory(1, out);
  else
    out.src = b.register_of(1);
  for_word_size(b.size(0), [&](auto t) {
    using T = decltype(t);
    out.run = for_condition(b.decoded.info.opcode & 15, [&](auto c) -> Handler {
      using C = decltype(c);
      return memory ? &C::template cmov_mem<T> : &C::template cmov_reg<T>;
    });
  });
}

void setcc(const Binding& b, Insn& out) {
  const bool memory = b.is_memory(0);
  if (memory)
    b.memory(0, out);
  else
    out.dst = b.register_of(0);
  out.run = for_condition(b.decoded.info.opcode & 15, [&](auto c) -> Handler {
    using C = decltype(c);
    return memory ? &C::set_mem : &C::set_reg;
  });
}

void convert(const Binding& b, Insn& out) {
  switch (b.mnemonic()) {
    case ZYDIS_MNEMONIC_CBW:
      out.run = &widen_accumulator<u16, u8>;
      break;
    case ZYDIS_MNEMONIC_CWDE:
      out.run = &widen_accumulator<u32, u16>;
      break;
    case ZYDIS_MNEMONIC_CDQE:
      out.run = &widen_accumulator<u64, u32>;
      break;
    case ZYDIS_MNEMONIC_CWD:
      out.run = &sign_to_rdx<u16>;
      break;
    case ZYDIS_MNEMONIC_CDQ:
      out.run = &sign_to_rdx<u32>;
      break;
    default:
      out.run = &sign_to_rdx<u64>;
      break;
  }
}

void xlat(const Binding& b, Insn& out) {
  for (unsigned n = 0; n < b.decoded.info.operand_count; ++n)
    if (b.is_memory(n)) b.memory(n, out);
  out.base = gpr_offset(x86::kRbx);
  out.run = &xlat_op;
}

void flag_bit(const Binding& b, Insn& out) {
  switch (b.mnemonic()) {
    case ZYDIS_MNEMONIC_CLC:
      out.imm = x86::rflags::kCf, out.run = &clear_flags;
      break;
    case ZYDIS_MNEMONIC_STC:
      out.imm = x86::rflags::kCf, out.run = &set_flags;
      break;
    case ZYDIS_MNEMONIC_CMC:
      out.imm = x86::rflags::kCf, out.run = &complement_flags;
      break;
    case ZYDIS_MNEMONIC_CLD:
      out.imm = x86::rflags::kDf, out.run = &clear_flags;
      break;
    case ZYDIS_MNEMONIC_STD:
      out.imm = x86::rflags::kDf, out.run = &set_flags;
      break;
    case ZYDIS_MNEMONIC_LAHF:
      out.run = &lahf_op;
      break;
    case ZYDIS_MNEMONIC_SAHF:
      out.run = &sahf_op;
      break;
    default:
      out.run = &salc_op;
      break;
  }
  // In 64-bit mode LAHF and SAHF are a feature of their own (CPUID 0x80000001 ECX.0).
  const bool ah = b.mnemonic() == ZYDIS_MNEMONIC_LAHF || b.mnemonic() == ZYDIS_MNEMONIC_SAHF;
  if (ah && b.mode_64() && !b.v.model.has(x86::Feature::kLahfLm)) undefined(b, out);
}

void nop(const Binding&, Insn& out) {
  out.run = &nop_op;
}

}  // namespace bind

}  // namespace vellum::interp
