#include "devices/display/screen.hpp"

#include "devices/display/code_page.hpp"
#include "devices/display/text_mode.hpp"
#include "memory/guest_access.hpp"

namespace vellum::vga {
namespace {

struct Color {
  u8 red = 0, green = 0, blue = 0;
};

class Painter {
 public:
  explicit Painter(const Source& source) : s_(source.vga), d_(source.dispi), memory_(source.memory) {}

  Screen draw() {
    if (d_.enabled()) return linear();
    if ((s_.attribute_index & kPaletteSource) == 0 || (s_.sequencer[kClockingMode] & kScreenOff) != 0)
      return blank();
    return (s_.graphics[kMiscellaneous] & kGraphicsMode) != 0 ? graphics() : text();
  }

 private:
  u8 byte(u64 at) const { return guest_load<u8>(&memory_[at & (memory_.size() - 1)]); }

  // ---- Colours ----
  Color dac(unsigned index) const {
    const u8* const entry = &s_.dac[(index & s_.dac_mask & 0xff) * 3];
    if (d_.wide_dac()) return {entry[0], entry[1], entry[2]};
    const auto wide = [](u8 six) { return static_cast<u8>((six & 0x3f) << 2 | (six >> 4 & 3)); };
    return {wide(entry[0]), wide(entry[1]), wide(entry[2])};
  }
  // A 4-bit colour through the attribute controller.
  Color palette(unsigned index) const {
    constexpr u8 kPaletteBits54 = 0x80;
    unsigned color = s_.attribute[index & s_.attribute[kPlaneEnable] & 15];
    const unsigned select = s_.attribute[kColorSelect];
    if ((s_.attribute[kModeControl] & kPaletteBits54) != 0) color = (color & 15) | (select & 3) << 4;
    return dac((color & 0x3f) | (select & 12) << 4);
  }

  // ---- The picture ----
  void begin(unsigned width, unsigned height) {
    screen_.width = width;
    screen_.height = height;
    screen_.rgb.assign(std::size_t{width} * height * 3, 0);
  }
  void put(unsigned x, unsigned y, Color c) {
    u8* const at = &screen_.rgb[(std::size_t{y} * screen_.width + x) * 3];
    at[0] = c.red, at[1] = c.green, at[2] = c.blue;
  }
  Screen blank() {
    begin(columns(s_) * 8, lines(s_));
    return std::move(screen_);
  }

  Screen text() {
    const TextMode mode = TextMode::of(s_);
    begin(mode.columns * mode.cell_width, mode.rows * mode.cell_height);
    for (unsigned row = 0; row < mode.rows; ++row)
      for (unsigned column = 0; column < mode.columns; ++column) cell(mode, row, column);
    return std::move(screen_);
  }

  void cell(const TextMode& mode, unsigned row, unsigned column) {
    constexpr u8 kBlink = 0x08, kLineGraphics = 0x04;
    const u64 at = mode.cell(row, column);
    const u8 character = byte(at), attribute = byte(at + 1);
    const bool blinks = (s_.attribute[kModeControl] & kBlink) != 0;
    const Color ink = palette(attribute & 15), paper = palette(attribute >> 4 & (blinks ? 7 : 15));
    const bool joined = (s_.attribute[kModeControl] & kLineGraphics) != 0 && (character & 0xe0) == 0xc0;
    const bool has_cursor = mode.cursor_shown && mode.cursor_at == at;
    for (unsigned y = 0; y < mode.cell_height; ++y) {
      unsigned bits = byte(mode.glyph(attribute, character) + u64{y} * 4) << 1;
      if (joined) bits |= bits >> 1 & 1;
      if (has_cursor && y >= mode.cursor_first && y <= mode.cursor_last) bits = 0x1ff;
      for (unsigned x = 0; x < mode.cell_width; ++x)
        put(column * mode.cell_width + x, row * mode.cell_height + y,
            (bits >> (8 - x) & 1) != 0 ? ink : paper);
    }
  }

