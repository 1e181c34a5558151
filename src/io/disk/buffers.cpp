#include "io/disk/buffers.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace vellum {
namespace {

alignas(4096) constexpr std::array<u8, 65536> kZeroes{};

}  // namespace

u64 total_length(std::span<const iovec> buffers) {
  u64 sum = 0;
  for (const iovec& buffer : buffers) sum += buffer.iov_len;
  return sum;
}

void append_slice(Buffers& out, std::span<const iovec> buffers, u64 offset, u64 length) {
  for (const iovec& buffer : buffers) {
    if (length == 0) return;
    if (offset >= buffer.iov_len) {
      offset -= buffer.iov_len;
      continue;
    }
    const u64 part = std::min<u64>(buffer.iov_len - offset, length);
    out.push_back({static_cast<u8*>(buffer.iov_base) + offset, part});
    offset = 0;
    length -= part;
  }
}

Buffers slice_buffers(std::span<const iovec> buffers, u64 offset, u64 length) {
  Buffers out;
  out.reserve(buffers.size());
  append_slice(out, buffers, offset, length);
  return out;
}

void fill_zero(std::span<const iovec> buffers) {
  for (const iovec& buffer : buffers) std::memset(buffer.iov_base, 0, buffer.iov_len);
}

void copy_to(std::span<const iovec> buffers, std::span<const u8> bytes) {
  for (const iovec& buffer : buffers) {
    const std::size_t part = std::min(buffer.iov_len, bytes.size());
    if (part != 0) std::memcpy(buffer.iov_base, bytes.data(), part);
    bytes = bytes.subspan(part);
  }
}

void copy_from(std::span<u8> bytes, std::span<const iovec> buffers) {
  for (const iovec& buffer : buffers) {
    const std::size_t part = std::min(buffer.iov_len, bytes.size());
    if (part != 0) std::memcpy(bytes.data(), buffer.iov_base, part);
    bytes = bytes.subspan(part);
  }
}

void append_zeroes(Buffers& out, u64 length) {
  while (length > 0) {
    const u64 part = std::min<u64>(length, kZeroes.size());
    out.push_back(buffer_of(std::span<const u8>(kZeroes).first(part)));
    length -= part;
  }
}

}  // namespace vellum
