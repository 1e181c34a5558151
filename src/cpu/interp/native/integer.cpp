// Rarer instructions on general registers, run by the host's own instruction inline: ADX, POPCNT, LZCNT,
// TZCNT, MOVBE, CRC32, MOVNTI, RDRAND, RDSEED (SDM vol. 2). SAFETY: inline assembly on register values only.
#include "cpu/interp/native/integer_ops.hpp"

namespace vellum::interp::native {
namespace {

namespace fl = x86::rflags;

struct Popcnt : LegacyOp {
  template <class T>
  static T run(Vcpu& v, const Insn&, T s) {
    set_flags(v, fl::kArithmetic, s == 0 ? fl::kZf : 0);
    return static_cast<T>(std::popcount(s));
  }
};
VELLUM_NATIVE_OF_ONE(Lzcnt, LegacyOp, "lzcnt")
VELLUM_NATIVE_OF_ONE(Tzcnt, LegacyOp, "tzcnt")
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
      return bind_bmi(r, out);
  }
}

}  // namespace vellum::interp::native
