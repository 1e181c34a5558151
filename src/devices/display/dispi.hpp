// The Bochs display interface ("VBE dispi"): linear modes by 16-bit registers, an index at 0x1ce and its data
// at 0x1cf, or side by side in memory. By it SeaBIOS's VGA BIOS offers VBE, and drivers set modes (Linux's
// bochs-drm). The registers are those of version 5 (vgabios' vbe_display_api.txt).
#pragma once

#include "base/int.hpp"

namespace vellum::vga {

struct Dispi {
  static constexpr u64 kPort = 0x1ce, kPortCount = 3;  ///< index, data; the data also at the next even port
  static constexpr u16 kMaxWidth = 4096, kMaxHeight = 4096;
  enum Index : u16 {
    kId,
    kWidth,
    kHeight,
    kBpp,
    kEnable,
    kBank,
    kVirtualWidth,
    kVirtualHeight,
    kX,
    kY,
    kMemory
  };
  static constexpr unsigned kRegisters = 11;
  static constexpr u16 kEnabled = 0x01, kGetCapabilities = 0x02, kWideDac = 0x20, kNoClear = 0x80;

  u16 index = 0;
  u16 id = 0xb0c5;
  u16 width = 0, height = 0, bpp = 8, enable = 0, bank = 0;
  u16 virtual_width = 0, virtual_height = 0, x = 0, y = 0;
  template <class V>
  void visit(V& v) {
    v(index), v(id), v(width), v(height), v(bpp), v(enable), v(bank);
    v(virtual_width), v(virtual_height), v(x), v(y);
  }

  bool enabled() const { return (enable & kEnabled) != 0; }
  bool wide_dac() const { return (enable & kWideDac) != 0; }
  u64 line_bytes() const { return u64{virtual_width} * (bpp == 15 ? 16 : bpp) / 8; }
  u64 start() const { return y * line_bytes() + u64{x} * (bpp == 15 ? 16 : bpp) / 8; }

  /// `memory`: bytes of display memory, a multiple of 64 KiB.
  u16 read(unsigned reg, u64 memory) const;
  /// GUEST-CONTROLLED: `reg`, `value`. Returns how many bytes from the memory's start become zero.
  u64 write(unsigned reg, u16 value, u64 memory);
  /// Makes the mode one that lies within the memory.
  void fit(u64 memory);
};

}  // namespace vellum::vga