  // Modes of the VGA's own. A line is drawn as often as the maximum scan line says; bits 0 and 1 of the
  // CRTC's mode control put the row's lowest bits into the address, as a CGA's and Hercules' memory has it.
  Screen graphics() {
    const unsigned shift = s_.graphics[kMode] >> 5 & 3;
    begin(columns(s_) * 8 * ((s_.sequencer[kClockingMode] & 0x08) != 0 && shift < 2 ? 2 : 1), lines(s_));
    const unsigned doubled = s_.crtc[kMaximumScanLine] >> 7;
    const unsigned repeats =
        shift == 1 ? doubled : (((s_.crtc[kMaximumScanLine] & 0x1fu) + 1) << doubled) - 1;
    const unsigned mode = s_.crtc[kCrtcMode];
    u64 line = start_address(s_) * 4;
    unsigned row = 0, repeated = 0;
    for (unsigned y = 0; y < screen_.height; ++y) {
      u64 at = line;
      if ((mode & 1) == 0) {
        const unsigned bit = 14 + (mode >> 6 & 1);
        at = (at & ~(u64{1} << bit)) | u64{row & 1} << bit;
      }
      if ((mode & 2) == 0) at = (at & ~u64{0x8000}) | u64{row & 2} << 14;
      pixels(shift, at, y);
      if (repeated++ < repeats) continue;
      repeated = 0;
      const unsigned in_address = ~mode & 3;
      if ((row & in_address) == in_address) line += line_bytes(s_);
      ++row;
    }
    return std::move(screen_);
  }

  void pixels(unsigned shift, u64 at, unsigned y) {
    const unsigned wide = screen_.width / (columns(s_) * 8);
    if (shift >= 2) {  // a byte each, twice as wide
      for (unsigned x = 0; x < screen_.width; ++x) put(x, y, dac(byte(at + x / 2)));
      return;
    }
    for (unsigned x = 0; x < screen_.width; ++x) {
      const unsigned n = x / wide, within = n % 8;
      const u64 group = at + u64{n / 8} * 4;
      put(x, y, palette(shift == 0 ? planar(group, within) : packed_pairs(group, within)));
    }
  }
  unsigned planar(u64 group, unsigned pixel) const {
    unsigned color = 0;
    for (unsigned plane = 0; plane < 4; ++plane) color |= (byte(group + plane) >> (7 - pixel) & 1u) << plane;
    return color;
  }
  // Two bits of a plane are a pixel; first those of planes 0 and 2, then of 1 and 3.
  unsigned packed_pairs(u64 group, unsigned pixel) const {
    const unsigned plane = pixel / 4, bit = 6 - 2 * (pixel % 4);
    return (byte(group + plane) >> bit & 3u) | (byte(group + plane + 2) >> bit & 3u) << 2;
  }

  // Modes of the display interface.
  Screen linear() {
    begin(d_.width, d_.height);
    for (unsigned y = 0; y < d_.height; ++y) {
      const u64 line = d_.start() + y * d_.line_bytes();
      for (unsigned x = 0; x < d_.width; ++x) put(x, y, linear_pixel(line, x));
    }
    return std::move(screen_);
  }
  Color linear_pixel(u64 line, unsigned x) const {
    const auto scaled = [](unsigned value, unsigned bits) {
      return static_cast<u8>(value * 255 / ((1u << bits) - 1));
    };
    switch (d_.bpp) {
      case 4:
        return palette(planar(line + u64{x / 8} * 4, x % 8));
      case 8:
        return dac(byte(line + x));
      case 15: {
        const unsigned v = byte(line + x * 2u) | byte(line + x * 2u + 1) << 8;
        return {scaled(v >> 10 & 31, 5), scaled(v >> 5 & 31, 5), scaled(v & 31, 5)};
      }
      case 16: {
        const unsigned v = byte(line + x * 2u) | byte(line + x * 2u + 1) << 8;
        return {scaled(v >> 11 & 31, 5), scaled(v >> 5 & 63, 6), scaled(v & 31, 5)};
      }
      default: {
        const u64 at = line + u64{x} * (d_.bpp / 8);
        return {byte(at + 2), byte(at + 1), byte(at)};
      }
    }
  }

  const VgaState& s_;
  const Dispi& d_;
  std::span<const u8> memory_;
  Screen screen_;
};

}  // namespace

Screen draw(const Source& source) {
  return Painter(source).draw();
}

std::string text_of(const Source& source) {
  std::string all;
  if (source.dispi.enabled() || (source.vga.graphics[kMiscellaneous] & kGraphicsMode) != 0) return all;
  const TextMode mode = TextMode::of(source.vga);
  for (unsigned row = 0; row < mode.rows; ++row) {
    std::string line;
    for (unsigned column = 0; column < mode.columns; ++column)
      line +=
          utf8_of_437(guest_load<u8>(&source.memory[mode.cell(row, column) & (source.memory.size() - 1)]));
    line.erase(line.find_last_not_of(' ') + 1);
    all += line + "\n";
  }
  return all;
}

}  // namespace vellum::vga
