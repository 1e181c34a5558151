#include "io/net/packet.hpp"

#include "io/net/frame.hpp"

namespace vellum::net {
namespace {

constexpr u16 kTypeIpv4 = 0x0800;
constexpr u16 kTypeIpv6 = 0x86dd;
constexpr u16 kTypeVlan = 0x8100;
constexpr u16 kTypeServiceVlan = 0x88a8;

std::optional<Packet> parse_ipv4(std::span<const u8> frame, std::size_t at) {
  if (frame.size() < at + 20) return std::nullopt;
  const u8* ip = &frame[at];
  const std::size_t header = std::size_t{ip[0] & 0xfu} * 4;
  if (ip[0] >> 4 != 4 || header < 20 || frame.size() < at + header) return std::nullopt;
  std::size_t length = load_be16(ip + 2);
  if (length == 0) length = frame.size() - at;
  if (length < header || length > frame.size() - at) return std::nullopt;
  Packet packet;
  packet.fragment = (load_be16(ip + 6) & 0x3fff) != 0;  // more fragments, or an offset
  packet.protocol = ip[9];
  packet.network = at;
  packet.transport = at + header;
  packet.end = at + length;
  return packet;
}

std::optional<Packet> parse_ipv6(std::span<const u8> frame, std::size_t at) {
  if (frame.size() < at + 40) return std::nullopt;
  const u8* ip = &frame[at];
  if (ip[0] >> 4 != 6) return std::nullopt;
  std::size_t length = load_be16(ip + 4);
  if (length == 0) length = frame.size() - at - 40;
  if (length > frame.size() - at - 40) return std::nullopt;
  Packet packet;
  packet.ipv6 = true;
  packet.network = at;
  packet.end = at + 40 + length;
  packet.protocol = ip[6];
  packet.transport = at + 40;
  for (;;) {  // extension headers (RFC 8200 §4); each moves on by 8 bytes at least
    std::size_t size = 0;
    const auto left = packet.end - packet.transport;
    switch (packet.protocol) {
      case 0:   // hop by hop
      case 43:  // routing
      case 60:  // destination options
        if (left < 8) return std::nullopt;
        size = 8 + std::size_t{frame[packet.transport + 1]} * 8;
        break;
      case 44:  // fragment
        if (left < 8) return std::nullopt;
        packet.fragment = true;
        size = 8;
        break;
      default:
        return packet;
    }
    if (size > left) return std::nullopt;
    packet.protocol = frame[packet.transport];
    packet.transport += size;
  }
}

}  // namespace

std::optional<Packet> parse_packet(std::span<const u8> frame) {
  std::size_t type_at = 12;
  for (int tags = 0; tags < 3; ++tags, type_at += 4) {
    if (frame.size() < type_at + 2) return std::nullopt;
    const u16 type = load_be16(&frame[type_at]);
    if (type == kTypeIpv4) return parse_ipv4(frame, type_at + 2);
    if (type == kTypeIpv6) return parse_ipv6(frame, type_at + 2);
    if (type != kTypeVlan && type != kTypeServiceVlan) return std::nullopt;
  }
  return std::nullopt;
}

ChecksumSum pseudo_header(std::span<const u8> frame, const Packet& packet, u32 length) {
  ChecksumSum sum;
  if (packet.ipv6)
    sum.add(frame.subspan(packet.network + 8, 32));
  else
    sum.add(frame.subspan(packet.network + 12, 8));
  sum.add_u16(packet.protocol);
  sum.add_u32(length);
  return sum;
}

void write_ipv4_checksum(std::span<u8> frame, const Packet& packet) {
  u8* field = &frame[packet.network + 10];
  store_be16(field, 0);
  ChecksumSum sum;
  sum.add(frame.subspan(packet.network, packet.transport - packet.network));
  store_be16(field, sum.checksum());
}

bool ipv4_checksum_right(std::span<const u8> frame, const Packet& packet) {
  ChecksumSum sum;
  sum.add(frame.subspan(packet.network, packet.transport - packet.network));
  return sum.checksum() == 0;
}

std::optional<bool> transport_checksum_right(std::span<const u8> frame, const Packet& packet) {
  const auto offset = packet.checksum_offset();
  const std::size_t length = packet.end - packet.transport;
  if (!offset || packet.fragment || length < *offset + 2) return std::nullopt;
  // A UDP datagram over IPv4 may come without one.
  if (packet.protocol == kProtocolUdp && load_be16(&frame[packet.transport + *offset]) == 0)
    return std::nullopt;
  ChecksumSum sum = pseudo_header(frame, packet, static_cast<u32>(length));
  sum.add(frame.subspan(packet.transport, length));
  return sum.checksum() == 0;
}

}  // namespace vellum::net
