#include "devices/e1000/transmitter.hpp"

#include <zlib.h>

#include <algorithm>
#include <cstring>

#include "base/bits.hpp"

namespace vellum::e1000 {
namespace {

constexpr std::size_t kTagAt = 12;

/// Padding, then the tag.
void complete(Outgoing& frame, bool tag, u16 special, const TxSettings& settings) {
  const bool whole = frame.offload.gso == net::Gso::kNone;
  if (settings.pad && whole && frame.bytes.size() < kMinWireFrame) frame.bytes.resize(kMinWireFrame);
  if (!tag) return;
  const u8 bytes[kVlanTagSize] = {static_cast<u8>(settings.ether_type >> 8),
                                  static_cast<u8>(settings.ether_type), static_cast<u8>(special >> 8),
                                  static_cast<u8>(special)};
  frame.bytes.insert(frame.bytes.begin() + kTagAt, std::begin(bytes), std::end(bytes));
  if (frame.offload.needs_checksum) frame.offload.checksum_start += kVlanTagSize;
}

bool fcs_right(std::span<const u8> packet) {
  const std::size_t size = packet.size() - kFcsSize;
  u32 there = 0;
  std::memcpy(&there, &packet[size], sizeof there);
  return ::crc32(0, packet.data(), static_cast<uInt>(size)) == there;
}

}  // namespace

void Transmitter::reset() {
  s_ = {};
}

void Transmitter::restore(State state) {
  s_ = std::move(state);
  if (s_.packet.size() <= (s_.segmented ? kMaxCollected : kMaxPacket)) return;
  s_.packet.clear();
  s_.bad = true;
}

void Transmitter::drop() {
  if (!s_.bad) ++counts_.malformed;
  s_.bad = true;
  s_.packet.clear();
}

void Transmitter::set_context(const TxDescriptor& d) {
  Context& context = s_.contexts[(d.command() & kSegmentation) != 0 ? 1 : 0];
  context.ip_start = static_cast<u8>(d.first);
  context.ip_sum = static_cast<u8>(d.first >> 8);
  context.ip_end = static_cast<u16>(d.first >> 16);
  context.transport_start = static_cast<u8>(d.first >> 32);
  context.transport_sum = static_cast<u8>(d.first >> 40);
  context.transport_end = static_cast<u16>(d.first >> 48);
  context.tcp = (d.command() & kContextTcp) != 0;
  context.ipv4 = (d.command() & kContextIpv4) != 0;
  context.header = static_cast<u8>(d.second >> 40);
  context.mss = static_cast<u16>(d.second >> 48);
}

void Transmitter::begin(const TxDescriptor& d) {
  s_.open = true;
  s_.segmented = d.is_data() && (d.command() & kSegmentation) != 0;
  s_.bad = false;
  s_.options = d.is_data() ? d.options() : u8{0};
  s_.command = d.command();
  s_.sum_start = d.extended() ? u8{0} : static_cast<u8>(bits(d.second, 47, 40));
  s_.sum_at = d.extended() ? u8{0} : static_cast<u8>(bits(d.second, 23, 16));
  s_.special = d.special();
  s_.pieces = 0;
  s_.packet.clear();
}

void Transmitter::take(const TxDescriptor& d, const DmaView& dma, const TxSettings& settings,
                       FrameList& ready) {
  if (d.is_context()) return set_context(d);
  if (d.extended() && !d.is_data()) return;  // no such type
  if (!s_.open) begin(d);
  append(d.first, d.length(), dma, settings, ready);
  if ((d.command() & kEndOfPacket) == 0) return;
  s_.open = false;
  if (s_.bad || s_.packet.empty()) {
    // Counted already, or nothing: a descriptor without data between packets.
  } else if (s_.packet.size() < net::kMinFrame) {
    drop();
  } else if (s_.segmented) {
    finish_segmented(settings, ready);
  } else {
    finish_plain(d, settings, ready);
  }
  s_.packet.clear();
}

// §3.3.3.1: null addresses and lengths of 0 transfer nothing.
void Transmitter::append(u64 address, u32 length, const DmaView& dma, const TxSettings& settings,
                         FrameList& ready) {
  if (address == 0) return;
  const std::size_t most = s_.segmented ? kMaxCollected : kMaxPacket;
  while (length != 0 && !s_.bad) {
    if (s_.packet.size() == most) {
      if (!s_.segmented) return drop();
      cut(false, settings, ready);
      if (s_.packet.size() == most) return drop();
    }
    const std::size_t before = s_.packet.size();
    const auto here = static_cast<u32>(std::min<std::size_t>(length, most - before));
    s_.packet.resize(before + here);
    if (!dma.read(GuestPhys(address), std::span(s_.packet).subspan(before))) return drop();
    address += here;
    length -= here;
  }
}

void Transmitter::finish_plain(const TxDescriptor& d, const TxSettings& settings, FrameList& ready) {
  std::vector<u8>& packet = s_.packet;
  const bool tag = settings.vlan && (d.command() & kVlanTag) != 0;
  // Software may bring the check sequence with it; a wrong one is noticed by whoever receives the frame.
  if (!tag && (d.command() & kInsertFcs) == 0) {
    if (packet.size() < net::kMinFrame + kFcsSize || !fcs_right(packet)) {
      ++counts_.bad_fcs;
      return;
    }
    packet.resize(packet.size() - kFcsSize);
  }
  std::optional<net::FrameOffload> offload;
  if (!d.extended() && (d.command() & kChecksum) != 0) insert_sum(packet, s_.sum_start, s_.sum_at, 0);
  const Context& context = s_.contexts[0];
  if ((s_.options & kInsertIp) != 0) insert_sum(packet, context.ip_start, context.ip_sum, context.ip_end);
  if ((s_.options & kInsertTransport) != 0) {
    offload = sum_as_offload(packet.size(), context);
    if (!offload) insert_sum(packet, context.transport_start, context.transport_sum, context.transport_end);
  }
  Outgoing& frame = ready.next();
  std::swap(frame.bytes, packet);
  if (offload) frame.offload = *offload;
  complete(frame, tag, d.special(), settings);
}

void Transmitter::finish_segmented(const TxSettings& settings, FrameList& ready) {
  if (cutting().header < net::kMinFrame || cutting().header > s_.packet.size() || cutting().mss == 0)
    return drop();
  const auto offload = s_.pieces == 0 ? segmentation_as_offload(s_.packet, cutting(), s_.options)
                                      : std::optional<net::FrameOffload>();
  if (!offload) return cut(true, settings, ready);
  Outgoing& frame = ready.next();
  std::swap(frame.bytes, s_.packet);
  frame.offload = *offload;
  complete(frame, settings.vlan && (s_.command & kVlanTag) != 0, s_.special, settings);
}

void Transmitter::cut(bool all, const TxSettings& settings, FrameList& ready) {
  const std::size_t header = cutting().header, mss = cutting().mss;
  if (header < net::kMinFrame || header > s_.packet.size() || mss == 0) return drop();
  const bool tag = settings.vlan && (s_.command & kVlanTag) != 0;
  const std::span<u8> packet = s_.packet;
  const std::span<u8> headers = packet.first(header);
  std::size_t at = header;
  for (bool last = false; !last && (all || packet.size() - at > mss);) {
    // GUEST-CONTROLLED: smaller pieces than TCP makes are an attempt to keep us busy.
    if (++s_.pieces > kMaxPieces) return drop();
    const std::size_t size = std::min(mss, packet.size() - at);
    last = all && at + size == packet.size();
    Outgoing& piece = ready.next();
    piece.bytes.assign(headers.begin(), headers.end());
    const auto payload = packet.subspan(at, size);
    piece.bytes.insert(piece.bytes.end(), payload.begin(), payload.end());
    finish_segment(piece.bytes, cutting(), s_.options, last);
    complete(piece, tag, s_.special, settings);
    advance_headers(headers, cutting(), size);
    at += size;
  }
  s_.packet.erase(s_.packet.begin() + static_cast<std::ptrdiff_t>(header),
                  s_.packet.begin() + static_cast<std::ptrdiff_t>(at));
}

}  // namespace vellum::e1000
