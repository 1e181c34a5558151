// The commands that a CD-ROM drive takes in packets (MMC-5; SPC-3 for those that all devices have). What a
// packet asks for, as data: who carries it out is the channel.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "devices/ide/registers.hpp"

namespace vellum::ide {

inline constexpr u32 kPacketSize = 12;
using Packet = std::array<u8, kPacketSize>;

/// Why the last command failed (SPC-3 §4.5): key, additional code and its qualifier.
struct Sense {
  u8 key = 0, code = 0, qualifier = 0;
  template <class V>
  void visit(V& v) {
    v(key), v(code), v(qualifier);
  }
};
inline constexpr Sense kNoMedium{0x02, 0x3a, 0x01}, kTrayOpen{0x02, 0x3a, 0x02}, kMediumChanged{0x06, 0x28};

/// What happened to the medium, as GET EVENT STATUS NOTIFICATION tells it (MMC-5 §6.7).
enum class MediaEvent : u8 { kNone, kEjectRequest, kNewMedium, kRemoval };

/// What a CD-ROM drive knows beside the medium.
struct Tray {
  bool open = false;       ///< software had it opened: there is no medium for it
  bool locked = false;     ///< and does not want it to be
  bool attention = false;  ///< a medium was put in, and the next command is to hear of it
  MediaEvent event = MediaEvent::kNone;
  template <class V>
  void visit(V& v) {
    v(open), v(locked), v(attention), v(event);
  }
};

struct PacketAction {
  enum class Kind : u8 { kDone, kReply, kRead, kFail } kind = Kind::kDone;
  std::vector<u8> reply{};    ///< kReply: cut to what the packet has room for; may be empty
  u64 sector = 0, count = 0;  ///< kRead: of 2048 bytes, on the medium
  Sense sense{};              ///< kFail
};

/// GUEST-CONTROLLED: `packet`. `medium_sectors`: 0, there is no medium. `last`: what REQUEST SENSE reports.
PacketAction interpret(const Packet& packet, u64 medium_sectors, const Sense& last, Tray& tray);

}  // namespace vellum::ide
