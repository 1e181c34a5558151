#include "io/net/checksum.hpp"

#include <bit>
#include <cstring>

namespace vellum::net {

void ChecksumSum::add(std::span<const u8> bytes) {
  // The sum is the same in either byte order but for a swap at the end (RFC 1071 §2 (B)), and so are sums of
  // wider words once folded (§2 (C)): 32-bit host words into a 64-bit sum, which 16 GiB can't overflow.
  u64 sum = 0;
  const u8* p = bytes.data();
  std::size_t left = bytes.size();
  for (; left >= 16; left -= 16, p += 16) {
    u64 a = 0, b = 0;
    std::memcpy(&a, p, 8);
    std::memcpy(&b, p + 8, 8);
    sum += (a & 0xffffffff) + (a >> 32) + (b & 0xffffffff) + (b >> 32);
  }
  for (; left >= 2; left -= 2, p += 2) {
    u16 word = 0;
    std::memcpy(&word, p, 2);
    sum += word;
  }
  if (left != 0) sum += *p;  // the low byte of a little-endian word: padded with a zero behind it
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  static_assert(std::endian::native == std::endian::little);
  add_word(((sum & 0xff) << 8) | (sum >> 8));
}

u16 ChecksumSum::folded() const {
  u64 sum = sum_;
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<u16>(sum);
}

}  // namespace vellum::net
