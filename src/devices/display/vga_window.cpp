#include "devices/display/vga_window.hpp"

#include <bit>
#include <optional>

#include "memory/guest_access.hpp"

namespace vellum::vga {
namespace {

// A byte of 0xff for each bit of `planes`.
constexpr u32 spread(u8 planes) {
  u32 all = 0;
  for (unsigned plane = 0; plane < 4; ++plane)
    if ((planes >> plane & 1) != 0) all |= u32{0xff} << (8 * plane);
  return all;
}

constexpr u32 in_all_planes(u8 value) {
  return value * 0x01010101u;
}

// Where an access falls within the memory as the processor sees it; nothing: outside of the part of the
// window that the memory is mapped to.
std::optional<u32> locate(const VgaState& s, u32 bank, u64 offset) {
  if ((s.miscellaneous & kMiscMemory) == 0) return std::nullopt;
  const auto at = static_cast<u32>(offset);
  switch (s.graphics[kMiscellaneous] >> 2 & 3) {
    case 0:
      return at;
    case 1:
      return at < 0x10000 ? std::optional(at + (bank << 16)) : std::nullopt;
    case 2:
      return at >= 0x10000 && at < 0x18000 ? std::optional(at - 0x10000) : std::nullopt;
    default:
      return at >= 0x18000 ? std::optional(at - 0x18000) : std::nullopt;
  }
}

// Odd/even addressing: even addresses are of plane 0 or 2, odd ones of 1 or 3.
struct Cell {
  u32 offset;
  unsigned plane;
};
Cell odd_even(const VgaState& s, u32 at) {
  const unsigned plane = (s.graphics[kReadMap] & 2u) | (at & 1);
  return {(at & ~1u) * 2 + plane, plane};
}

bool writable(const VgaState& s, unsigned plane) {
  return (s.sequencer[kMapMask] >> plane & 1) != 0;
}

u32 combined(const VgaState& s, u32 value) {
  switch (s.graphics[kDataRotate] >> 3 & 3) {
    case 1:
      return value & s.latch;
    case 2:
      return value | s.latch;
    case 3:
      return value ^ s.latch;
    default:
      return value;
  }
}

// What a write gives the planes, before the map mask.
u32 planar_value(const VgaState& s, u8 value) {
  const u8 rotated = std::rotr(value, s.graphics[kDataRotate] & 7);
  u8 bit_mask = s.graphics[kBitMask];
  u32 planes = 0;
  switch (s.graphics[kMode] & 3) {
    case 0: {
      const u32 replaced = spread(s.graphics[kEnableSetReset]);
      planes = (in_all_planes(rotated) & ~replaced) | (spread(s.graphics[kSetReset]) & replaced);
      break;
    }
    case 1:
      return s.latch;
    case 2:
      planes = spread(value & 0x0f);
      break;
    default:
      bit_mask &= rotated;
      planes = spread(s.graphics[kSetReset]);
      break;
  }
  const u32 mask = in_all_planes(bit_mask);
  return (combined(s, planes) & mask) | (s.latch & ~mask);
}

}  // namespace

u8 read_window(VgaState& s, std::span<u8> memory, u32 bank, u64 offset) {
  const auto found = locate(s, bank, offset);
  if (!found) return 0xff;
  const u64 mask = memory.size() - 1;
  if ((s.sequencer[kMemoryMode] & kChain4) != 0) return guest_load<u8>(&memory[*found & mask]);
  if ((s.graphics[kMode] & kOddEven) != 0) return guest_load<u8>(&memory[odd_even(s, *found).offset & mask]);
  s.latch = guest_load<u32>(&memory[u64{*found} * 4 & mask]);
  if ((s.graphics[kMode] & 0x08) == 0) return static_cast<u8>(s.latch >> (8 * s.graphics[kReadMap]));
  const u32 differs = (s.latch ^ spread(s.graphics[kColorCompare])) & spread(s.graphics[kColorDontCare]);
  return static_cast<u8>(~(differs | differs >> 8 | differs >> 16 | differs >> 24));
}

void write_window(VgaState& s, std::span<u8> memory, u32 bank, u64 offset, u8 value) {
  const auto found = locate(s, bank, offset);
  if (!found) return;
  const u64 mask = memory.size() - 1;
  if ((s.sequencer[kMemoryMode] & kChain4) != 0) {
    if (writable(s, *found & 3)) guest_store<u8>(&memory[*found & mask], value);
    return;
  }
  if ((s.graphics[kMode] & kOddEven) != 0) {
    const Cell cell = odd_even(s, *found);
    if (writable(s, cell.plane)) guest_store<u8>(&memory[cell.offset & mask], value);
    return;
  }
  u8* const cell = &memory[u64{*found} * 4 & mask];
  const u32 planes = spread(s.sequencer[kMapMask]);
  guest_store<u32>(cell, (guest_load<u32>(cell) & ~planes) | (planar_value(s, value) & planes));
}

}  // namespace vellum::vga
