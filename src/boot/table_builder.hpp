// Building little-endian firmware tables field by field.
#pragma once

#include <numeric>
#include <span>
#include <string_view>
#include <vector>

#include "base/assert.hpp"
#include "base/int.hpp"

namespace vellum {

/// What must be stored in a checksum field that holds 0 so far, to make the bytes' sum 0.
inline u8 checksum_of(std::span<const u8> bytes) {
  return static_cast<u8>(0 - std::accumulate(bytes.begin(), bytes.end(), 0u));
}

class TableBuilder {
 public:
  template <class T>
  void put(T value) {
    auto raw = static_cast<u64>(value);
    for (std::size_t i = 0; i < sizeof(T); ++i, raw >>= 8) bytes_.push_back(static_cast<u8>(raw));
  }
  /// Text padded with blanks or zeroes, or cut, to `size`.
  void text(std::string_view value, std::size_t size, char padding = ' ') {
    for (std::size_t i = 0; i < size; ++i)
      bytes_.push_back(static_cast<u8>(i < value.size() ? value[i] : padding));
  }
  void append(std::span<const u8> bytes) { bytes_.insert(bytes_.end(), bytes.begin(), bytes.end()); }
  void align(std::size_t alignment) {
    bytes_.resize((bytes_.size() + alignment - 1) / alignment * alignment);
  }
  void pad_to(std::size_t size) {
    VELLUM_ASSERT(size >= bytes_.size(), "{} bytes are past {}", bytes_.size(), size);
    bytes_.resize(size);
  }

  /// Overwrites a field already there.
  template <class T>
  void patch(std::size_t offset, T value) {
    VELLUM_ASSERT(offset + sizeof(T) <= bytes_.size(), "field at {} of {}", offset, bytes_.size());
    auto raw = static_cast<u64>(value);
    for (std::size_t i = 0; i < sizeof(T); ++i, raw >>= 8) bytes_[offset + i] = static_cast<u8>(raw);
  }

  std::size_t size() const { return bytes_.size(); }
  std::span<const u8> bytes() const { return bytes_; }
  std::vector<u8> take() { return std::move(bytes_); }

 private:
  std::vector<u8> bytes_;
};

}  // namespace vellum
