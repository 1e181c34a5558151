// BT, BTS, BTR, BTC, BSF, BSR, BSWAP.
#include "cpu/interp/alu.hpp"
#include "cpu/interp/binding.hpp"

namespace vellum::interp {
namespace {

// What becomes of the tested bit.
enum class BitOp : u8 { kTest, kSet, kReset, kComplement };

template <BitOp op, class T>
T apply_bit(T a, unsigned n, u64& flags) {
  const T mask = static_cast<T>(T{1} << n);
  flags = (flags & ~x86::rflags::kCf) | ((a >> n) & 1);  // only CF: of an operand in memory the others stay
  if constexpr (op == BitOp::kSet) return a | mask;
  if constexpr (op == BitOp::kReset) return a & static_cast<T>(~mask);
  if constexpr (op == BitOp::kComplement) return a ^ mask;
  return a;
}

template <BitOp op, class T>
struct Bit {
  static constexpr unsigned kBits = 8 * sizeof(T);

  static Flow on_reg(Vcpu& v, const Insn& i, T n) {
    T a = reg<T>(v, i.dst);
    u32 ax = split_flags(v.state.rflags);
    if constexpr (op == BitOp::kTest)
      asm(VELLUM_ON_GUEST_FLAGS("bt %[n], %[a]") : [a] "+&r"(a), "+&a"(ax) : [n] "r"(n) : "cc");
    if constexpr (op == BitOp::kSet)
      asm(VELLUM_ON_GUEST_FLAGS("bts %[n], %[a]") : [a] "+&r"(a), "+&a"(ax) : [n] "r"(n) : "cc");
    if constexpr (op == BitOp::kReset)
      asm(VELLUM_ON_GUEST_FLAGS("btr %[n], %[a]") : [a] "+&r"(a), "+&a"(ax) : [n] "r"(n) : "cc");
    if constexpr (op == BitOp::kComplement)
      asm(VELLUM_ON_GUEST_FLAGS("btc %[n], %[a]") : [a] "+&r"(a), "+&a"(ax) : [n] "r"(n) : "cc");
    merge_flags(v.state.rflags, ax);
    if constexpr (op != BitOp::kTest) write_reg<T>(v, i.dst, a);
    return Flow::kNext;
  }
  static Flow reg_reg(Vcpu& v, const Insn& i) { return on_reg(v, i, reg<T>(v, i.src)); }
  static Flow reg_imm(Vcpu& v, const Insn& i) { return on_reg(v, i, static_cast<T>(i.imm)); }

