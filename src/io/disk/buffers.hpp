// Lists of host buffers (iovec) as one run of bytes.
#pragma once

#include <sys/uio.h>

#include <span>
#include <vector>

#include "base/int.hpp"

namespace vellum {

using Buffers = std::vector<iovec>;

u64 total_length(std::span<const iovec> buffers);
/// The part of `length` bytes from `offset` on, which lies within. Appends to `out`.
void append_slice(Buffers& out, std::span<const iovec> buffers, u64 offset, u64 length);
Buffers slice_buffers(std::span<const iovec> buffers, u64 offset, u64 length);
void fill_zero(std::span<const iovec> buffers);
/// Both have the same length or more than `bytes`.
void copy_to(std::span<const iovec> buffers, std::span<const u8> bytes);
void copy_from(std::span<u8> bytes, std::span<const iovec> buffers);

inline iovec buffer_of(std::span<u8> bytes) {
  return {bytes.data(), bytes.size()};
}
/// For writing from: nobody writes through it.
inline iovec buffer_of(std::span<const u8> bytes) {
  return {const_cast<u8*>(bytes.data()), bytes.size()};
}

/// Appends `length` zero bytes to read from; they are one page, many times.
void append_zeroes(Buffers& out, u64 length);

}  // namespace vellum
