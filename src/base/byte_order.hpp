// Big-endian numbers, as network protocols and qcow2 have them, in bytes at any alignment.
#pragma once

#include <cstring>

#include "base/int.hpp"

namespace vellum {

inline u16 load_be16(const void* at) {
  u16 value;
  std::memcpy(&value, at, sizeof value);
  return __builtin_bswap16(value);
}
inline u32 load_be32(const void* at) {
  u32 value;
  std::memcpy(&value, at, sizeof value);
  return __builtin_bswap32(value);
}
inline u64 load_be64(const void* at) {
  u64 value;
  std::memcpy(&value, at, sizeof value);
  return __builtin_bswap64(value);
}
inline void store_be16(void* at, u16 value) {
  value = __builtin_bswap16(value);
  std::memcpy(at, &value, sizeof value);
}
inline void store_be32(void* at, u32 value) {
  value = __builtin_bswap32(value);
  std::memcpy(at, &value, sizeof value);
}
inline void store_be64(void* at, u64 value) {
  value = __builtin_bswap64(value);
  std::memcpy(at, &value, sizeof value);
}

}  // namespace vellum
