// Where a frame's headers are: Ethernet with up to two VLAN tags, IPv4 or IPv6 with extension headers, TCP or
// UDP. For frames that the reader owns (not guest RAM, which may change).
#pragma once

#include <optional>
#include <span>

#include "io/net/checksum.hpp"

namespace vellum::net {

inline constexpr u8 kProtocolTcp = 6;
inline constexpr u8 kProtocolUdp = 17;

struct Packet {
  bool ipv6 = false;
  bool fragment = false;    ///< a part of a datagram: has no complete TCP or UDP
  u8 protocol = 0;          ///< of what stands at `transport`
  std::size_t network = 0;  ///< where the IP header begins
  std::size_t transport = 0;
  std::size_t end = 0;  ///< behind the IP packet's last byte; what follows is padding

  /// TCP's or UDP's checksum field's place behind `transport`.
  std::optional<std::size_t> checksum_offset() const {
    if (protocol == kProtocolTcp) return 16;
    if (protocol == kProtocolUdp) return 6;
    return std::nullopt;
  }
};

/// Finds the headers; nothing if this is not IP or is cut short. A length of 0 in the IP header stands for
/// "to the frame's end" (frames to be cut into segments may have it). Every offset is within the frame.
std::optional<Packet> parse_packet(std::span<const u8> frame);

/// The sum of the pseudo header for `length` bytes of TCP or UDP.
ChecksumSum pseudo_header(std::span<const u8> frame, const Packet& packet, u32 length);

/// Computes the IPv4 header's checksum anew.
void write_ipv4_checksum(std::span<u8> frame, const Packet& packet);
bool ipv4_checksum_right(std::span<const u8> frame, const Packet& packet);
/// Whether TCP's or UDP's checksum is right; nothing if the packet has none that can be judged.
std::optional<bool> transport_checksum_right(std::span<const u8> frame, const Packet& packet);

}  // namespace vellum::net
