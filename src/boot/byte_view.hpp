// Reading fixed structures out of untrusted bytes. Every offset is checked here, once.
#pragma once

#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>

#include "base/int.hpp"

namespace vellum {

/// The `size` bytes at `offset`, or nothing when they don't lie within `bytes`. Any 64-bit values are safe.
inline std::optional<std::span<const u8>> slice(std::span<const u8> bytes, u64 offset, u64 size) {
  if (offset > bytes.size() || size > bytes.size() - offset) return std::nullopt;
  return bytes.subspan(offset, size);
}

/// A copy of the T at `offset`, at any alignment; this host is little-endian, as all formats read with it
/// are.
template <class T>
std::optional<T> read_at(std::span<const u8> bytes, u64 offset) {
  static_assert(std::is_trivially_copyable_v<T>);
  const auto part = slice(bytes, offset, sizeof(T));
  if (!part) return std::nullopt;
  T value;
  std::memcpy(&value, part->data(), sizeof(T));
  return value;
}

inline bool starts_with(std::span<const u8> bytes, std::initializer_list<u8> magic) {
  return bytes.size() >= magic.size() && std::memcmp(bytes.data(), magic.begin(), magic.size()) == 0;
}

/// The bytes of a plain structure, to be written to guest memory.
template <class T>
std::span<const u8> bytes_of(const T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  // SAFETY: any object may be viewed as bytes; the span lives no longer than `value`.
  return {reinterpret_cast<const u8*>(&value), sizeof(T)};
}
inline std::span<const u8> bytes_of(std::string_view text) {
  return {reinterpret_cast<const u8*>(text.data()), text.size()};
}

}  // namespace vellum
