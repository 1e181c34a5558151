// A set of page numbers that may err on the side of containing one (a Bloom filter with one hash of 2^16
// bits).
#pragma once

#include <array>

#include "base/int.hpp"

namespace vellum {

class PageFilter {
 public:
  /// Whether a bit was set that was not before.
  bool add(u64 number) {
    u64& word = words_[hash(number) >> 6];
    const u64 bit = u64{1} << (hash(number) & 63);
    const bool fresh = (word & bit) == 0;
    word |= bit;
    return fresh;
  }
  bool may_contain(u64 number) const { return (words_[hash(number) >> 6] >> (hash(number) & 63) & 1) != 0; }
  void clear() { words_.fill(0); }

 private:
  static constexpr unsigned kBits = 16;

  // Fibonacci hashing: the top bits of a product with 2^64 / golden ratio spread neighbours and strides
  // alike.
  static constexpr u64 hash(u64 number) { return number * 0x9e3779b97f4a7c15 >> (64 - kBits); }

  std::array<u64, (1 << kBits) / 64> words_{};
};

}  // namespace vellum
