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

/// Why the last command failed (SPC-3 §4.5): key, additional code.
struct Sense {
  u8 key = 0, code = 0;
  template <class V>
  void visit(V& v) {
    v(key), v(code);
  }
};

struct PacketAction {
  enum class Kind : u8 { kDone, kReply, kRead, kFail } kind = Kind::kDone;
  std::vector<u8> reply{};    ///< kReply: cut to what the packet has room for; may be empty
  u64 sector = 0, count = 0;  ///< kRead: of 2048 bytes, on the medium
  Sense sense{};              ///< kFail
};

/// GUEST-CONTROLLED: `packet`. `sectors`: of the medium. `last`: what REQUEST SENSE reports.
PacketAction interpret(const Packet& packet, u64 sectors, const Sense& last);

}  // namespace vellum::ide
