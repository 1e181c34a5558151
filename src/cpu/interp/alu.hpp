// Arithmetic with x86 flags, done by the host's own instructions: results and defined flags
// are the host processor's.
//
// Each operation is a type with `apply<T>(a, b, flags)`: the result for operands of T (u8 to u64), updating
// `flags` (in RFLAGS' layout). LAHF and SETO after the instruction yield all six flags without a PUSHF.
#pragma once

#include <type_traits>

#include "base/int.hpp"
#include "x86/registers.hpp"

namespace vellum::interp {

/// Puts what LAHF (AH) and SETO (AL) gave into `flags`, those in `mask` only.
[[gnu::always_inline]] inline void merge_flags(u64& flags, u32 ax, u64 mask = x86::rflags::kArithmetic) {
  const u64 fresh = ((ax >> 8) & 0xd5) | (static_cast<u64>(ax & 1) << 11);
  flags = (flags & ~mask) | (fresh & mask);
}

inline constexpr u64 kAllButCarry = x86::rflags::kArithmetic & ~x86::rflags::kCf;
inline constexpr u64 kCarryOverflow = x86::rflags::kCf | x86::rflags::kOf;

/// A flag that an instruction leaves undefined may be one that the host's processor does not write at all:
/// then it would be what our own code happened to leave there. The masks below hold what is defined; the rest
/// stays as the guest had it, so that runs are the same each time. Of the shifts AF is undefined, and OF
/// unless the count is 1.
constexpr u64 defined_by_shift(u64 mask, unsigned masked_count) {
  return masked_count == 1 ? mask : mask & ~x86::rflags::kOf;
}
inline constexpr u64 kAllButAf = x86::rflags::kArithmetic & ~x86::rflags::kAf;

// clang-format off
#define VELLUM_BINARY(Name, mnemonic)                                                            \
  struct Name {                                                                                  \
    static constexpr bool kWrites = true;                                                        \
    template <class T>                                                                           \
    [[gnu::always_inline]] static T apply(T a, T b, u64& flags) {                                \
      u32 ax;                                                                                    \
      asm(mnemonic " %[b], %[a]\n\tlahf\n\tseto %%al" : [a] "+&q"(a), "=&a"(ax) : [b] "q"(b) : "cc"); \
      merge_flags(flags, ax);                                                                    \
      return a;                                                                                  \
    }                                                                                            \
  };
#define VELLUM_BINARY_CARRY(Name, mnemonic)                                                      \
  struct Name {                                                                                  \
    static constexpr bool kWrites = true;                                                        \
    template <class T>                                                                           \
    [[gnu::always_inline]] static T apply(T a, T b, u64& flags) {                                \
      u32 ax;                                                                                    \
      asm("btq $0, %[f]\n\t" mnemonic " %[b], %[a]\n\tlahf\n\tseto %%al"                         \
          : [a] "+&q"(a), "=&a"(ax) : [b] "q"(b), [f] "r"(flags) : "cc");                        \
      merge_flags(flags, ax);                                                                    \
      return a;                                                                                  \
    }                                                                                            \
  };
#define VELLUM_COMPARE(Name, mnemonic)                                                           \
  struct Name {                                                                                  \
    static constexpr bool kWrites = false;                                                       \
    template <class T>                                                                           \
    [[gnu::always_inline]] static T apply(T a, T b, u64& flags) {                                \
      u32 ax;                                                                                    \
      asm(mnemonic " %[b], %[a]\n\tlahf\n\tseto %%al" : "=&a"(ax) : [a] "q"(a), [b] "q"(b) : "cc"); \
      merge_flags(flags, ax);                                                                    \
      return a;                                                                                  \
    }                                                                                            \
  };
#define VELLUM_UNARY(Name, mnemonic, mask)                                                       \
  struct Name {                                                                                  \
    template <class T>                                                                           \
    [[gnu::always_inline]] static T apply(T a, u64& flags) {                                     \
      u32 ax;                                                                                    \
      asm(mnemonic " %[a]\n\tlahf\n\tseto %%al" : [a] "+&q"(a), "=&a"(ax) : : "cc");             \
      merge_flags(flags, ax, mask);                                                              \
      return a;                                                                                  \
    }                                                                                            \
  };
// Shifts and rotates by CL. A masked count of 0 changes neither result nor flags; `mask` is what others change. The
// carry comes in for RCL and RCR.
#define VELLUM_SHIFT(Name, mnemonic, mask)                                                       \
  struct Name {                                                                                  \
    template <class T>                                                                           \
    [[gnu::always_inline]] static T apply(T a, u8 count, u64& flags) {                           \
      const unsigned masked = count & (sizeof(T) == 8 ? 63 : 31);                                \
      if (masked == 0) return a;                                                                 \
      u32 ax;                                                                                    \
      asm("btq $0, %[f]\n\t" mnemonic " %%cl, %[a]\n\tlahf\n\tseto %%al"                         \
          : [a] "+&q"(a), "=&a"(ax) : "c"(count), [f] "r"(flags) : "cc");                        \
      merge_flags(flags, ax, defined_by_shift(mask, masked));                                                              \
      return a;                                                                                  \
    }                                                                                            \
  };
// clang-format on

VELLUM_BINARY(Add, "add")
VELLUM_BINARY(Sub, "sub")
VELLUM_BINARY(And, "and")
VELLUM_BINARY(Or, "or")
VELLUM_BINARY(Xor, "xor")
VELLUM_BINARY_CARRY(Adc, "adc")
VELLUM_BINARY_CARRY(Sbb, "sbb")
VELLUM_COMPARE(Cmp, "cmp")
VELLUM_COMPARE(Test, "test")
VELLUM_UNARY(Inc, "inc", kAllButCarry)
VELLUM_UNARY(Dec, "dec", kAllButCarry)
VELLUM_UNARY(Neg, "neg", x86::rflags::kArithmetic)
VELLUM_SHIFT(Shl, "shl", kAllButAf)
VELLUM_SHIFT(Shr, "shr", kAllButAf)
VELLUM_SHIFT(Sar, "sar", kAllButAf)
VELLUM_SHIFT(Rol, "rol", kCarryOverflow)
VELLUM_SHIFT(Ror, "ror", kCarryOverflow)
VELLUM_SHIFT(Rcl, "rcl", kCarryOverflow)
VELLUM_SHIFT(Rcr, "rcr", kCarryOverflow)

#undef VELLUM_BINARY
#undef VELLUM_BINARY_CARRY
#undef VELLUM_COMPARE
#undef VELLUM_UNARY
#undef VELLUM_SHIFT

struct Not {
  template <class T>
  static T apply(T a, u64&) {
    return static_cast<T>(~a);
  }
};

/// SHLD/SHRD of 16 (by up to 31: beyond 16 the host's answer to an undefined case), 32 or 64 bits.
struct Shld {
  template <class T>
  static T apply(T a, T b, u8 count, u64& flags) {
    const unsigned masked = count & (sizeof(T) == 8 ? 63 : 31);
    if (masked == 0) return a;
    u32 ax;
    asm("shld %%cl, %[b], %[a]\n\tlahf\n\tseto %%al"
        : [a] "+&r"(a), "=&a"(ax)
        : [b] "r"(b), "c"(count)
        : "cc");
    merge_flags(flags, ax, defined_by_shift(kAllButAf, masked));
    return a;
  }
};
struct Shrd {
  template <class T>
  static T apply(T a, T b, u8 count, u64& flags) {
    const unsigned masked = count & (sizeof(T) == 8 ? 63 : 31);
    if (masked == 0) return a;
    u32 ax;
    asm("shrd %%cl, %[b], %[a]\n\tlahf\n\tseto %%al"
        : [a] "+&r"(a), "=&a"(ax)
        : [b] "r"(b), "c"(count)
        : "cc");
    merge_flags(flags, ax, defined_by_shift(kAllButAf, masked));
    return a;
  }
};

/// Condition `cc` (the low four bits of Jcc's opcode; SDM vol. 1 appendix B) of `flags`.
template <u8 cc>
[[gnu::always_inline]] inline bool condition(u64 flags) {
  using namespace x86::rflags;
  bool result;
  if constexpr (cc / 2 == 0)
    result = (flags & kOf) != 0;
  else if constexpr (cc / 2 == 1)
    result = (flags & kCf) != 0;
  else if constexpr (cc / 2 == 2)
    result = (flags & kZf) != 0;
  else if constexpr (cc / 2 == 3)
    result = (flags & (kCf | kZf)) != 0;
  else if constexpr (cc / 2 == 4)
    result = (flags & kSf) != 0;
  else if constexpr (cc / 2 == 5)
    result = (flags & kPf) != 0;
  else if constexpr (cc / 2 == 6)
    result = ((flags >> 7) ^ (flags >> 11)) & 1;
  else
    result = (((flags >> 7) ^ (flags >> 11)) & 1) != 0 || (flags & kZf) != 0;
  return result != ((cc & 1) != 0);
}

}  // namespace vellum::interp
