// Small numbers for (mapping of code, privilege): what a look-up of code by guest-virtual address must agree
// in. Each half of the address space has its own, as its mapping changes on its own.
#pragma once

#include <array>

#include "base/assert.hpp"
#include "base/int.hpp"

namespace vellum::bt {

class ContextNumbers {
 public:
  static constexpr u32 kKeys = 16;

  /// The number of (stamp, key) in one half (1: the upper one): the same as before, as long as it is known,
  /// else one that was never used. Not 0, below 2^31. `key` is less than kKeys.
  u32 select(unsigned half, u64 stamp, u32 key) {
    VELLUM_ASSERT(key < kKeys, "key {}", key);
    Number& n = numbers_[half][(stamp * kKeys + key) % kNumbers];
    if (n.value == 0 || n.stamp != stamp || n.key != key) n = {stamp, key, next_++};
    return n.value;
  }
  /// Numbers are nearly used up: whoever keeps some must forget them, and call restart().
  bool exhausted() const { return next_ >= limit_; }
  void restart() {
    numbers_ = {};
    next_ = 1;
  }

  /// `limit`: for tests, when numbers are nearly used up.
  explicit ContextNumbers(u32 limit = 0x7ff00000) : limit_(limit) {}

 private:
  /// Address spaces whose stamps are these apart, divided by kKeys, take each other's numbers away.
  static constexpr u32 kNumbers = 1024;
  struct Number {
    u64 stamp = 0;
    u32 key = 0;
    u32 value = 0;
  };
  std::array<std::array<Number, kNumbers>, 2> numbers_{};
  u32 next_ = 1;
  u32 limit_;
};

}  // namespace vellum::bt
