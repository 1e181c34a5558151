// Rarer instructions on general registers, run by the host's own instruction inline: BMI1, BMI2, ADX, POPCNT,
// LZCNT, TZCNT, MOVBE, CRC32, MOVNTI, RDRAND, RDSEED (SDM vol. 2).
//
// Insn.dst is the destination, src the ModRM operand when that is a register, imm the VEX.vvvv register's
// offset or the immediate. SAFETY: inline assembly on register values only.
#include "base/bits.hpp"
#include "cpu/interp/native/families.hpp"
#include "cpu/interp/operand.hpp"

namespace vellum::interp::native {
namespace {

namespace fl = x86::rflags;

void set_flags(Vcpu& v, u64 mask, u64 values) {
  v.state.rflags = (v.state.rflags & ~mask) | (values & mask);
}

template <class T>
constexpr bool sign(T value) {
  return (value >> (8 * sizeof(T) - 1)) != 0;
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

struct Popcnt : LegacyOp {
  template <class T>
  static T run(Vcpu& v, const Insn&, T s) {
    set_flags(v, fl::kArithmetic, s == 0 ? fl::kZf : 0);
    return static_cast<T>(std::popcount(s));
  }
};
// CF: the source was 0; ZF: the result is. The others are undefined and stay.
template <class T>
T count_flags(Vcpu& v, T s, T result) {
  set_flags(v, fl::kCf | fl::kZf, (s == 0 ? fl::kCf : 0) | (result == 0 ? fl::kZf : 0));
  return result;
}
struct Lzcnt : LegacyOp {
  template <class T>
  static T run(Vcpu& v, const Insn&, T s) {
    return count_flags<T>(v, s, static_cast<T>(std::countl_zero(s)));
  }
};
struct Tzcnt : LegacyOp {
  template <class T>
  static T run(Vcpu& v, const Insn&, T s) {
    return count_flags<T>(v, s, static_cast<T>(std::countr_zero(s)));
  }
};
struct Adcx : LegacyOp {
  template <class T>
  static T run(Vcpu& v, const Insn& i, T s) {
    const u128 sum = u128{reg<T>(v, i.dst)} + s + ((v.state.rflags & fl::kCf) != 0);
    set_flags(v, fl::kCf, (sum >> (8 * sizeof(T))) != 0 ? fl::kCf : 0);
    return static_cast<T>(sum);
  }
};
struct Adox : LegacyOp {
  template <class T>
  static T run(Vcpu& v, const Insn& i, T s) {
    const u128 sum = u128{reg<T>(v, i.dst)} + s + ((v.state.rflags & fl::kOf) != 0);
    set_flags(v, fl::kOf, (sum >> (8 * sizeof(T))) != 0 ? fl::kOf : 0);
    return static_cast<T>(sum);
  }
};
struct MovbeLoad : LegacyOp {
  template <class T>
  static T run(Vcpu&, const Insn&, T s) {
    if constexpr (sizeof(T) == 2) return __builtin_bswap16(s);
    if constexpr (sizeof(T) == 4) return __builtin_bswap32(s);
    if constexpr (sizeof(T) == 8) return __builtin_bswap64(s);
  }
};

// BSF and BSR, which the encodings of TZCNT and LZCNT mean without BMI1 and ABM. A source of 0 leaves the
// destination as it is (AMD64 vol. 3, and what Intel's processors do).
template <class T, bool kMemory, bool kReverse>
Flow bit_scan(Vcpu& v, const Insn& i) {
  T value;
  if (!source<T, kMemory>(v, i, value)) return Flow::kFault;
  set_flags(v, fl::kZf, value == 0 ? fl::kZf : 0);
  if (value != 0)
    write_reg<T>(v, i.dst, static_cast<T>(kReverse ? std::bit_width(value) - 1 : std::countr_zero(value)));
  return Flow::kNext;
}

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

// T is the source's size; i.size 8: a 64-bit destination.
template <class T, bool kMemory>
Flow crc32(Vcpu& v, const Insn& i) {
  T value;
  if (!source<T, kMemory>(v, i, value)) return Flow::kFault;
  u64 crc = reg<u32>(v, i.dst);
  if constexpr (sizeof(T) == 1) asm("crc32b %1, %k0" : "+r"(crc) : "q"(value));
  if constexpr (sizeof(T) == 2) asm("crc32w %1, %k0" : "+r"(crc) : "r"(value));
  if constexpr (sizeof(T) == 4) asm("crc32l %1, %k0" : "+r"(crc) : "r"(value));
  if constexpr (sizeof(T) == 8) asm("crc32q %1, %0" : "+r"(crc) : "r"(value));
  reg<u64>(v, i.dst) = crc;
  return Flow::kNext;
}

template <class T>
Flow movbe_store(Vcpu& v, const Insn& i) {
  return store<T>(v, i, MovbeLoad::run<T>(v, i, reg<T>(v, i.src))) ? after_store(v) : Flow::kFault;
}

template <class T>
Flow store_non_temporal(Vcpu& v, const Insn& i) {
  return store<T>(v, i, reg<T>(v, i.src)) ? after_store(v) : Flow::kFault;
}

// Under a virtual clock everything that a guest sees is determined by what it retired, so the number is drawn
// from that (a mix by Steele's SplitMix64 finalizer), and never fails.
u64 determined_number(const Vcpu& v, const Insn& i) {
  u64 z = v.clock.tsc() + v.retired + i.position + 0x9e3779b97f4a7c15 * (v.index + 1);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

template <class T, bool kSeed>
Flow random_number(Vcpu& v, const Insn& i) {
  u64 number = 0;
  bool ready = true;
  if (v.clock.is_virtual()) {
    number = determined_number(v, i);
  } else if constexpr (kSeed) {
    asm volatile("rdseed %0" : "=r"(number), "=@ccc"(ready));
  } else {
    asm volatile("rdrand %0" : "=r"(number), "=@ccc"(ready));
  }
  write_reg<T>(v, i.dst, ready ? static_cast<T>(number) : T{0});
  set_flags(v, fl::kArithmetic, ready ? fl::kCf : 0);
  return Flow::kNext;
}

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

template <class Op>
Handler vex_handler_for(unsigned size, bool memory) {
  if (size == 4) return memory ? run_op<Op, u32, true> : run_op<Op, u32, false>;
  return memory ? run_op<Op, u64, true> : run_op<Op, u64, false>;
}

template <bool kReverse>
Handler scan_for(unsigned size, bool memory) {
  switch (size) {
    case 2:
      return memory ? bit_scan<u16, true, kReverse> : bit_scan<u16, false, kReverse>;
    case 4:
      return memory ? bit_scan<u32, true, kReverse> : bit_scan<u32, false, kReverse>;
    default:
      return memory ? bit_scan<u64, true, kReverse> : bit_scan<u64, false, kReverse>;
  }
}

Handler crc32_for(unsigned size, bool memory) {
  switch (size) {
    case 1:
      return memory ? crc32<u8, true> : crc32<u8, false>;
    case 2:
      return memory ? crc32<u16, true> : crc32<u16, false>;
    case 4:
      return memory ? crc32<u32, true> : crc32<u32, false>;
    default:
      return memory ? crc32<u64, true> : crc32<u64, false>;
  }
}

// Operand n is the ModRM operand: memory or Insn.src.
bool set_source(const Request& r, unsigned n, Insn& out) {
  if (r.is_memory(n)) {
    r.memory(n, out);
    return true;
  }
  out.src = register_offset(r.operand(n).reg.value);
  return false;
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
void bind_two(const Request& r, Insn& out) {
  out.dst = register_offset(r.operand(0).reg.value);
  out.run = handler_for<Op>(r.operand(0).size / 8, set_source(r, 1, out));
}

void bind_movbe(const Request& r, Insn& out) {
  if (!r.is_memory(0)) return bind_two<MovbeLoad>(r, out);
  r.memory(0, out);
  out.src = register_offset(r.operand(1).reg.value);
  const unsigned size = r.operand(1).size / 8;
  out.run = size == 2 ? movbe_store<u16> : size == 4 ? movbe_store<u32> : movbe_store<u64>;
}

template <bool kSeed>
void bind_random(const Request& r, Insn& out) {
  out.dst = register_offset(r.operand(0).reg.value);
  const unsigned size = r.operand(0).size / 8;
  out.run = size == 2   ? random_number<u16, kSeed>
            : size == 4 ? random_number<u32, kSeed>
                        : random_number<u64, kSeed>;
}

}  // namespace

bool bind_integer(const Request& r, Insn& out) {
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
    case ZYDIS_MNEMONIC_POPCNT:
      bind_two<Popcnt>(r, out);
      return true;
    case ZYDIS_MNEMONIC_ADCX:
      bind_two<Adcx>(r, out);
      return true;
    case ZYDIS_MNEMONIC_ADOX:
      bind_two<Adox>(r, out);
      return true;
    case ZYDIS_MNEMONIC_MOVBE:
      bind_movbe(r, out);
      return true;
    case ZYDIS_MNEMONIC_RDRAND:
      bind_random<false>(r, out);
      return true;
    case ZYDIS_MNEMONIC_RDSEED:
      bind_random<true>(r, out);
      return true;
    case ZYDIS_MNEMONIC_LZCNT:
      bind_two<Lzcnt>(r, out);
      if (!r.v.model.has(x86::Feature::kAbm)) out.run = scan_for<true>(r.operand(0).size / 8, r.is_memory(1));
      return true;
    case ZYDIS_MNEMONIC_TZCNT:
      bind_two<Tzcnt>(r, out);
      if (!r.v.model.has(x86::Feature::kBmi1))
        out.run = scan_for<false>(r.operand(0).size / 8, r.is_memory(1));
      return true;
    case ZYDIS_MNEMONIC_MULX: {
      out.dst = register_offset(r.operand(0).reg.value);
      out.imm = register_offset(r.operand(1).reg.value);
      const bool memory = set_source(r, 2, out);
      if (r.operand(0).size == 32) {
        out.run = memory ? mulx<u32, true> : mulx<u32, false>;
      } else {
        out.run = memory ? mulx<u64, true> : mulx<u64, false>;
      }
      return true;
    }
    case ZYDIS_MNEMONIC_CRC32:
      out.dst = register_offset(r.operand(0).reg.value);
      out.run = crc32_for(r.operand(1).size / 8, set_source(r, 1, out));
      return true;
    case ZYDIS_MNEMONIC_MOVNTI:
      r.memory(0, out);
      out.src = register_offset(r.operand(1).reg.value);
      out.run = r.operand(1).size == 64 ? store_non_temporal<u64> : store_non_temporal<u32>;
      return true;
    default:
      return false;
  }
}

}  // namespace vellum::interp::native
