// BMI1 and BMI2: VEX-encoded instructions on general registers (SDM vol. 2). SAFETY: inline assembly on
// register values only.
#include "cpu/interp/native/integer_ops.hpp"

namespace vellum::interp::native {
namespace {

VELLUM_NATIVE_OF_TWO(Andn, VexOp, "andn", "%[s], %[n]")
VELLUM_NATIVE_OF_TWO(Bextr, VexOp, "bextr", "%[n], %[s]")
VELLUM_NATIVE_OF_TWO(Bzhi, VexOp, "bzhi", "%[n], %[s]")
VELLUM_NATIVE_OF_ONE(Blsi, VexOp, "blsi")
VELLUM_NATIVE_OF_ONE(Blsmsk, VexOp, "blsmsk")
VELLUM_NATIVE_OF_ONE(Blsr, VexOp, "blsr")
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

// dst, r/m.
template <class Op>
void bind_vex_two(const Request& r, Insn& out) {
  out.dst = register_offset(r.operand(0).reg.value);
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
      bind_vex_two<Blsi>(r, out);
      return true;
    case ZYDIS_MNEMONIC_BLSMSK:
      bind_vex_two<Blsmsk>(r, out);
      return true;
    case ZYDIS_MNEMONIC_BLSR:
      bind_vex_two<Blsr>(r, out);
      return true;
    case ZYDIS_MNEMONIC_MULX:
      bind_mulx(r, out);
      return true;
    default:
      return false;
  }
}

}  // namespace vellum::interp::native
