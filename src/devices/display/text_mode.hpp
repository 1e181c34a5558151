// The geometry that the CRT controller's registers describe.
#pragma once

#include <algorithm>

#include "devices/display/vga_state.hpp"

namespace vellum::vga {

inline unsigned columns(const VgaState& s) {
  return s.crtc[kHorizontalEnd] + 1u;
}
inline unsigned lines(const VgaState& s) {
  const unsigned overflow = s.crtc[kOverflow];
  return (s.crtc[kVerticalEnd] | (overflow & 0x02u) << 7 | (overflow & 0x40u) << 3) + 1u;
}
/// In cells of four planes' bytes.
inline u64 start_address(const VgaState& s) {
  return u64{s.crtc[kStartHigh]} << 8 | s.crtc[kStartLow];
}
inline u64 line_bytes(const VgaState& s) {
  return u64{s.crtc[kOffset]} << 3;
}

struct TextMode {
  unsigned columns = 0, rows = 0, cell_width = 0, cell_height = 0;
  u64 start = 0, line_bytes = 0;
  u64 fonts[2] = {0, 0};  ///< by the attribute's bit 3
  bool cursor_shown = false;
  u64 cursor_at = 0;
  unsigned cursor_first = 0, cursor_last = 0;

  static TextMode of(const VgaState& s) {
    TextMode m;
    m.columns = vga::columns(s);
    const unsigned maximum = s.crtc[kMaximumScanLine];
    m.cell_height = (maximum & 0x1f) + 1;
    m.rows = std::max(lines(s) / (m.cell_height << (maximum >> 7)), 1u);
    m.cell_width = (s.sequencer[kClockingMode] & 1) != 0 ? 8 : 9;
    m.start = start_address(s) * 4;
    m.line_bytes = vga::line_bytes(s);
    // Character map select: fonts are in plane 2, 8 KiB each, the even ones first.
    const unsigned map = s.sequencer[kCharacterMap];
    const auto font = [](unsigned high, unsigned low) { return u64{high | low << 1} * 0x2000 * 4 + 2; };
    m.fonts[0] = font(map >> 4 & 1, map & 3);
    m.fonts[1] = font(map >> 5 & 1, map >> 2 & 3);
    m.cursor_shown = (s.crtc[kCursorStart] & 0x20) == 0;
    m.cursor_at = (u64{s.crtc[kCursorHigh]} << 8 | s.crtc[kCursorLow]) * 4;
    m.cursor_first = s.crtc[kCursorStart] & 0x1f;
    m.cursor_last = s.crtc[kCursorEnd] & 0x1f;
    return m;
  }
  /// Where in memory a character is; its attribute is the next byte.
  u64 cell(unsigned row, unsigned column) const { return start + row * line_bytes + u64{column} * 4; }
  /// The first line of a character's picture; the next ones are 4 bytes further each.
  u64 glyph(u8 attribute, u8 character) const { return fonts[attribute >> 3 & 1] + u64{character} * 32 * 4; }
};

}  // namespace vellum::vga
