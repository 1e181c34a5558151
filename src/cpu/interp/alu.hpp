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

/// Flags as merge_flags() takes them.
[[gnu::always_inline]] inline u32 split_flags(u64 flags) {
  return static_cast<u32>((flags & 0xd5) << 8 | ((flags >> 11) & 1));
}

/// What an instruction leaves undefined, or unchanged, is what the host's processor makes of the guest's
/// flags: they are in its flags before the instruction, and all that is there behind it is the guest's. So
/// runs are the same each time, and translated code, which runs the same instruction, agrees. Takes and gives
/// EAX as split_flags().
#define VELLUM_ON_GUEST_FLAGS(instruction) "addb $0x7f, %%al\n\tsahf\n\t" instruction "\n\tlahf\n\tseto %%al"

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
// Shifts and rotates by CL. A masked count of 0 changes neither result nor flags.
#define VELLUM_SHIFT(Name, mnemonic)                                                             \
  struct Name {                                                                                  \
    template <class T>                                                                           \
    [[gnu::always_inline]] static T apply(T a, u8 count, u64& flags) {                           \
      u32 ax = split_flags(flags);                                                               \
      asm(VELLUM_ON_GUEST_FLAGS(mnemonic " %%cl, %[a]") : [a] "+&q"(a), "+&a"(ax) : "c"(count) : "cc"); \
      merge_flags(flags, ax);                                                                    \
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
VELLUM_SHIFT(Shl, "shl")
VELLUM_SHIFT(Shr, "shr")
VELLUM_SHIFT(Sar, "sar")
VELLUM_SHIFT(Rol, "rol")
VELLUM_SHIFT(Ror, "ror")
VELLUM_SHIFT(Rcl, "rcl")
VELLUM_SHIFT(Rcr, "rcr")

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
    u32 ax = split_flags(flags);
    asm(VELLUM_ON_GUEST_FLAGS("shld %%cl, %[b], %[a]")
        : [a] "+&r"(a), "+&a"(ax)
        : [b] "r"(b), "c"(count)
        : "cc");
    merge_flags(flags, ax);
    return a;
  }
};
struct Shrd {
  template <class T>
  static T apply(T a, T b, u8 count, u64& flags) {
    u32 ax = split_flags(flags);
    asm(VELLUM_ON_GUEST_FLAGS("shrd %%cl, %[b], %[a]")
        : [a] "+&r"(a), "+&a"(ax)
        : [b] "r"(b), "c"(count)
        : "cc");
    merge_flags(flags, ax);
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