  static Flow on_mem(Vcpu& v, const Insn& i, unsigned n, bool lock) {
    if constexpr (op == BitOp::kTest) {
      T a;
      if (!load<T>(v, i, a)) return Flow::kFault;
      apply_bit<op, T>(a, n, v.state.rflags);
      return Flow::kNext;
    } else {
      const auto f = [&](T a) { return apply_bit<op, T>(a, n, v.state.rflags); };
      return lock ? modify_locked<T>(v, i, f) : modify<T>(v, i, f);
    }
  }
  static Flow mem_imm(Vcpu& v, const Insn& i) {
    return on_mem(v, i, static_cast<unsigned>(i.imm) % kBits, i.aux != 0);
  }
  // A register bit offset is signed and reaches beyond the operand: the word that holds the bit is accessed.
  static Flow mem_reg(Vcpu& v, const Insn& i) {
    const auto offset = static_cast<i64>(static_cast<std::make_signed_t<T>>(reg<T>(v, i.src)));
    const u64 displacement = static_cast<u64>((offset >> (sizeof(T) == 8   ? 6
                                                          : sizeof(T) == 4 ? 5
                                                                           : 4)) *
                                              static_cast<i64>(sizeof(T)));
    const u64 address = (offset_of(v, i) + displacement) << i.address_shift >> i.address_shift;
    u64 linear = address + reg64(v, i.seg_base);
    if (i.legacy && !legacy_address(v, seg_of(i), address, sizeof(T),
                                    op == BitOp::kTest ? Access::kRead : Access::kWrite, linear))
      return Flow::kFault;
    const unsigned n = static_cast<unsigned>(offset) % kBits;
    if constexpr (op == BitOp::kTest) {
      T a;
      if (!v.mmu.read<T>(linear, a, seg_of(i))) return Flow::kFault;
      apply_bit<op, T>(a, n, v.state.rflags);
      return Flow::kNext;
    } else {
      const auto f = [&](T a) { return apply_bit<op, T>(a, n, v.state.rflags); };
      const bool done =
          i.aux != 0 ? modify_locked_at<T>(v, linear, seg_of(i), f) : modify_at<T>(v, linear, seg_of(i), f);
      return done ? after_store(v) : Flow::kFault;
    }
  }
};

template <BitOp op>
void bind_bit(const Binding& b, Insn& out) {
  for_word_size(b.size(0), [&](auto t) {
    using Form = Bit<op, decltype(t)>;
    out.aux = b.locked();
    if (b.is_immediate(1))
      out.imm = b.immediate(1);
    else
      out.src = b.register_of(1);
    if (b.is_memory(0)) {
      b.memory(0, out);
      out.run = b.is_immediate(1) ? &Form::mem_imm : &Form::mem_reg;
    } else {
      out.dst = b.register_of(0);
      out.run = b.is_immediate(1) ? &Form::reg_imm : &Form::reg_reg;
    }
  });
}

// A source of 0 sets ZF and leaves the destination, as all processors do; the host's own instruction decides
// the rest.
template <bool reverse, class T>
struct Scan {
  static void scan(Vcpu& v, u16 dst, T b) {
    T result = reg<T>(v, dst);
    u32 ax = split_flags(v.state.rflags);
    if constexpr (reverse) {
      asm(VELLUM_ON_GUEST_FLAGS("bsr %[b], %[a]") : [a] "+&r"(result), "+&a"(ax) : [b] "r"(b) : "cc");
    } else {
      asm(VELLUM_ON_GUEST_FLAGS("bsf %[b], %[a]") : [a] "+&r"(result), "+&a"(ax) : [b] "r"(b) : "cc");
    }
    merge_flags(v.state.rflags, ax);
    if (b != 0) write_reg<T>(v, dst, result);
  }
  static Flow reg_reg(Vcpu& v, const Insn& i) {
    scan(v, i.dst, reg<T>(v, i.src));
    return Flow::kNext;
  }
  static Flow reg_mem(Vcpu& v, const Insn& i) {
    T b;
    if (!load<T>(v, i, b)) return Flow::kFault;
    scan(v, i.dst, b);
    return Flow::kNext;
  }
};

template <bool reverse>
void bind_scan(const Binding& b, Insn& out) {
  for_word_size(b.size(0), [&](auto t) {
    using Form = Scan<reverse, decltype(t)>;
    out.dst = b.register_of(0);
    if (b.is_memory(1)) {
      b.memory(1, out);
      out.run = &Form::reg_mem;
    } else {
      out.src = b.register_of(1);
      out.run = &Form::reg_reg;
    }
  });
}

Flow bswap32(Vcpu& v, const Insn& i) {
  write_reg<u32>(v, i.dst, __builtin_bswap32(reg<u32>(v, i.dst)));
  return Flow::kNext;
}
Flow bswap64(Vcpu& v, const Insn& i) {
  write_reg<u64>(v, i.dst, __builtin_bswap64(reg<u64>(v, i.dst)));
  return Flow::kNext;
}
// Undefined by the SDM; processors clear the word.
Flow bswap16(Vcpu& v, const Insn& i) {
  write_reg<u16>(v, i.dst, 0);
  return Flow::kNext;
}

}  // namespace

namespace bind {
void bt(const Binding& b, Insn& out) {
  bind_bit<BitOp::kTest>(b, out);
}
void bts(const Binding& b, Insn& out) {
  bind_bit<BitOp::kSet>(b, out);
}
void btr(const Binding& b, Insn& out) {
  bind_bit<BitOp::kReset>(b, out);
}
void btc(const Binding& b, Insn& out) {
  bind_bit<BitOp::kComplement>(b, out);
}
void bsf(const Binding& b, Insn& out) {
  bind_scan<false>(b, out);
}
void bsr(const Binding& b, Insn& out) {
  bind_scan<true>(b, out);
}
void bswap(const Binding& b, Insn& out) {
  out.dst = b.register_of(0);
  out.run = b.size(0) == 8 ? &bswap64 : b.size(0) == 4 ? &bswap32 : &bswap16;
}
}  // namespace bind

}  // namespace vellum::interp
