// What handlers of integer instructions share: an operation as a small struct, its operands, its flags.
//
// Insn.dst is the destination, src the ModRM operand when that is a register, imm the VEX.vvvv register's
// offset or the immediate.
#pragma once

#include "cpu/interp/alu.hpp"
#include "cpu/interp/native/families.hpp"
#include "cpu/interp/operand.hpp"

namespace vellum::interp::native {

namespace fl = x86::rflags;

inline void set_flags(Vcpu& v, u64 mask, u64 values) {
  v.state.rflags = (v.state.rflags & ~mask) | (values & mask);
}

template <class T, bool kMemory>
[[gnu::always_inline]] inline bool source(Vcpu& v, const Insn& i, T& value) {
  if constexpr (kMemory) return load<T>(v, i, value);
  value = reg<T>(v, i.src);
  return true;
}

template <class T>
T second(Vcpu& v, const Insn& i) {
  return reg<T>(v, static_cast<u16>(i.imm));
}

// An operation gives a result and sets flags: T f(Vcpu&, const Insn&, T source).
template <class Op, class T, bool kMemory>
Flow run_op(Vcpu& v, const Insn& i) {
  if constexpr (Op::kGated) {
    if (!gate_open<Gate::kVex>(v.state)) [[unlikely]]
      return gate_fault(v, Gate::kVex);
  }
  T value;
  if (!source<T, kMemory>(v, i, value)) return Flow::kFault;
  write_reg<T>(v, i.dst, Op::template run<T>(v, i, value));
  return Flow::kNext;
}

struct VexOp {
  static constexpr bool kGated = true;
};
struct LegacyOp {
  static constexpr bool kGated = false;
};

// Operations that are the host's one instruction, with all flags that it leaves: of the source, or also of
// second().
#define VELLUM_NATIVE_OP(Name, Base, instruction, ...)                                             \
  struct Name : Base {                                                                             \
    template <class T>                                                                             \
    static T run(Vcpu& v, [[maybe_unused]] const Insn& i, T s) {                                   \
      T result;                                                                                    \
      u32 ax = split_flags(v.state.rflags);                                                        \
      asm(VELLUM_ON_GUEST_FLAGS(instruction) : [r] "=&r"(result), "+&a"(ax) : __VA_ARGS__ : "cc"); \
      merge_flags(v.state.rflags, ax);                                                             \
      return result;                                                                               \
    }                                                                                              \
  };
#define VELLUM_NATIVE_OF_ONE(Name, Base, mnemonic) \
  VELLUM_NATIVE_OP(Name, Base, mnemonic " %[s], %[r]", [s] "r"(s))
#define VELLUM_NATIVE_OF_TWO(Name, Base, mnemonic, operands) \
  VELLUM_NATIVE_OP(Name, Base, mnemonic " " operands ", %[r]", [s] "r"(s), [n] "r"(second<T>(v, i)))

template <class Op>
Handler handler_for(unsigned size, bool memory) {
  switch (size) {
    case 2:
      return memory ? run_op<Op, u16, true> : run_op<Op, u16, false>;
    case 4:
      return memory ? run_op<Op, u32, true> : run_op<Op, u32, false>;
    default:
      return memory ? run_op<Op, u64, true> : run_op<Op, u64, false>;
  }
}

// Operand n is the ModRM operand: memory or Insn.src.
inline bool set_source(const Request& r, unsigned n, Insn& out) {
  if (r.is_memory(n)) {
    r.memory(n, out);
    return true;
  }
  out.src = register_offset(r.operand(n).reg.value);
  return false;
}

// dst, r/m.
template <class Op>
void bind_two(const Request& r, Insn& out) {
  out.dst = register_offset(r.operand(0).reg.value);
  out.run = handler_for<Op>(r.operand(0).size / 8, set_source(r, 1, out));
}

bool bind_bmi(const Request& request, Insn& out);  ///< the VEX-encoded ones

}  // namespace vellum::interp::native
