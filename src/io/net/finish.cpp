#include "io/net/finish.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "io/net/packet.hpp"

namespace vellum::net {
namespace {

constexpr u8 kTcpFin = 0x01;
constexpr u8 kTcpPsh = 0x08;
constexpr u8 kTcpCwr = 0x80;
constexpr std::size_t kTcpHeader = 20;

// What a segment's headers hold: link, IP and TCP with all their options.
constexpr std::size_t kMaxHeaders = 1024;
// A segment of 36 bytes of payload is less than any TCP sends on its own; smaller ones are an attempt to keep
// us busy.
constexpr std::size_t kMaxSegments = 2048;

}  // namespace

void finish_checksum(std::span<u8> frame, const FrameOffload& offload) {
  ChecksumSum sum;
  sum.add(frame.subspan(offload.checksum_start));
  // Zero means "none" in UDP, and the same number as all ones everywhere.
  const u16 checksum = sum.checksum() != 0 ? sum.checksum() : 0xffff;
  store_be16(&frame[std::size_t{offload.checksum_start} + offload.checksum_offset], checksum);
}

bool segment(std::span<const u8> frame, const FrameOffload& offload,
             const std::function<void(std::span<const u8>)>& emit) {
  const auto packet = parse_packet(frame);
  if (!packet || packet->protocol != kProtocolTcp || packet->fragment) return false;
  if (packet->ipv6 != (offload.gso == Gso::kTcp6) || packet->transport != offload.checksum_start)
    return false;
  if (packet->end - packet->transport < kTcpHeader || offload.checksum_offset != 16) return false;
  const std::size_t tcp_header = std::size_t{frame[packet->transport + 12]} / 16 * 4;
  const std::size_t headers = packet->transport + tcp_header;
  if (tcp_header < kTcpHeader || headers > packet->end || headers > kMaxHeaders) return false;

  const std::span<const u8> payload = frame.subspan(headers, packet->end - headers);
  if (payload.size() > kMaxSegments * offload.gso_size) return false;
  std::array<u8, kMaxHeaders + 65535> piece;
  const u32 sequence = load_be32(&frame[packet->transport + 4]);
  const u16 id = load_be16(&frame[packet->network + 4]);
  const u8 flags = frame[packet->transport + 13];
  std::size_t at = 0;
  u16 count = 0;
  do {  // once at least: an acknowledgement alone may come marked so
    const std::size_t size = std::min<std::size_t>(offload.gso_size, payload.size() - at);
    const bool last = at + size == payload.size();
    const std::span<u8> out(piece.data(), headers + size);
    std::memcpy(out.data(), frame.data(), headers);
    std::memcpy(out.data() + headers, payload.data() + at, size);

    Packet part = *packet;
    part.end = out.size();
    if (part.ipv6) {
      store_be16(&out[part.network + 4], static_cast<u16>(out.size() - part.network - 40));
    } else {
      store_be16(&out[part.network + 2], static_cast<u16>(out.size() - part.network));
      store_be16(&out[part.network + 4], static_cast<u16>(id + count));
      write_ipv4_checksum(out, part);
    }
    u8* tcp = &out[part.transport];
    store_be32(tcp + 4, static_cast<u32>(sequence + at));
    u8 own = flags;
    if (!last) own &= static_cast<u8>(~(kTcpFin | kTcpPsh));
    if (count != 0) own &= static_cast<u8>(~kTcpCwr);
    tcp[13] = own;
    store_be16(tcp + 16, 0);
    ChecksumSum sum = pseudo_header(out, part, static_cast<u32>(out.size() - part.transport));
    sum.add(out.subspan(part.transport));
    store_be16(tcp + 16, sum.checksum());
    emit(out);
    at += size;
    ++count;
  } while (at < payload.size());
  return true;
}

}  // namespace vellum::net
