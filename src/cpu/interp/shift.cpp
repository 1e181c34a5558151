// Shifts and rotates.
#include "cpu/interp/alu.hpp"
#include "cpu/interp/binding.hpp"

namespace vellum::interp {
namespace {

constexpr u16 kClOffset = gpr_offset(x86::kRcx);

// The count is an immediate, CL, or (SHLD, SHRD) the third operand; `aux` says which.
enum : u8 { kByImmediate, kByCl };

u8 count_of(Vcpu& v, const Insn& i) {
  return i.aux == kByCl ? reg<u8>(v, kClOffset) : static_cast<u8>(i.imm);
}

template <class Op, class T>
struct Shift {
  static Flow reg_imm(Vcpu& v, const Insn& i) {
    write_reg<T>(v, i.dst, Op::template apply<T>(reg<T>(v, i.dst), static_cast<u8>(i.imm), v.state.rflags));
    return Flow::kNext;
  }
  static Flow reg_cl(Vcpu& v, const Insn& i) {
    write_reg<T>(v, i.dst, Op::template apply<T>(reg<T>(v, i.dst), reg<u8>(v, kClOffset), v.state.rflags));
    return Flow::kNext;
  }
  static Flow mem(Vcpu& v, const Insn& i) {
    const u8 count = count_of(v, i);
    return modify<T>(v, i, [&](T a) { return Op::template apply<T>(a, count, v.state.rflags); });
  }
};

template <class Op>
void bind_shift(const Binding& b, Insn& out) {
  for_size(b.size(0), [&](auto t) {
    using Form = Shift<Op, decltype(t)>;
    out.aux = b.is_immediate(1) ? kByImmediate : kByCl;
    if (b.is_immediate(1)) out.imm = b.immediate(1);
    if (b.is_memory(0)) {
      b.memory(0, out);
      out.run = &Form::mem;
    } else {
      out.dst = b.register_of(0);
      out.run = out.aux == kByCl ? &Form::reg_cl : &Form::reg_imm;
    }
  });
}

template <class Op, class T>
struct DoubleShift {
  static Flow on_reg(Vcpu& v, const Insn& i) {
    const T b = reg<T>(v, i.src);
    write_reg<T>(v, i.dst, Op::template apply<T>(reg<T>(v, i.dst), b, count_of(v, i), v.state.rflags));
    return Flow::kNext;
  }
  static Flow on_mem(Vcpu& v, const Insn& i) {
    const T b = reg<T>(v, i.src);
    const u8 count = count_of(v, i);
    return modify<T>(v, i, [&](T a) { return Op::template apply<T>(a, b, count, v.state.rflags); });
  }
};

template <class Op>
void bind_double_shift(const Binding& b, Insn& out) {
  for_word_size(b.size(0), [&](auto t) {
    using Form = DoubleShift<Op, decltype(t)>;
    out.src = b.register_of(1);
    out.aux = b.is_immediate(2) ? kByImmediate : kByCl;
    if (b.is_immediate(2)) out.imm = b.immediate(2);
    if (b.is_memory(0)) {
      b.memory(0, out);
      out.run = &Form::on_mem;
    } else {
      out.dst = b.register_of(0);
      out.run = &Form::on_reg;
    }
  });
}

}  // namespace

namespace bind {
void shl(const Binding& b, Insn& out) {
  bind_shift<Shl>(b, out);
}
void shr(const Binding& b, Insn& out) {
  bind_shift<Shr>(b, out);
}
void sar(const Binding& b, Insn& out) {
  bind_shift<Sar>(b, out);
}
void rol(const Binding& b, Insn& out) {
  bind_shift<Rol>(b, out);
}
void ror(const Binding& b, Insn& out) {
  bind_shift<Ror>(b, out);
}
void rcl(const Binding& b, Insn& out) {
  bind_shift<Rcl>(b, out);
}
void rcr(const Binding& b, Insn& out) {
  bind_shift<Rcr>(b, out);
}
void shld(const Binding& b, Insn& out) {
  bind_double_shift<Shld>(b, out);
}
void shrd(const Binding& b, Insn& out) {
  bind_double_shift<Shrd>(b, out);
}
}  // namespace bind

}  // namespace vellum::interp
