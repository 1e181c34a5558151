#include "devices/ide/bus_master.hpp"

#include <algorithm>
#include <array>

namespace vellum::ide {

u8 BusMaster::read(u64 offset) const {
  switch (offset) {
    case 0:
      return command;
    case 2:
      return status;
    case 4:
    case 5:
    case 6:
    case 7:
      return static_cast<u8>(table >> (8 * (offset - 4)));
    default:
      return 0;
  }
}

int BusMaster::write(u64 offset, u8 value) {
  switch (offset) {
    case 0: {
      const bool was_started = (command & kStart) != 0, started = (value & kStart) != 0;
      command = value & (kStart | kToMemory);
      if (started == was_started) return 0;
      if (started) {
        status |= kActive;
        entry = table;
        region_left = 0;
        last = false;
        return 1;
      }
      status &= static_cast<u8>(~kActive);
      return -1;
    }
    case 2:
      // Error and interrupt are cleared by writing 1.
      status = static_cast<u8>((status & kActive) | (value & kCapable) |
                               (status & (kMasterError | kMasterInterrupt) & ~value));
      return 0;
    case 4:
    case 5:
    case 6:
    case 7: {
      const unsigned shift = 8 * static_cast<unsigned>(offset - 4);
      table = ((table & ~(u32{0xff} << shift)) | u32{value} << shift) & ~u32{3};
      return 0;
    }
    default:
      return 0;
  }
}

// GUEST-CONTROLLED: the table. Each entry has at least two bytes, so a transfer reads no more of them than it
// has bytes.
bool BusMaster::next_region(const DmaView& dma) {
  std::array<u8, 8> words{};
  if (last || !dma.read(GuestPhys(entry), words)) return false;
  entry += 8;
  const auto word = [&words](unsigned at) {
    return u32{words[at]} | u32{words[at + 1]} << 8 | u32{words[at + 2]} << 16 | u32{words[at + 3]} << 24;
  };
  region = word(0) & ~u32{1};
  region_left = word(4) & 0xfffe;
  if (region_left == 0) region_left = 0x10000;
  last = (word(4) >> 31) != 0;
  return true;
}

bool BusMaster::to_guest(const DmaView& dma, std::span<const u8> bytes) {
  while (!bytes.empty()) {
    if (region_left == 0 && !next_region(dma)) return false;
    const auto here = static_cast<u32>(std::min<std::size_t>(region_left, bytes.size()));
    if (!dma.write(GuestPhys(region), bytes.first(here))) return false;
    region += here;
    region_left -= here;
    bytes = bytes.subspan(here);
  }
  return true;
}

bool BusMaster::from_guest(const DmaView& dma, std::span<u8> bytes) {
  while (!bytes.empty()) {
    if (region_left == 0 && !next_region(dma)) return false;
    const auto here = static_cast<u32>(std::min<std::size_t>(region_left, bytes.size()));
    if (!dma.read(GuestPhys(region), bytes.first(here))) return false;
    region += here;
    region_left -= here;
    bytes = bytes.subspan(here);
  }
  return true;
}

void BusMaster::finish(bool well) {
  if (!well) status |= kMasterError;
  if (!well || (last && region_left == 0)) status &= static_cast<u8>(~kActive);
}

}  // namespace vellum::ide
