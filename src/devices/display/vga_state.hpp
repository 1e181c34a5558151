// What a VGA remembers but for its memory: plain data for its ports, its window and whoever draws the screen.
#pragma once

#include <array>

#include "base/int.hpp"

namespace vellum::vga {

// Registers by index (IBM PS/2 Hardware Interface Technical Reference, "Video Subsystem").
enum Sequencer : u8 { kClockingMode = 1, kMapMask = 2, kCharacterMap = 3, kMemoryMode = 4 };
enum Graphics : u8 {
  kSetReset = 0,
  kEnableSetReset = 1,
  kColorCompare = 2,
  kDataRotate = 3,
  kReadMap = 4,
  kMode = 5,
  kMiscellaneous = 6,
  kColorDontCare = 7,
  kBitMask = 8
};
enum Attribute : u8 { kModeControl = 0x10, kPlaneEnable = 0x12, kColorSelect = 0x14 };
enum Crtc : u8 {
  kHorizontalEnd = 0x01,
  kOverflow = 0x07,
  kMaximumScanLine = 0x09,
  kCursorStart = 0x0a,
  kCursorEnd = 0x0b,
  kStartHigh = 0x0c,
  kStartLow = 0x0d,
  kCursorHigh = 0x0e,
  kCursorLow = 0x0f,
  kVerticalRetraceEnd = 0x11,
  kVerticalEnd = 0x12,
  kOffset = 0x13,
  kCrtcMode = 0x17,
  kLineCompare = 0x18
};

inline constexpr u8 kMiscColor = 0x01, kMiscMemory = 0x02;  ///< ports 0x3dx; the window answers
inline constexpr u8 kChain4 = 0x08;                         ///< memory mode
inline constexpr u8 kOddEven = 0x10;                        ///< graphics mode
inline constexpr u8 kGraphicsMode = 0x01;                   ///< graphics miscellaneous
inline constexpr u8 kPaletteSource = 0x20;                  ///< attribute index: the screen is on
inline constexpr u8 kScreenOff = 0x20;                      ///< clocking mode

struct VgaState {
  u8 miscellaneous = 0, feature = 0;
  u8 sequencer_index = 0, graphics_index = 0, attribute_index = 0, crtc_index = 0;
  bool attribute_data = false;  ///< the next write to 0x3c0 is data, not an index
  std::array<u8, 8> sequencer{};
  std::array<u8, 16> graphics{};
  std::array<u8, 32> attribute{}, crtc{};
  u8 dac_mask = 0xff, dac_index = 0, dac_component = 0;  ///< component: 0 to 2, red, green, blue
  bool dac_reading = false;
  std::array<u8, 3> dac_latch{};
  std::array<u8, 768> dac{};  ///< as written: 6 bits of each, or 8 where dispi says so
  u32 latch = 0;              ///< a byte of each plane
  template <class V>
  void visit(V& v) {
    v(miscellaneous), v(feature), v(sequencer_index), v(graphics_index), v(attribute_index), v(crtc_index);
    v(attribute_data), v(sequencer), v(graphics), v(attribute), v(crtc), v(dac_mask), v(dac_index);
    v(dac_component), v(dac_reading), v(dac_latch), v(dac), v(latch);
  }
};

}  // namespace vellum::vga
