#include "devices/ide/packet.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

#include "base/byte_order.hpp"

namespace vellum::ide {
namespace {

enum Operation : u8 {
  kTestUnitReady = 0x00,
  kRequestSense = 0x03,
  kInquiry = 0x12,
  kStartStopUnit = 0x1b,
  kPreventRemoval = 0x1e,
  kReadCapacity = 0x25,
  kRead10 = 0x28,
  kSeek10 = 0x2b,
  kReadToc = 0x43,
  kGetConfiguration = 0x46,
  kGetEventStatus = 0x4a,
  kReadDiscInformation = 0x51,
  kModeSense10 = 0x5a,
  kRead12 = 0xa8,
  kSetSpeed = 0xbb,
  kMechanismStatus = 0xbd
};

constexpr u8 kIllegalRequest = 5;
constexpr Sense kRemovalPrevented{kIllegalRequest, 0x53, 0x02};
constexpr u8 kInvalidCommand = 0x20, kOutOfRange = 0x21, kInvalidField = 0x24;
constexpr u8 kLeadOut = 0xaa;

class Reply {
 public:
  Reply& put(u64 value, unsigned size = 1) {
    for (unsigned n = size; n-- > 0;) bytes_.push_back(static_cast<u8>(value >> (8 * n)));
    return *this;
  }
  Reply& text(std::string_view text, unsigned size) {
    for (unsigned n = 0; n < size; ++n) bytes_.push_back(n < text.size() ? static_cast<u8>(text[n]) : ' ');
    return *this;
  }
  /// The first `size` bytes become how many bytes follow them.
  Reply& length(unsigned size) {
    const u64 rest = bytes_.size() - size;
    for (unsigned n = 0; n < size; ++n) bytes_[n] = static_cast<u8>(rest >> (8 * (size - 1 - n)));
    return *this;
  }
  PacketAction within(u64 room) {
    if (bytes_.size() > room) bytes_.resize(room);
    return {.kind = PacketAction::Kind::kReply, .reply = std::move(bytes_)};
  }

