// A set of page numbers that may err on the side of containing one (a Bloom filter with one hash of 4096
// bits).
#pragma once

#include <array>

#include "base/int.hpp"

namespace vellum {

class PageFilter {
 public:
  void add(u64 number) { words_[hash(number) >> 6] |= u64{1} << (hash(number) & 63); }
  bool may_contain(u64 number) const { return (words_[hash(number) >> 6] >> (hash(number) & 63) & 1) != 0; }
  void clear() { words_.fill(0); }

 private:
  // Fibonacci hashing: the top 12 bits of a product with 2^64 / golden ratio spread neighbours and strides
  // alike.
  static constexpr u64 hash(u64 number) { return number * 0x9e3779b97f4a7c15 >> 52; }

  std::array<u64, 64> words_{};
};

}  // namespace vellum
