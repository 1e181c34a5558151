// The registers of one 8237A DMA controller (Intel 8237A data sheet, "Register Description"): four channels,
// each with an address, a count and a mode. What a channel addresses is IsaDma's matter (isa_dma.hpp).
#pragma once

#include <array>

#include "base/int.hpp"

namespace vellum {

struct Dma8237 {
  static constexpr unsigned kChannels = 4, kRegisters = 16;
  // Mode: bits 7..6 demand, single, block, cascade; 5 addresses go down; 4 starts again at the end; 3..2 what
  // is done to memory.
  static constexpr u8 kCascade = 0xc0, kDown = 0x20, kAutoInitialise = 0x10, kKind = 0x0c;
  static constexpr u8 kVerify = 0x00, kToMemory = 0x04, kFromMemory = 0x08;
  static constexpr u8 kDisabled = 0x04;  ///< command

  struct Channel {
    u16 base_address = 0, base_count = 0, address = 0, count = 0;
    u8 mode = 0;
    template <class V>
    void visit(V& v) {
      v(base_address), v(base_count), v(address), v(count), v(mode);
    }
  };
  std::array<Channel, kChannels> channels;
  u8 command = 0, mask = 0x0f, software_requests = 0;
  u8 reached = 0;          ///< bit n: channel n has come to its terminal count
  bool high_byte = false;  ///< the next access to an address or count
  template <class V>
  void visit(V& v) {
    v(channels), v(command), v(mask), v(software_requests), v(reached), v(high_byte);
  }

  /// GUEST-CONTROLLED: `reg` (below kRegisters), `value`. `requests`: a bit for each channel whose device
  /// asks.
  u8 read(u64 reg, u8 requests);
  void write(u64 reg, u8 value);

  bool masked(unsigned channel) const { return (mask >> channel & 1) != 0; }
  bool enabled() const { return (command & kDisabled) == 0; }
  bool cascades(unsigned channel) const { return (channels[channel].mode & kCascade) == kCascade; }
  /// `units` were moved, no more than count + 1. Whether that was the last.
  bool moved(unsigned channel, u32 units);
  void master_clear();
};

}  // namespace vellum
