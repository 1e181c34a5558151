// The Internet checksum (RFC 1071): the ones' complement sum of 16-bit words in network order.
#pragma once

#include <span>

#include "base/byte_order.hpp"

namespace vellum::net {

/// A sum under way: of any number of parts, each but the last of an even number of bytes.
class ChecksumSum {
 public:
  void add(std::span<const u8> bytes);
  void add_u16(u16 host_order) { add_word(host_order); }
  void add_u32(u32 host_order) {
    add_word(host_order >> 16);
    add_word(host_order & 0xffff);
  }
  /// The sum, folded to 16 bits, in host order.
  u16 folded() const;
  /// Its complement: what a header's field holds.
  u16 checksum() const { return static_cast<u16>(~folded()); }

 private:
  void add_word(u64 word) { sum_ += word; }
  u64 sum_ = 0;
};

}  // namespace vellum::net
