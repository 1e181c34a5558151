// Small numbers for (mapping of code, privilege): what a look-up of code by guest-virtual address must agree
// in.
#pragma once

#include <array>

#include "base/int.hpp"

namespace vellum::bt {

class ContextNumbers {
 public:
  /// The number of (stamp, key), in a canonical address's upper 16 bits, to be XORed with one. `forget`:
  /// numbers started over, and nothing found under an earlier one counts.
  u64 select(u64 stamp, u32 key, bool& forget) {
    forget = false;
    Number& n = numbers_[(stamp * 16 + key) % numbers_.size()];
    if (n.value == 0 || n.stamp != stamp || n.key != key) {
      if (next_ > kLast) {
        numbers_.fill({});
        next_ = 1;
        ++round_;
        forget = true;
      }
      n = {stamp, key, next_++};
    }
    serial_ = round_ << kRoundShift | n.value;
    return u64{n.value} << kShift;
  }
  /// Of what was selected last: as its number, but never used for anything else; not 0.
  u32 serial() const { return serial_; }
  /// Serials are nearly used up: whoever keeps some must forget them, and call restart().
  bool exhausted() const { return round_ >= kLastRound; }
  void restart() {
    numbers_.fill({});
    next_ = 1;
    round_ = 0;
  }

 private:
  // Canonical addresses have 16 equal upper bits. The number stays below bit 62 so that XOR with it and with
  // either half's upper bits are never the same: a low-half address gives 0nnn…, a high-half one 1~n….
  static constexpr unsigned kShift = 48;
  static constexpr u32 kLast = 0x7ffe;
  static constexpr unsigned kRoundShift = 15;
  static constexpr u32 kLastRound = 0xff00;  // serials stay below 2^31
  struct Number {
    u64 stamp = 0;
    u32 key = 0;
    u32 value = 0;
  };
  std::array<Number, 256> numbers_{};
  u32 next_ = 1;
  u32 round_ = 0;
  u32 serial_ = 0;
};

}  // namespace vellum::bt
