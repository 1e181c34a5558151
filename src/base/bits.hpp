// Bits and bit fields.
#pragma once

#include <bit>
#include <type_traits>

#include "base/int.hpp"

namespace vellum {

constexpr u64 bit(unsigned n) {
  return u64{1} << n;
}

/// Bits high..low (inclusive, 0 to 63) of `value`, moved down to bit 0.
constexpr u64 bits(u64 value, unsigned high, unsigned low) {
  const unsigned width = high - low + 1;
  return (value >> low) & (width == 64 ? ~u64{0} : (u64{1} << width) - 1);
}

/// The low `width` bits set, 0 to 64.
constexpr u64 low_mask(unsigned width) {
  return width >= 64 ? ~u64{0} : (u64{1} << width) - 1;
}

/// `value`'s low `width` bits (1 to 64) as a signed number.
constexpr i64 sign_extend(u64 value, unsigned width) {
  return static_cast<i64>(value << (64 - width)) >> (64 - width);
}

constexpr u64 align_down(u64 value, u64 alignment) {
  return value & ~(alignment - 1);
}
constexpr u64 align_up(u64 value, u64 alignment) {
  return (value + alignment - 1) & ~(alignment - 1);
}

/// Operators for a scoped enum used as a set of flags: specialise to true.
template <class E>
inline constexpr bool kIsFlagSet = false;

template <class E>
requires kIsFlagSet<E>
constexpr E operator|(E a, E b) {
  return static_cast<E>(static_cast<std::underlying_type_t<E>>(a) |
                        static_cast<std::underlying_type_t<E>>(b));
}
template <class E>
requires kIsFlagSet<E>
constexpr E operator&(E a, E b) {
  return static_cast<E>(static_cast<std::underlying_type_t<E>>(a) &
                        static_cast<std::underlying_type_t<E>>(b));
}
template <class E>
requires kIsFlagSet<E>
constexpr E operator~(E a) {
  return static_cast<E>(~static_cast<std::underlying_type_t<E>>(a));
}
template <class E>
requires kIsFlagSet<E>
constexpr bool any(E a) {
  return static_cast<std::underlying_type_t<E>>(a) != 0;
}

}  // namespace vellum
