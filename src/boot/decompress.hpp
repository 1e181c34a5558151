// Unpacks a kernel's payload on the host, in every format that Linux's build offers (CONFIG_KERNEL_*). The
// input is untrusted: output is bounded, and a damaged stream is an error, never a crash.
#pragma once

#include <span>
#include <string_view>

#include "base/fd.hpp"
#include "base/result.hpp"

namespace vellum {

enum class Compression { kUnknown, kGzip, kBzip2, kLzma, kXz, kLzo, kLz4, kZstd };

/// By the magic number at the start.
Compression detect_compression(std::span<const u8> bytes);
std::string_view compression_name(Compression compression);

/// Unpacked bytes, in memory that the host commits only as it is filled.
class Unpacked {
 public:
  Unpacked(Mapping mapping, u64 size) : mapping_(std::move(mapping)), size_(size) {}
  std::span<const u8> bytes() const { return mapping_.span().first(size_); }

 private:
  Mapping mapping_;
  u64 size_;
};

/// Unpacks one stream; what follows it (Linux's build appends the size, 4 bytes) is not looked at. Fails with
/// kBadInput when the data is damaged or truncated or unpacks to more than `limit` bytes (> 0).
Result<Unpacked> decompress(std::span<const u8> bytes, u64 limit);

namespace detail {
/// One format each: fills `out` from the start and returns how much of it.
Result<u64> unpack_lz4_legacy(std::span<const u8> in, std::span<u8> out);
Result<u64> unpack_lzop(std::span<const u8> in, std::span<u8> out);
}  // namespace detail

}  // namespace vellum