 private:
  std::vector<u8> bytes_;
};

PacketAction refuse(u8 code) {
  return {.kind = PacketAction::Kind::kFail, .sense = {kIllegalRequest, code}};
}

PacketAction read(u64 sector, u64 count, u64 sectors) {
  if (sector > sectors || count > sectors - sector) return refuse(kOutOfRange);
  if (count == 0) return {};
  return {.kind = PacketAction::Kind::kRead, .sector = sector, .count = count};
}

// An address as minutes, seconds, frames: 75 frames a second, two seconds before the first sector.
u64 address(u64 sector, bool as_time) {
  if (!as_time) return sector;
  const u64 frames = sector + 150;
  return std::min<u64>(frames / 75 / 60, 255) << 16 | frames / 75 % 60 << 8 | frames % 75;
}

// One data track, then the lead-out (MMC-5 §6.26).
PacketAction read_toc(const Packet& packet, u64 sectors) {
  const bool as_time = (packet[1] & 2) != 0;
  const u8 first = packet[6];
  const u64 room = load_be16(&packet[7]);
  const unsigned format = (packet[2] & 15) != 0 ? packet[2] & 15 : packet[9] >> 6;
  Reply reply;
  reply.put(0, 2).put(1).put(1);
  const auto track = [&](u8 number, u64 sector) {
    reply.put(0).put(0x14).put(number).put(0).put(address(sector, as_time), 4);
  };
  switch (format) {
    case 0:
      if (first > 1 && first != kLeadOut) return refuse(kInvalidField);
      if (first <= 1) track(1, 0);
      track(kLeadOut, sectors);
      break;
    case 1:  // sessions
      track(1, 0);
      break;
    default:
      return refuse(kInvalidField);
  }
  return reply.length(2).within(room);
}

// Pages: read error recovery (1), capabilities (0x2a), or all (0x3f) (MMC-5 §7).
PacketAction mode_sense(const Packet& packet, const Tray& tray) {
  const u8 page = packet[2] & 0x3f;
  Reply reply;
  reply.put(0, 2).put(0x01).put(0, 5);  // a data disc of 120 mm
  if (page == 1 || page == 0x3f) reply.put(0x01).put(6).put(0).put(5).put(0, 4);
  if (page == 0x2a || page == 0x3f) {
    reply.put(0x2a).put(18);
    // Reads CD-R, DVD; has a tray, can lock and eject.
    reply.put(0x3b).put(0).put(0x70).put(0).put(tray.locked ? 0x2b : 0x29).put(0);
    reply.put(706, 2).put(2, 2).put(512, 2).put(706, 2).put(0, 4);
  }
  if (page != 1 && page != 0x2a && page != 0x3f) return refuse(kInvalidField);
  return reply.length(2).within(load_be16(&packet[7]));
}

PacketAction fail_with(const Sense& sense) {
  return {.kind = PacketAction::Kind::kFail, .sense = sense};
}

// Commands that a drive carries out without telling first that it has another medium (SPC-3 §4.5, MMC-5
// §6.7).
bool ignores_attention(u8 operation) {
  return operation == kInquiry || operation == kRequestSense || operation == kGetConfiguration ||
         operation == kGetEventStatus;
}

bool needs_medium(u8 operation) {
  constexpr u8 kThose[] = {kTestUnitReady, kReadCapacity,       kRead10, kSeek10, kReadToc,
                           kRead12,        kReadDiscInformation};
  return std::ranges::find(kThose, operation) != std::end(kThose);
}

// Bits: 7..4, a power condition, and then nothing else counts; 1, it is about the tray; 0, close it (MMC-5
// §6.42).
PacketAction start_stop(const Packet& packet, bool has_medium, Tray& tray) {
  if ((packet[4] & 0xf2) != 2) return {};
  const bool open = (packet[4] & 1) == 0;
  if (open && tray.locked) return fail_with(kRemovalPrevented);
  if (open == tray.open) return {};
  tray.open = open;
  tray.attention = !open && has_medium;
  tray.event = open ? MediaEvent::kRemoval : has_medium ? MediaEvent::kNewMedium : MediaEvent::kNone;
  return {};
}

PacketAction request_sense(const Packet& packet, Sense sense, Tray& tray) {
  if (sense.key == 0 && std::exchange(tray.attention, false)) sense = kMediumChanged;
  return Reply()
      .put(0x70)
      .put(0)
      .put(sense.key)
      .put(0, 4)
      .put(10)
      .put(0, 4)
      .put(sense.code)
      .put(sense.qualifier)
      .put(0, 4)
      .within(packet[4]);
}

// An event is told once.
PacketAction event_status(const Packet& packet, bool has_medium, Tray& tray) {
  const u64 room = load_be16(&packet[7]);
  if ((packet[1] & 1) == 0) return refuse(kInvalidField);  // asynchronous ones there are none
  if ((packet[4] & 0x10) == 0) return Reply().put(2, 2).put(0x80).put(0x10).within(room);
  const auto event = static_cast<u8>(std::exchange(tray.event, MediaEvent::kNone));
  const u8 status = static_cast<u8>((has_medium && !tray.open ? 0x02 : 0) | (tray.open ? 0x01 : 0));
  return Reply().put(6, 2).put(0x04).put(0x10).put(event).put(status).put(0, 2).within(room);
}

}  // namespace

PacketAction interpret(const Packet& packet, u64 medium_sectors, const Sense& last, Tray& tray) {
  const bool has_medium = medium_sectors != 0;
  const u64 sectors = tray.open ? 0 : medium_sectors;
  if (!ignores_attention(packet[0]) && std::exchange(tray.attention, false)) return fail_with(kMediumChanged);
  if (needs_medium(packet[0]) && sectors == 0) return fail_with(tray.open ? kTrayOpen : kNoMedium);
  switch (packet[0]) {
    case kTestUnitReady:
    case kSetSpeed:
      return {};
    case kStartStopUnit:
      return start_stop(packet, has_medium, tray);
    case kPreventRemoval:
      tray.locked = (packet[4] & 1) != 0;
      return {};
    case kSeek10:
      return load_be32(&packet[2]) < sectors ? PacketAction{} : refuse(kOutOfRange);
    case kRequestSense:
      return request_sense(packet, last, tray);
    case kInquiry:
      if ((packet[1] & 1) != 0) return refuse(kInvalidField);  // no vital product data
      return Reply()
          .put(0x05)
          .put(0x80)
          .put(0)
          .put(0x21)
          .put(31)
          .put(0, 3)
          .text("VELLUM", 8)
          .text("CD-ROM", 16)
          .text("1.0", 4)
          .within(packet[4]);
    case kReadCapacity:
      return Reply().put(sectors - 1, 4).put(kCdSector, 4).within(8);
    case kRead10:
      return read(load_be32(&packet[2]), load_be16(&packet[7]), sectors);
    case kRead12:
      return read(load_be32(&packet[2]), load_be32(&packet[6]), sectors);
    case kReadToc:
      return read_toc(packet, sectors);
    case kGetConfiguration:  // the current profile, CD-ROM or none; no features
      return Reply()
          .put(0, 4)
          .put(0, 2)
          .put(sectors != 0 ? 0x0008 : 0, 2)
          .length(4)
          .within(load_be16(&packet[7]));
    case kGetEventStatus:
      return event_status(packet, has_medium, tray);
    case kReadDiscInformation:  // finalised, one session of one track
      return Reply().put(32, 2).put(0x0e).put(1).put(1).put(1).put(1).put(0x20).put(0, 26).within(
          load_be16(&packet[7]));
    case kModeSense10:
      return mode_sense(packet, tray);
    case kMechanismStatus:
      return Reply().put(0).put(tray.open ? 0x10 : 0).put(0, 6).within(load_be16(&packet[8]));
    default:
      return refuse(kInvalidCommand);
  }
}

}  // namespace vellum::ide
