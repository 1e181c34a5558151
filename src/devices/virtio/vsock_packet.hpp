// Packets of virtio-vsock (virtio 1.2 §5.10.6): a header, little-endian, and what a stream carries.
#pragma once

#include <array>
#include <cstring>

#include "base/int.hpp"

namespace vellum::virtio {

/// The host's context identifier.
inline constexpr u64 kHostCid = 2;
inline constexpr u16 kStreamType = 1;

enum class VsockOp : u16 {
  kRequest = 1,
  kResponse = 2,
  kReset = 3,
  kShutdown = 4,
  kData = 5,
  kCreditUpdate = 6,
  kCreditRequest = 7
};
/// Of a kShutdown: what its sender will do no more.
inline constexpr u32 kWillNotReceive = 1, kWillNotSend = 2;

struct VsockHeader {
  static constexpr u64 kSize = 44;
  u64 source_cid = 0, target_cid = 0;
  u32 source_port = 0, target_port = 0;
  u32 length = 0;
  u16 type = kStreamType;
  u16 op = 0;
  u32 flags = 0;
  u32 buffer = 0;     ///< what the sender has room for, in all
  u32 forwarded = 0;  ///< how much of what it got has left that room

  /// Calls f(offset, field) for each.
  template <class Header, class F>
  static void for_each(Header& h, F f) {
    f(0, h.source_cid), f(8, h.target_cid), f(16, h.source_port), f(20, h.target_port), f(24, h.length);
    f(28, h.type), f(30, h.op), f(32, h.flags), f(36, h.buffer), f(40, h.forwarded);
  }
  // The host is x86: little-endian, too.
  static VsockHeader decode(const std::array<u8, kSize>& bytes) {
    VsockHeader header;
    for_each(header,
             [&](std::size_t at, auto& field) { std::memcpy(&field, bytes.data() + at, sizeof field); });
    return header;
  }
  std::array<u8, kSize> encode() const {
    std::array<u8, kSize> bytes{};
    for_each(*this, [&](std::size_t at, const auto& field) {
      std::memcpy(bytes.data() + at, &field, sizeof field);
    });
    return bytes;
  }
};

}  // namespace vellum::virtio
