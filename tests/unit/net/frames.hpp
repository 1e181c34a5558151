// Frames for tests.
#pragma once

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "io/net/mac_address.hpp"
#include "io/net/network.hpp"
#include "io/net/packet.hpp"

namespace vellum::net {

using Bytes = std::vector<u8>;

/// Keeps what it is given.
class RecordingReceiver : public FrameReceiver {
 public:
  struct Got {
    FrameOffload offload;
    Bytes bytes;
  };
  Offloads understands() const override { return offloads; }
  bool has_room() const override { return room > 0; }

  Offloads offloads = Offloads::kNone;
  int room = 1 << 20;
  std::vector<Got> got;

 protected:
  void take(const Frame& frame) override {
    --room;
    Bytes bytes(frame_size(frame.pieces));
    gather(frame.pieces, bytes);
    got.push_back({frame.offload, std::move(bytes)});
  }
};

inline Bytes ethernet(const MacAddress& to, const MacAddress& from, u16 type, std::size_t payload = 46) {
  Bytes frame(to.begin(), to.end());
  frame.insert(frame.end(), from.begin(), from.end());
  frame.push_back(static_cast<u8>(type >> 8));
  frame.push_back(static_cast<u8>(type));
  frame.resize(frame.size() + payload);
  return frame;
}

/// TCP over IPv4 from 10.0.2.15:4096 to 10.0.2.2:80, `payload` bytes counting up; the checksum field holds
/// the pseudo header's sum.
inline Bytes tcp4(std::size_t payload, u8 flags) {
  Bytes frame = ethernet({2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}, 0x0800, 40 + payload);
  u8* ip = &frame[14];
  ip[0] = 0x45;
  store_be16(ip + 2, static_cast<u16>(40 + payload));
  store_be16(ip + 4, 0xfffe);  // the segments' ids run over
  ip[8] = 64;
  ip[9] = kProtocolTcp;
  store_be32(ip + 12, 0x0a00020f);
  store_be32(ip + 16, 0x0a000202);
  u8* tcp = ip + 20;
  store_be16(tcp, 4096);
  store_be16(tcp + 2, 80);
  store_be32(tcp + 4, 0xfffffff0);  // and so does the sequence number
  tcp[12] = 0x50;
  tcp[13] = flags;
  std::iota(frame.begin() + 54, frame.end(), u8{0});
  const auto packet = parse_packet(frame);
  write_ipv4_checksum(frame, *packet);
  store_be16(tcp + 16, pseudo_header(frame, *packet, static_cast<u32>(20 + payload)).folded());
  return frame;
}

inline Bytes tcp6(std::size_t payload) {
  Bytes frame = ethernet({2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}, 0x86dd, 60 + payload);
  u8* ip = &frame[14];
  ip[0] = 0x60;
  store_be16(ip + 4, static_cast<u16>(20 + payload));
  ip[6] = kProtocolTcp;
  ip[23] = 1;
  ip[39] = 2;
  u8* tcp = ip + 40;
  tcp[12] = 0x50;
  std::iota(frame.begin() + 74, frame.end(), u8{0});
  const auto packet = parse_packet(frame);
  store_be16(tcp + 16, pseudo_header(frame, *packet, static_cast<u32>(20 + payload)).folded());
  return frame;
}

inline FrameOffload tcp4_checksum() {
  FrameOffload offload;
  offload.needs_checksum = true;
  offload.checksum_start = 34;
  offload.checksum_offset = 16;
  return offload;
}

inline FrameOffload tcp4_gso(u16 size) {
  FrameOffload offload = tcp4_checksum();
  offload.gso = Gso::kTcp4;
  offload.gso_size = size;
  return offload;
}

inline FrameOffload tcp6_gso(u16 size) {
  FrameOffload offload = tcp4_gso(size);
  offload.gso = Gso::kTcp6;
  offload.checksum_start = 54;
  return offload;
}

}  // namespace vellum::net
