#include "devices/display/dispi.hpp"

#include <algorithm>

namespace vellum::vga {

u16 Dispi::read(unsigned reg, u64 memory) const {
  const bool capabilities = (enable & kGetCapabilities) != 0;
  switch (reg) {
    case kId:
      return id;
    case kWidth:
      return capabilities ? kMaxWidth : width;
    case kHeight:
      return capabilities ? kMaxHeight : height;
    case kBpp:
      return capabilities ? u16{32} : bpp;
    case kEnable:
      return enable;
    case kBank:
      return bank;
    case kVirtualWidth:
      return virtual_width;
    case kVirtualHeight:
      return virtual_height;
    case kX:
      return x;
    case kY:
      return y;
    case kMemory:
      return static_cast<u16>(memory >> 16);
    default:
      return 0;
  }
}

u64 Dispi::write(unsigned reg, u16 value, u64 memory) {
  switch (reg) {
    case kId:
      if (value >= 0xb0c0 && value <= 0xb0c5) id = value;
      return 0;
    case kWidth:
      width = value;
      break;
    case kHeight:
      height = value;
      break;
    case kBpp:
      bpp = value;
      break;
    case kEnable: {
      const bool was_enabled = enabled();
      enable = value & (kEnabled | kGetCapabilities | kWideDac | 0x40 | kNoClear);
      if (!enabled()) {
        bank = 0;
        return 0;
      }
      if (was_enabled) return 0;
      virtual_width = width;
      x = y = 0;
      fit(memory);
      return (enable & kNoClear) != 0 ? 0 : height * line_bytes();
    }
    case kBank:
      bank = static_cast<u16>(value & ((memory >> 16) - 1));
      return 0;
    case kVirtualWidth:
      virtual_width = value;
      break;
    case kX:
      x = value;
      break;
    case kY:
      y = value;
      break;
    default:
      return 0;
  }
  // While there is no mode its parts come one by one.
  if (enabled()) fit(memory);
  return 0;
}

void Dispi::fit(u64 memory) {
  if (bpp != 4 && bpp != 8 && bpp != 15 && bpp != 16 && bpp != 24 && bpp != 32) bpp = 8;
  width = std::clamp<u16>(width & ~u16{7}, 8, kMaxWidth);
  virtual_width = std::clamp<u16>(virtual_width & ~u16{7}, width, kMaxWidth);
  const u64 lines = memory / line_bytes();
  height = static_cast<u16>(std::clamp<u64>(height, 1, std::min<u64>(lines, kMaxHeight)));
  virtual_height = static_cast<u16>(std::min<u64>(lines, 0xffff));
  if (x + width > virtual_width) x = 0;
  if (y + height > lines) y = 0;
}

}  // namespace vellum::vga
