#include "io/net/flow.hpp"

#include <array>

#include "io/net/packet.hpp"

namespace vellum::net {
namespace {

constexpr std::size_t kIpv4Header = 20, kIpv6Header = 40;

}  // namespace

u8 flow_of(std::span<const iovec> pieces) {
  std::array<u8, 128> room;
  const std::span<const u8> head = copy_head(pieces, room);
  if (head.size() < kEthernetHeader + kIpv4Header) return 0;
  const u16 type = load_be16(&head[12]);
  const u8* const ip = head.data() + kEthernetHeader;
  std::size_t transport;
  u8 protocol;
  u32 hash = 0;
  if (type == 0x0800) {
    transport = kEthernetHeader + (ip[0] & 15u) * 4;
    protocol = ip[9];
    hash = load_be32(ip + 12) ^ load_be32(ip + 16);
  } else if (type == 0x86dd && head.size() >= kEthernetHeader + kIpv6Header) {
    transport = kEthernetHeader + kIpv6Header;
    protocol = ip[6];
    for (std::size_t i = 8; i < kIpv6Header; i += 4) hash ^= load_be32(ip + i);
  } else {
    return 0;
  }
  const bool has_ports = protocol == kProtocolTcp || protocol == kProtocolUdp;
  if (has_ports && transport + 4 <= head.size())
    hash ^= u32{load_be16(&head[transport])} ^ load_be16(&head[transport + 2]);
  hash *= 0x9e3779b1u;
  return static_cast<u8>(hash >> 24);
}

}  // namespace vellum::net
