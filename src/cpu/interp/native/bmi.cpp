// BMI1 and BMI2: VEX-encoded instructions on general registers (SDM vol. 2). SAFETY: inline assembly on
// register values only.
#include "base/bits.hpp"
#include "cpu/interp/native/integer_ops.hpp"

namespace vellum::interp::native {
namespace {

// SF and ZF by the result, OF = 0, CF as given; AF and PF (undefined) stay.
template <class T>
T logic_flags(Vcpu& v, T result, bool carry) {
  set_flags(v, fl::kSf | fl::kZf | fl::kOf | fl::kCf,
            (sign(result) ? fl::kSf : 0) | (result == 0 ? fl::kZf : 0) | (carry ? fl::kCf : 0));
  return result;
}

struct Andn : VexOp {
  template <class T>
  static T run(Vcpu& v, const Insn& i, T s) {
    return logic_flags<T>(v, static_cast<T>(~second<T>(v, i) & s), false);
  }
};
struct Bextr : VexOp {
  template <class T>
  static T run(Vcpu& v, const Insn& i, T s) {
    const u64 control = second<T>(v, i);
    const unsigned start = control & 0xff, length = (control >> 8) & 0xff;
    const u64 shifted = start < 8 * sizeof(T) ? u64{s} >> start : 0;
    const T result = static_cast<T>(shifted & low_mask(length));
    set_flags(v, fl::kZf | fl::kCf | fl::kOf, result == 0 ? fl::kZf : 0);
    return result;
  }
};
struct Blsi : VexOp {
  template <class T>
  static T run(Vcpu& v, const Insn&, T s) {
    return logic_flags<T>(v, static_cast<T>(s & (0 - s)), s != 0);
  }
};
struct Blsmsk : VexOp {
  template <class T>
  static T run(Vcpu& v, const Insn&, T s) {
    return logic_flags<T>(v, static_cast<T>(s ^ (s - 1)), s == 0);
  }
};
struct Blsr : VexOp {
  template <class T>
  static T run(Vcpu& v, const Insn&, T s) {
    return logic_flags<T>(v, static_cast<T>(s & (s - 1)), s == 0);
  }
};
struct Bzhi : VexOp {
  template <class T>
  static T run(Vcpu& v, const Insn& i, T s) {
    const unsigned n = second<T>(v, i) & 0xff;
    const bool beyond = n >= 8 * sizeof(T);
    return logic_flags<T>(v, beyond ? s : static_cast<T>(s & low_mask(n)), beyond);
  }
};
struct Pdep : VexOp {
  template <class T>
  static T run(Vcpu& v, const Insn& i, T s) {
    T result;
    asm("pdep %2, %1, %0" : "=r"(result) : "r"(second<T>(v, i)), "r"(s));
    return result;
  }
};
struct Pext : VexOp {
  template <class T>
  static T run(Vcpu& v, const Insn& i, T s) {
    T result;
    asm("pext %2, %1, %0" : "=r"(result) : "r"(second<T>(v, i)), "r"(s));
    return result;
  }
};
struct Rorx : VexOp {
  template <class T>
  static T run(Vcpu&, const Insn& i, T s) {
    return std::rotr(s, static_cast<int>(i.imm & (8 * sizeof(T) - 1)));
  }
};
struct Sarx : VexOp {
  template <class T>
  static T run(Vcpu& v, const Insn& i, T s) {
    return static_cast<T>(static_cast<std::make_signed_t<T>>(s) >> (second<T>(v, i) & (8 * sizeof(T) - 1)));
  }
};
struct Shlx : VexOp {
  template <class T>
  static T run(Vcpu& v, const Insn& i, T s) {
    return static_cast<T>(s << (second<T>(v, i) & (8 * sizeof(T) - 1)));
  }
};
struct Shrx : VexOp {
  template <class T>
  static T run(Vcpu& v, const Insn& i, T s) {
    return static_cast<T>(s >> (second<T>(v, i) & (8 * sizeof(T) - 1)));
  }
};

// dst: upper half's register; imm: lower half's. Equal: the upper half wins.
template <class T, bool kMemory>
Flow mulx(Vcpu& v, const Insn& i) {
  if (!gate_open<Gate::kVex>(v.state)) [[unlikely]]
    return gate_fault(v, Gate::kVex);
  T value;
  if (!source<T, kMemory>(v, i, value)) return Flow::kFault;
  const u128 product = u128{reg<T>(v, gpr_offset(x86::kRdx))} * value;
  write_reg<T>(v, static_cast<u16>(i.imm), static_cast<T>(product));
  write_reg<T>(v, i.dst, static_cast<T>(product >> (8 * sizeof(T))));
  return Flow::kNext;
}

template <class Op>
Handler vex_handler_for(unsigned size, bool memory) {
  if (size == 4) return memory ? run_op<Op, u32, true> : run_op<Op, u32, false>;
  return memory ? run_op<Op, u64, true> : run_op<Op, u64, false>;
}

// dst, vvvv, r/m.
template <class Op>
void bind_ndd(const Request& r, Insn& out) {
  out.dst = register_offset(r.operand(0).reg.value);
  out.imm = register_offset(r.operand(1).reg.value);
  out.run = vex_handler_for<Op>(r.operand(0).size / 8, set_source(r, 2, out));
}

// dst, r/m, vvvv (or an immediate).
template <class Op>
void bind_rmv(const Request& r, Insn& out) {
  out.dst = register_offset(r.operand(0).reg.value);
  out.imm = r.is_register(2) ? u64{register_offset(r.operand(2).reg.value)} : r.operand(2).imm.value.u;
  out.run = vex_handler_for<Op>(r.operand(0).size / 8, set_source(r, 1, out));
}

void bind_mulx(const Request& r, Insn& out) {
  out.dst = register_offset(r.operand(0).reg.value);
  out.imm = register_offset(r.operand(1).reg.value);
  const bool memory = set_source(r, 2, out);
  if (r.operand(0).size == 32) {
    out.run = memory ? mulx<u32, true> : mulx<u32, false>;
  } else {
    out.run = memory ? mulx<u64, true> : mulx<u64, false>;
  }
}

}  // namespace

bool bind_bmi(const Request& r, Insn& out) {
  switch (r.mnemonic()) {
    case ZYDIS_MNEMONIC_ANDN:
      bind_ndd<Andn>(r, out);
      return true;
    case ZYDIS_MNEMONIC_PDEP:
      bind_ndd<Pdep>(r, out);
      return true;
    case ZYDIS_MNEMONIC_PEXT:
      bind_ndd<Pext>(r, out);
      return true;
    case ZYDIS_MNEMONIC_BEXTR:
      bind_rmv<Bextr>(r, out);
      return true;
    case ZYDIS_MNEMONIC_BZHI:
      bind_rmv<Bzhi>(r, out);
      return true;
    case ZYDIS_MNEMONIC_RORX:
      bind_rmv<Rorx>(r, out);
      return true;
    case ZYDIS_MNEMONIC_SARX:
      bind_rmv<Sarx>(r, out);
      return true;
    case ZYDIS_MNEMONIC_SHLX:
      bind_rmv<Shlx>(r, out);
      return true;
    case ZYDIS_MNEMONIC_SHRX:
      bind_rmv<Shrx>(r, out);
      return true;
    case ZYDIS_MNEMONIC_BLSI:
      bind_two<Blsi>(r, out);
      return true;
    case ZYDIS_MNEMONIC_BLSMSK:
      bind_two<Blsmsk>(r, out);
      return true;
    case ZYDIS_MNEMONIC_BLSR:
      bind_two<Blsr>(r, out);
      return true;
    case ZYDIS_MNEMONIC_MULX:
      bind_mulx(r, out);
      return true;
    default:
      return false;
  }
}

}  // namespace vellum::interp::native
