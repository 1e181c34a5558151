// The fuzzer's bytes as a stream of choices. At its end it goes on with zeros, so every input is a valid one.
#pragma once

#include <algorithm>
#include <cstring>
#include <span>

#include "base/int.hpp"

namespace vellum::fuzz {

class Input {
 public:
  Input(const u8* data, std::size_t size) : rest_(data, size) {}

  bool empty() const { return rest_.empty(); }
  std::span<const u8> rest() const { return rest_; }

  template <class T>
  T take() {
    T value{};
    const std::size_t count = std::min(sizeof(T), rest_.size());
    if (count != 0) std::memcpy(&value, rest_.data(), count);
    rest_ = rest_.subspan(count);
    return value;
  }
  std::span<const u8> take_bytes(std::size_t size) {
    const auto bytes = rest_.first(std::min(size, rest_.size()));
    rest_ = rest_.subspan(bytes.size());
    return bytes;
  }
  /// A number below `limit`, which is at most 256.
  unsigned below(unsigned limit) { return take<u8>() % limit; }

 private:
  std::span<const u8> rest_;
};

/// Numbers that follow from a seed (SplitMix64): for what fills memory, where fuzzed bytes would be wasted.
class Noise {
 public:
  explicit Noise(u64 seed) : state_(seed) {}
  u64 next() {
    u64 z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  u64 below(u64 limit) { return next() % limit; }

 private:
  u64 state_;
};

}  // namespace vellum::fuzz
