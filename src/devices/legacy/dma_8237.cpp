#include "devices/legacy/dma_8237.hpp"

namespace vellum {
namespace {

// Below 8: even numbers are addresses, odd ones counts. The others as written; read, 8 is the status.
enum : u8 {
  kCommand = 8,
  kRequest = 9,
  kSingleMask = 10,
  kMode = 11,
  kClearHighByte = 12,
  kMasterClear = 13,
  kClearMask = 14,
  kAllMasks = 15
};

void set_half(u16& reg, bool high, u8 value) {
  reg = static_cast<u16>(high ? (reg & 0x00ff) | value << 8 : (reg & 0xff00) | value);
}

}  // namespace

u8 Dma8237::read(u64 reg, u8 requests) {
  if (reg < 8) {
    const Channel& channel = channels[reg / 2];
    const u16 value = reg % 2 == 0 ? channel.address : channel.count;
    const bool high = high_byte;
    high_byte = !high_byte;
    return static_cast<u8>(high ? value >> 8 : value);
  }
  if (reg == kCommand) {
    const u8 status = static_cast<u8>(reached | (requests | software_requests) << 4);
    reached = 0;
    return status;
  }
  if (reg == kAllMasks) return 0xf0 | mask;  // as the PIIX has it; the 8237A's cannot be read
  return reg == kMasterClear ? u8{0}
                             : u8{0xff};  // the temporary register: nothing goes from memory to memory
}

void Dma8237::write(u64 reg, u8 value) {
  if (reg < 8) {
    Channel& channel = channels[reg / 2];
    u16& base = reg % 2 == 0 ? channel.base_address : channel.base_count;
    set_half(base, high_byte, value);
    (reg % 2 == 0 ? channel.address : channel.count) = base;
    high_byte = !high_byte;
    return;
  }
  const u8 bit = static_cast<u8>(1 << (value & 3));
  const bool set = (value & 4) != 0;
  switch (reg) {
    case kCommand:
      command = value;
      return;
    case kRequest:
      software_requests = static_cast<u8>(set ? software_requests | bit : software_requests & ~bit);
      return;
    case kSingleMask:
      mask = static_cast<u8>(set ? mask | bit : mask & ~bit);
      return;
    case kMode:
      channels[value & 3].mode = value & 0xfc;
      return;
    case kClearHighByte:
      high_byte = false;
      return;
    case kMasterClear:
      return master_clear();
    case kClearMask:
      mask = 0;
      return;
    case kAllMasks:
      mask = value & 0x0f;
      return;
    default:
      return;
  }
}

void Dma8237::master_clear() {
  command = software_requests = reached = 0;
  high_byte = false;
  mask = 0x0f;
}

bool Dma8237::moved(unsigned n, u32 units) {
  Channel& channel = channels[n];
  const bool last = units > channel.count;
  channel.address =
      static_cast<u16>((channel.mode & kDown) != 0 ? channel.address - units : channel.address + units);
  channel.count = static_cast<u16>(channel.count - units);
  if (!last) return false;
  const u8 bit = static_cast<u8>(1 << n);
  reached |= bit;
  software_requests &= static_cast<u8>(~bit);
  if ((channel.mode & kAutoInitialise) != 0) {
    channel.address = channel.base_address;
    channel.count = channel.base_count;
  } else {
    mask |= bit;
  }
  return true;
}

}  // namespace vellum
