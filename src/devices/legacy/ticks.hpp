// Conversion between guest nanoseconds and the ticks of a device's own oscillator.
#pragma once

#include "base/int.hpp"

namespace vellum {

inline constexpr u64 kNsPerSecond = 1'000'000'000;

/// Ticks of a `hz` oscillator that have passed at `ns`.
constexpr u64 ticks_at(u128 ns, u64 hz) {
  return static_cast<u64>(ns * hz / kNsPerSecond);
}

/// The first nanosecond at which ticks_at() is `ticks`.
constexpr u64 ns_of_ticks(u64 ticks, u64 hz) {
  return static_cast<u64>((static_cast<u128>(ticks) * kNsPerSecond + hz - 1) / hz);
}

}  // namespace vellum
