#include "devices/ide/identify.hpp"

#include <algorithm>
#include <string_view>

namespace vellum::ide {
namespace {

class Words {
 public:
  void set(unsigned word, u64 value) {
    bytes_[2 * word] = static_cast<u8>(value);
    bytes_[2 * word + 1] = static_cast<u8>(value >> 8);
  }
  void set_wide(unsigned first, u64 value, unsigned words) {
    for (unsigned n = 0; n < words; ++n) set(first + n, value >> (16 * n));
  }
  // Padded with spaces; the first of two characters in the upper byte.
  void text(unsigned first, unsigned words, std::string_view text) {
    for (unsigned n = 0; n < 2 * words; ++n)
      bytes_[2 * first + (n ^ 1)] = n < text.size() ? static_cast<u8>(text[n]) : ' ';
  }
  std::vector<u8> take() { return std::move(bytes_); }

 private:
  std::vector<u8> bytes_ = std::vector<u8>(kSector);
};

constexpr u16 kDmaModes = 0x0007, kPioModes34 = 0x0003, kCycleNs = 120;

void set_modes(Words& w) {
  w.set(53, 0x0003);  // words 54 to 58 and 64 to 70 count
  w.set(63, kDmaModes);
  w.set(64, kPioModes34);
  for (unsigned n = 65; n <= 68; ++n) w.set(n, kCycleNs);
}

}  // namespace

Geometry Geometry::of(u64 disk_sectors) {
  constexpr u32 kHeads = 16, kSectors = 63, kMaxCylinders = 16383;
  const u64 cylinders = disk_sectors / (kHeads * kSectors);
  return {static_cast<u32>(std::clamp<u64>(cylinders, 1, kMaxCylinders)), kHeads, kSectors};
}

std::vector<u8> identify_disk(u64 sectors, const std::string& serial, unsigned multiple) {
  const Geometry shape = Geometry::of(sectors);
  Words w;
  w.set(0, 0x0040);  // a fixed disk
  w.set(1, shape.cylinders);
  w.set(3, shape.heads);
  w.set(6, shape.sectors);
  w.text(10, 10, serial.empty() ? "VELLUM" : serial);
  w.text(23, 4, "1.0");
  w.text(27, 20, "VELLUM DISK");
  w.set(47, 0x8000 | kMaxMultiple);
  w.set(49, 0x0b00);  // DMA, LBA, IORDY
  w.set(50, 0x4000);
  set_modes(w);
  w.set(54, shape.cylinders);
  w.set(55, shape.heads);
  w.set(56, shape.sectors);
  w.set_wide(57, u64{shape.cylinders} * shape.heads * shape.sectors, 2);
  if (multiple != 0) w.set(59, 0x0100 | multiple);
  w.set_wide(60, std::min<u64>(sectors, 0x0fff'ffff), 2);
  w.set(80, 0x0070);  // ATA-4 to ATA-6
  w.set(82, 0x4020);  // NOP, write cache
  w.set(83, 0x7400);  // FLUSH CACHE, FLUSH CACHE EXT, 48-bit addresses
  w.set(84, 0x4000);
  w.set(85, 0x4020);  // the same, enabled
  w.set(86, 0x3400);
  w.set(87, 0x4000);
  w.set_wide(100, sectors, 4);
  return w.take();
}

std::vector<u8> identify_cdrom() {
  Words w;
  w.set(0, 0x85c0);  // ATAPI, a CD-ROM drive, removable medium, packets of 12 bytes
  w.text(10, 10, "VELLUM");
  w.text(23, 4, "1.0");
  w.text(27, 20, "VELLUM CD-ROM");
  w.set(49, 0x0b00);
  set_modes(w);
  w.set(80, 0x0070);
  w.set(82, 0x0210);  // DEVICE RESET, PACKET
  w.set(83, 0x4000);
  w.set(84, 0x4000);
  w.set(85, 0x0210);
  w.set(87, 0x4000);
  return w.take();
}

}  // namespace vellum::ide
