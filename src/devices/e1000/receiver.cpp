#include "devices/e1000/receiver.hpp"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/bits.hpp"
#include "devices/e1000/receive_filter.hpp"
#include "io/net/mac_address.hpp"
#include "io/net/packet.hpp"

namespace vellum::e1000 {
namespace {

// With the check sequence: without and with RCTL.LPE.
constexpr u64 kMaxPlain = 1522, kMaxLong = 16384;
constexpr std::size_t kTagAt = 12;

/// What a descriptor says of its packet.
struct Description {
  u8 status = 0, errors = 0;
  u16 sum = 0, special = 0;
};

// §3.2.9: IP's sum over IPv4, TCP's and UDP's over both, not of fragments.
void describe_sums(const RegisterFile& registers, std::span<const u8> frame, bool sums_right,
                   Description& about) {
  const auto packet = net::parse_packet(frame);
  if (packet && !packet->ipv6 && registers.has(kRxcsum, kIpChecksums)) {
    about.status |= kIpChecked;
    if (!net::ipv4_checksum_right(frame, *packet)) about.errors |= kIpError;
  }
  if (packet && registers.has(kRxcsum, kTransportChecksums)) {
    const bool known = sums_right && packet->checksum_offset() && !packet->fragment;
    const auto right = known ? true : net::transport_checksum_right(frame, *packet);
    if (right) about.status |= kTransportChecked;
    if (right == false) about.errors |= kTransportError;
  }
  if ((about.status & (kIpChecked | kTransportChecked)) == 0) about.status |= kIgnoreChecksums;
}

u16 packet_sum(std::span<const u8> bytes, std::size_t from) {
  net::ChecksumSum sum;
  if (from < bytes.size()) sum.add(bytes.subspan(from));
  return sum.checksum();
}

void count_good(RegisterFile& registers, std::span<const u8> frame, u64 size) {
  registers.count(kGprc);
  registers.count_wide(kGorcl, size);
  count_size(registers, kPrc64, size);
  net::MacAddress to{};
  std::copy_n(frame.begin(), to.size(), to.begin());
  if (to == net::kBroadcast)
    registers.count(kBprc);
  else if (net::is_group(to))
    registers.count(kMprc);
}

}  // namespace

void count_size(RegisterFile& registers, u32 first, u64 size, u32 times) {
  constexpr u64 kLimits[] = {64, 127, 255, 511, 1023};
  u32 bin = 0;
  while (bin < std::size(kLimits) && size > kLimits[bin]) ++bin;
  registers.count(first + 4 * bin, times);
}

u32 rx_buffer_size(u32 rctl) {
  const u32 size = u32{2048} >> (rctl >> 16 & 3);
  // The extension's sizes are 16 times those; of 2048 there is none.
  return (rctl & kBufferExtension) != 0 && size != 2048 ? size * 16 : size;
}

bool rx_has_room(const RegisterFile& registers) {
  const Ring ring(registers, kRdbal);
  const u64 free = ring.available();
  const u64 wanted = registers.has(kRctl, kLongPackets) ? kMaxLong : kMaxPlain;
  if (free * rx_buffer_size(registers.get(kRctl)) >= wanted) return true;
  // A ring so small that half of it does not hold the largest frame.
  return free != 0 && free >= ring.count() / 2;
}

Reception receive(RegisterFile& registers, const DmaView& dma, std::span<const u8> frame, bool sums_right) {
  using Fate = Reception::Fate;
  const u64 wire_size = frame.size() + kFcsSize;
  registers.count(kTpr);
  registers.count_wide(kTorl, wire_size);
  if (wire_size > (registers.has(kRctl, kLongPackets) ? kMaxLong : kMaxPlain)) {
    registers.count(kRoc);
    return {Fate::kTooLong};
  }
  const Verdict verdict = judge(registers, frame);
  if (verdict == Verdict::kRefused) return {Fate::kFiltered};

  Description about;
  if (verdict == Verdict::kInexact) about.status |= kPassedInexact;
  describe_sums(registers, frame, sums_right, about);
  std::array<u8, kMaxLong> room;
  const bool strip_tag = registers.has(kCtrl, kVlanMode) && has_tag(registers, frame);
  const std::size_t skip = strip_tag ? kVlanTagSize : 0;
  std::memcpy(room.data(), frame.data(), kTagAt);
  std::memcpy(room.data() + kTagAt, frame.data() + kTagAt + skip, frame.size() - kTagAt - skip);
  std::size_t size = frame.size() - skip;
  if (strip_tag) {
    about.status |= kRxVlan;
    about.special = load_be16(&frame[14]);
  }
  if (!registers.has(kRctl, kStripCrc)) {
    const u32 fcs = static_cast<u32>(::crc32(0, frame.data(), static_cast<uInt>(frame.size())));
    std::memcpy(room.data() + size, &fcs, kFcsSize);
    size += kFcsSize;
  }
  std::span<const u8> rest(room.data(), size);
  about.sum = packet_sum(rest, registers.get(kRxcsum) & 0xff);

  Ring ring(registers, kRdbal);
  const u32 buffer_size = rx_buffer_size(registers.get(kRctl));
  const u64 before = ring.available();
  const u64 needed = (size + buffer_size - 1) / buffer_size;
  if (before < needed) {
    registers.count(kMpc);
    registers.count(kRnbc);
    return {Fate::kNoDescriptors, kRxOverrun};
  }
  for (bool first = true; !rest.empty(); first = false) {
    const auto here = rest.first(std::min<std::size_t>(buffer_size, rest.size()));
    rest = rest.subspan(here.size());
    u64 address = 0;
    std::array<u8, 8> bytes{};
    if (!dma.read(ring.descriptor(), bytes)) return {Fate::kNoDescriptors, kRxOverrun};
    std::memcpy(&address, bytes.data(), sizeof address);
    // GUEST-CONTROLLED: the address. What is not RAM takes nothing, as on a bus where nobody answers.
    if (address != 0) (void)dma.write(GuestPhys(address), here);
    u64 written = here.size();
    if (first) written |= u64{about.sum} << 16;
    written |= u64{kDone} << 32;
    if (rest.empty())
      written |= u64{static_cast<u8>(about.status | kRxEndOfPacket)} << 32 | u64{about.errors} << 40 |
                 u64{about.special} << 48;
    store_in(dma, ring.descriptor() + 8, written);
    ring.advance();
    registers.put(kRdh, ring.head());
  }
  count_good(registers, frame, wire_size);

  // RCTL.RDMTS: a half, a quarter, an eighth of the ring.
  const u64 threshold = ring.count() >> (1 + (registers.get(kRctl) >> 8 & 3));
  const u64 after = before - needed;
  return {Fate::kStored, kRxTimer | (before > threshold && after <= threshold ? kRxThreshold : 0)};
}

}  // namespace vellum::e1000
