// MUL, IMUL, DIV, IDIV.
#include <limits>
#include <type_traits>

#include "cpu/interp/alu.hpp"
#include "cpu/interp/binding.hpp"

namespace vellum::interp {
namespace {

template <class T>
struct WideOf;
template <>
struct WideOf<u8> {
  using Unsigned = u16;
};
template <>
struct WideOf<u16> {
  using Unsigned = u32;
};
template <>
struct WideOf<u32> {
  using Unsigned = u64;
};
template <>
struct WideOf<u64> {
  using Unsigned = u128;
};

constexpr u16 kRaxOffset = gpr_offset(x86::kRax);
constexpr u16 kRdxOffset = gpr_offset(x86::kRdx);

// The double-width accumulator: AX for bytes, else rDX:rAX.
template <class T>
void write_pair(Vcpu& v, T low, T high) {
  if constexpr (sizeof(T) == 1) {
    reg<u8>(v, kRaxOffset) = low;
    reg<u8>(v, gpr_offset(x86::kRax, true)) = high;
  } else {
    write_reg<T>(v, kRaxOffset, low);
    write_reg<T>(v, kRdxOffset, high);
  }
}
template <class T>
typename WideOf<T>::Unsigned read_pair(Vcpu& v) {
  using Wide = typename WideOf<T>::Unsigned;
  if constexpr (sizeof(T) == 1)
    return reg<u16>(v, kRaxOffset);
  else
    return static_cast<Wide>(static_cast<Wide>(reg<T>(v, kRdxOffset)) << (8 * sizeof(T)) |
                             reg<T>(v, kRaxOffset));
}

// rDX:rAX (AX) := rAX (AL) * b. The accumulator waits elsewhere while the flags pass through EAX.
template <class T, bool is_signed>
void multiply_accumulator(Vcpu& v, T b) {
  u32 ax = split_flags(v.state.rflags);
  if constexpr (sizeof(T) == 1) {
    u16 product = reg<u8>(v, kRaxOffset);
    if constexpr (is_signed) {
      asm(VELLUM_ON_GUEST_FLAGS("movw %[p], %%ax\n\timulb %[b]\n\tmovw %%ax, %[p]")
          : [p] "+&r"(product), "+&a"(ax)
          : [b] "q"(b)
          : "cc");
    } else {
      asm(VELLUM_ON_GUEST_FLAGS("movw %[p], %%ax\n\tmulb %[b]\n\tmovw %%ax, %[p]")
          : [p] "+&r"(product), "+&a"(ax)
          : [b] "q"(b)
          : "cc");
    }
    merge_flags(v.state.rflags, ax);
    reg<u16>(v, kRaxOffset) = product;
  } else {
    u64 low = reg<T>(v, kRaxOffset);
    T high;
    if constexpr (is_signed) {
      asm(VELLUM_ON_GUEST_FLAGS("movq %[p], %%rax\n\timul %[b]\n\tmovq %%rax, %[p]")
          : [p] "+&r"(low), "+&a"(ax), "=&d"(high)
          : [b] "r"(b)
          : "cc");
    } else {
      asm(VELLUM_ON_GUEST_FLAGS("movq %[p], %%rax\n\tmul %[b]\n\tmovq %%rax, %[p]")
          : [p] "+&r"(low), "+&a"(ax), "=&d"(high)
          : [b] "r"(b)
          : "cc");
    }
    merge_flags(v.state.rflags, ax);
    write_reg<T>(v, kRaxOffset, static_cast<T>(low));
    write_reg<T>(v, kRdxOffset, high);
  }
}

struct MulOp {
  template <class T>
  static bool run(Vcpu& v, T b) {
    multiply_accumulator<T, false>(v, b);
    return true;
  }
};
struct ImulOp {
  template <class T>
  static bool run(Vcpu& v, T b) {
    multiply_accumulator<T, true>(v, b);
    return true;
  }
};

// #DE for a divisor of 0 and for a quotient that does not fit. Flags are undefined and stay as they are.
struct DivOp {
  template <class T>
  static bool run(Vcpu& v, T b) {
    using Wide = typename WideOf<T>::Unsigned;
    if (b == 0) return v.raise(x86::kDe);
    const Wide a = read_pair<T>(v);
    const Wide quotient = static_cast<Wide>(a / b);
    if (quotient > std::numeric_limits<T>::max()) return v.raise(x86::kDe);
    write_pair<T>(v, static_cast<T>(quotient), static_cast<T>(a % b));
    return true;
  }
};
struct IdivOp {
  template <class T>
  static bool run(Vcpu& v, T b) {
    using Wide = typename WideOf<T>::Unsigned;
    // In magnitudes, since the most negative dividend by -1 must not be left to C++'s signed division.
    if (b == 0) return v.raise(x86::kDe);
    const Wide dividend = read_pair<T>(v);
    const bool dividend_negative = (dividend >> (16 * sizeof(T) - 1)) != 0;
    const bool divisor_negative = (b >> (8 * sizeof(T) - 1)) != 0;
    const Wide a = dividend_negative ? static_cast<Wide>(~dividend + 1) : dividend;
    const T d = divisor_negative ? static_cast<T>(~b + 1) : b;
    const Wide magnitude = static_cast<Wide>(a / d);
    const T rest = static_cast<T>(a % d);
    const bool negative = dividend_negative != divisor_negative;
    const Wide limit = (Wide{1} << (8 * sizeof(T) - 1)) - (negative ? 0 : 1);
    if (magnitude > limit) return v.raise(x86::kDe);
    const T quotient = static_cast<T>(negative ? ~magnitude + 1 : magnitude);
    write_pair<T>(v, quotient, dividend_negative ? static_cast<T>(~rest + 1) : rest);
    return true;
  }
};

template <class Op, class T>
struct Accumulator {
  static Flow on_reg(Vcpu& v, const Insn& i) {
    return Op::template run<T>(v, reg<T>(v, i.src)) ? Flow::kNext : Flow::kFault;
  }
  static Flow on_mem(Vcpu& v, const Insn& i) {
    T b;
    return load<T>(v, i, b) && Op::template run<T>(v, b) ? Flow::kNext : Flow::kFault;
  }
};

template <class Op>
void bind_accumulator(const Binding& b, Insn& out) {
  for_size(b.size(0), [&](auto t) {
    using Form = Accumulator<Op, decltype(t)>;
    if (b.is_memory(0)) {
      b.memory(0, out);
      out.run = &Form::on_mem;
    } else {
      out.src = b.register_of(0);
      out.run = &Form::on_reg;
    }
  });
}

// IMUL r, r/m and IMUL r, r/m, imm.
template <class T>
struct Imul {
  static void multiply(Vcpu& v, u16 dst, T a, T b) {
    u32 ax = split_flags(v.state.rflags);
    asm(VELLUM_ON_GUEST_FLAGS("imul %[b], %[a]") : [a] "+&r"(a), "+&a"(ax) : [b] "r"(b) : "cc");
    merge_flags(v.state.rflags, ax);
    write_reg<T>(v, dst, a);
  }
  static Flow reg_reg(Vcpu& v, const Insn& i) {
    multiply(v, i.dst, reg<T>(v, i.dst), reg<T>(v, i.src));
    return Flow::kNext;
  }
  static Flow reg_mem(Vcpu& v, const Insn& i) {
    T b;
    if (!load<T>(v, i, b)) return Flow::kFault;
    multiply(v, i.dst, reg<T>(v, i.dst), b);
    return Flow::kNext;
  }
  static Flow reg_imm(Vcpu& v, const Insn& i) {
    multiply(v, i.dst, reg<T>(v, i.src), static_cast<T>(i.imm));
    return Flow::kNext;
  }
  static Flow mem_imm(Vcpu& v, const Insn& i) {
    T a;
    if (!load<T>(v, i, a)) return Flow::kFault;
    multiply(v, i.dst, a, static_cast<T>(i.imm));
    return Flow::kNext;
  }
};

}  // namespace

namespace bind {
void mul(const Binding& b, Insn& out) {
  bind_accumulator<MulOp>(b, out);
}
void div(const Binding& b, Insn& out) {
  bind_accumulator<DivOp>(b, out);
}
void idiv(const Binding& b, Insn& out) {
  bind_accumulator<IdivOp>(b, out);
}

void imul(const Binding& b, Insn& out) {
  if (b.decoded.info.operand_count_visible == 1) return bind_accumulator<ImulOp>(b, out);
  const bool three = b.decoded.info.operand_count_visible == 3;
  for_word_size(b.size(0), [&](auto t) {
    using Form = Imul<decltype(t)>;
    out.dst = b.register_of(0);
    if (b.is_memory(1))
      b.memory(1, out);
    else
      out.src = b.register_of(1);
    if (three) {
      out.imm = b.immediate(2);
      out.run = b.is_memory(1) ? &Form::mem_imm : &Form::reg_imm;
    } else {
      out.run = b.is_memory(1) ? &Form::reg_mem : &Form::reg_reg;
    }
  });
}
}  // namespace bind

}  // namespace vellum::interp
