// ADD, SUB, ADC, SBB, AND, OR, XOR, CMP, TEST, INC, DEC, NEG, NOT.
#include "cpu/interp/alu.hpp"
#include "cpu/interp/binding.hpp"

namespace vellum::interp {
namespace {

template <class Op, class T>
struct Binary {
  static Flow reg_reg(Vcpu& v, const Insn& i) {
    const T result = Op::template apply<T>(reg<T>(v, i.dst), reg<T>(v, i.src), v.state.rflags);
    if constexpr (Op::kWrites) write_reg<T>(v, i.dst, result);
    return Flow::kNext;
  }
  static Flow reg_imm(Vcpu& v, const Insn& i) {
    const T result = Op::template apply<T>(reg<T>(v, i.dst), static_cast<T>(i.imm), v.state.rflags);
    if constexpr (Op::kWrites) write_reg<T>(v, i.dst, result);
    return Flow::kNext;
  }
  static Flow reg_mem(Vcpu& v, const Insn& i) {
    T b;
    if (!load<T>(v, i, b)) return Flow::kFault;
    const T result = Op::template apply<T>(reg<T>(v, i.dst), b, v.state.rflags);
    if constexpr (Op::kWrites) write_reg<T>(v, i.dst, result);
    return Flow::kNext;
  }
  static Flow mem(Vcpu& v, const Insn& i, T b) {
    if constexpr (Op::kWrites) {
      return modify<T>(v, i, [&](T a) { return Op::template apply<T>(a, b, v.state.rflags); });
    } else {
      T a;
      if (!load<T>(v, i, a)) return Flow::kFault;
      Op::template apply<T>(a, b, v.state.rflags);
      return Flow::kNext;
    }
  }
  static Flow mem_reg(Vcpu& v, const Insn& i) { return mem(v, i, reg<T>(v, i.src)); }
  static Flow mem_imm(Vcpu& v, const Insn& i) { return mem(v, i, static_cast<T>(i.imm)); }
  static Flow mem_locked(Vcpu& v, const Insn& i, T b) {
    const u64 before = v.state.rflags;
    u64 after = before;
    const Flow flow = modify_locked<T>(v, i, [&](T a) {
      after = before;
      return Op::template apply<T>(a, b, after);
    });
    if (flow != Flow::kFault) v.state.rflags = after;
    return flow;
  }
  static Flow mem_reg_locked(Vcpu& v, const Insn& i) { return mem_locked(v, i, reg<T>(v, i.src)); }
  static Flow mem_imm_locked(Vcpu& v, const Insn& i) { return mem_locked(v, i, static_cast<T>(i.imm)); }
};

template <class Op>
void bind_binary(const Binding& b, Insn& out) {
  for_size(b.size(0), [&](auto t) {
    using Form = Binary<Op, decltype(t)>;
    if (b.is_memory(0)) {
      b.memory(0, out);
      if (b.is_immediate(1)) {
        out.imm = b.immediate(1);
        out.run = Op::kWrites && b.locked() ? &Form::mem_imm_locked : &Form::mem_imm;
      } else {
        out.src = b.register_of(1);
        out.run = Op::kWrites && b.locked() ? &Form::mem_reg_locked : &Form::mem_reg;
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

template <class Op, class T>
struct Unary {
  static Flow on_reg(Vcpu& v, const Insn& i) {
    write_reg<T>(v, i.dst, Op::template apply<T>(reg<T>(v, i.dst), v.state.rflags));
    return Flow::kNext;
  }
  static Flow on_mem(Vcpu& v, const Insn& i) {
    return modify<T>(v, i, [&](T a) { return Op::template apply<T>(a, v.state.rflags); });
  }
  static Flow on_mem_locked(Vcpu& v, const Insn& i) {
    const u64 before = v.state.rflags;
    u64 after = before;
    const Flow flow = modify_locked<T>(v, i, [&](T a) {
      after = before;
      return Op::template apply<T>(a, after);
    });
    if (flow != Flow::kFault) v.state.rflags = after;
    return flow;
  }
};

template <class Op>
void bind_unary(const Binding& b, Insn& out) {
  for_size(b.size(0), [&](auto t) {
    using Form = Unary<Op, decltype(t)>;
    if (b.is_memory(0)) {
      b.memory(0, out);
      out.run = b.locked() ? &Form::on_mem_locked : &Form::on_mem;
    } else {
      out.dst = b.register_of(0);
      out.run = &Form::on_reg;
    }
  });
}

}  // namespace

namespace bind {
void add(const Binding& b, Insn& out) {
  bind_binary<Add>(b, out);
}
void sub(const Binding& b, Insn& out) {
  bind_binary<Sub>(b, out);
}
void adc(const Binding& b, Insn& out) {
  bind_binary<Adc>(b, out);
}
void sbb(const Binding& b, Insn& out) {
  bind_binary<Sbb>(b, out);
}
void and_(const Binding& b, Insn& out) {
  bind_binary<And>(b, out);
}
void or_(const Binding& b, Insn& out) {
  bind_binary<Or>(b, out);
}
void xor_(const Binding& b, Insn& out) {
  bind_binary<Xor>(b, out);
}
void cmp(const Binding& b, Insn& out) {
  bind_binary<Cmp>(b, out);
}
void test(const Binding& b, Insn& out) {
  bind_binary<Test>(b, out);
}
void inc(const Binding& b, Insn& out) {
  bind_unary<Inc>(b, out);
}
void dec(const Binding& b, Insn& out) {
  bind_unary<Dec>(b, out);
}
void neg(const Binding& b, Insn& out) {
  bind_unary<Neg>(b, out);
}
void not_(const Binding& b, Insn& out) {
  bind_unary<Not>(b, out);
}
}  // namespace bind

}  // namespace vellum::interp
