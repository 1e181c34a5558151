#include "devices/e1000/offload.hpp"

#include "devices/e1000/registers.hpp"
#include "io/net/packet.hpp"

namespace vellum::e1000 {
namespace {

constexpr std::size_t kIpLength = 2, kIpId = 4, kIpSum = 10, kIpv6Length = 4, kIpv6Header = 40;
constexpr std::size_t kTcpSequence = 4, kTcpDataOffset = 12, kTcpFlags = 13, kTcpSum = 16, kUdpLength = 4;
constexpr u8 kFin = 0x01, kPush = 0x08, kCongestion = 0x80;
constexpr std::size_t kMaxIp = 65535;

/// The sum that stands at `at`, and `number` more.
u16 added(std::span<const u8> packet, std::size_t at, std::size_t number) {
  net::ChecksumSum sum;
  sum.add_u16(load_be16(&packet[at]));
  sum.add_u32(static_cast<u32>(number));
  return sum.folded();
}

// Ones' complement has two zeros.
bool same_sum(u16 a, u16 b) {
  return a % 0xffff == b % 0xffff;
}

}  // namespace

void insert_sum(std::span<u8> packet, std::size_t start, std::size_t at, std::size_t end) {
  const std::size_t stop = end == 0 || end >= packet.size() ? packet.size() : end + 1;
  if (start >= stop || at + 2 > packet.size()) return;
  net::ChecksumSum sum;
  sum.add(packet.subspan(start, stop - start));
  const u16 value = sum.checksum();
  // All ones is the same number, and in UDP 0 means that there is no sum.
  store_be16(&packet[at], value != 0 ? value : 0xffff);
}

std::optional<net::FrameOffload> sum_as_offload(std::size_t size, const Context& context) {
  net::FrameOffload offload;
  offload.needs_checksum = true;
  offload.checksum_start = context.transport_start;
  if (context.transport_sum < context.transport_start) return std::nullopt;
  offload.checksum_offset = static_cast<u16>(context.transport_sum - context.transport_start);
  const bool to_the_end = context.transport_end == 0 || context.transport_end + std::size_t{1} >= size;
  if (!to_the_end || !net::fits(offload, size)) return std::nullopt;
  return offload;
}

std::optional<net::FrameOffload> segmentation_as_offload(std::span<u8> packet, const Context& context,
                                                         u8 options) {
  const std::size_t network = context.ip_start, transport = context.transport_start;
  if (!context.tcp || network < net::kEthernetHeader || network + 20 > packet.size() ||
      packet.size() - network > kMaxIp)
    return std::nullopt;
  // The card writes the lengths; what the guest left there counts for nothing.
  u8* const ip = &packet[network];
  const std::size_t length_at = context.ipv4 ? kIpLength : kIpv6Length;
  const u16 length_before = load_be16(ip + length_at);
  if (!context.ipv4 && packet.size() - network < kIpv6Header) return std::nullopt;
  store_be16(ip + length_at, static_cast<u16>(packet.size() - network - (context.ipv4 ? 0 : kIpv6Header)));
  const auto parsed = net::parse_packet(packet);
  const auto is_plain = [&] {
    if (!parsed || parsed->fragment || parsed->protocol != net::kProtocolTcp || parsed->network != network ||
        parsed->ipv6 == context.ipv4 || parsed->transport != transport || packet.size() - transport < 20)
      return false;
    const std::size_t header = std::size_t{packet[transport + kTcpDataOffset]} / 16 * 4;
    if (header < 20 || transport + header != context.header || context.header >= packet.size()) return false;
    // CWR belongs into each piece here, and elsewhere into the first only.
    if ((packet[transport + kTcpFlags] & kCongestion) != 0) return false;
    if ((options & kInsertTransport) == 0 || context.transport_end != 0 ||
        context.transport_sum != transport + kTcpSum)
      return false;
    if (!same_sum(load_be16(&packet[transport + kTcpSum]), net::pseudo_header(packet, *parsed, 0).folded()))
      return false;
    return !context.ipv4 || ((options & kInsertIp) != 0 && context.ip_sum == network + kIpSum &&
                             context.ip_end + std::size_t{1} == transport && load_be16(ip + kIpSum) == 0);
  };
  if (!is_plain()) {
    store_be16(ip + length_at, length_before);
    return std::nullopt;
  }
  if (context.ipv4) net::write_ipv4_checksum(packet, *parsed);
  u8* const sum = &packet[transport + kTcpSum];
  store_be16(sum, net::pseudo_header(packet, *parsed, static_cast<u32>(packet.size() - transport)).folded());
  net::FrameOffload offload;
  offload.needs_checksum = true;
  offload.checksum_start = static_cast<u16>(transport);
  offload.checksum_offset = kTcpSum;
  if (packet.size() - context.header > context.mss) {
    offload.gso = context.ipv4 ? net::Gso::kTcp4 : net::Gso::kTcp6;
    offload.gso_size = context.mss;
  }
  return offload;
}

void finish_segment(std::span<u8> piece, const Context& context, u8 options, bool last) {
  const std::size_t size = piece.size(), network = context.ip_start, transport = context.transport_start;
  const std::size_t header = context.header;
  if (context.ipv4 && network + kIpLength + 2 <= header)
    store_be16(&piece[network + kIpLength], static_cast<u16>(size - network));
  if (!context.ipv4 && network + kIpv6Header <= header)
    store_be16(&piece[network + kIpv6Length], static_cast<u16>(size - network - kIpv6Header));
  if (context.tcp && !last && transport + kTcpFlags < header)
    piece[transport + kTcpFlags] &= static_cast<u8>(~(kFin | kPush));
  if (!context.tcp && transport + kUdpLength + 2 <= header)
    store_be16(&piece[transport + kUdpLength], static_cast<u16>(size - transport));
  if ((options & kInsertIp) != 0) insert_sum(piece, network, context.ip_sum, context.ip_end);
  if ((options & kInsertTransport) == 0) return;
  // The pseudo header's sum is there without the length, which differs.
  const std::size_t at = context.transport_sum;
  if (at + 2 > size || transport > size) return;
  store_be16(&piece[at], added(piece, at, size - transport));
  insert_sum(piece, transport, at, context.transport_end);
}

void advance_headers(std::span<u8> headers, const Context& context, std::size_t payload) {
  const std::size_t id = context.ip_start + kIpId, sequence = context.transport_start + kTcpSequence;
  if (context.ipv4 && id + 2 <= headers.size())
    store_be16(&headers[id], static_cast<u16>(load_be16(&headers[id]) + 1));
  if (context.tcp && sequence + 4 <= headers.size())
    store_be32(&headers[sequence], static_cast<u32>(load_be32(&headers[sequence]) + payload));
}

}  // namespace vellum::e1000
