#include "devices/display/vga_ports.hpp"

namespace vellum::vga {
namespace {

// The bits that there are, by index.
constexpr std::array<u8, 8> kSequencerBits{0x03, 0x3d, 0x0f, 0x3f, 0x0e};
constexpr std::array<u8, 16> kGraphicsBits{0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff};
constexpr std::array<u8, 32> kAttributeBits{0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f,
                                            0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0xef, 0xff, 0x3f, 0x0f, 0x0f};
constexpr unsigned kCrtcRegisters = 0x19;
constexpr u8 kProtect = 0x80;          // in the end of vertical retrace: registers 0 to 7 are read-only ...
constexpr u8 kLineCompareBit8 = 0x10;  // ... but for this bit of 7

// 70 Hz of 449 lines, as in the text mode: retrace takes the last lines of a frame, the end of each line.
constexpr u64 kFrameNs = 14'268'000, kRetraceStartNs = 13'100'000, kLineNs = 31'778, kLineEndNs = 25'422;
constexpr u8 kDisplayDisabled = 0x01, kVerticalRetrace = 0x08;

u8 status1(u64 now_ns) {
  const u64 in_frame = now_ns % kFrameNs;
  if (in_frame >= kRetraceStartNs) return kDisplayDisabled | kVerticalRetrace;
  return in_frame % kLineNs >= kLineEndNs ? kDisplayDisabled : 0;
}

void write_attribute(VgaState& s, u8 value) {
  if (s.attribute_data) {
    const u8 index = s.attribute_index & 0x1f;
    s.attribute[index] = value & kAttributeBits[index];
  } else {
    s.attribute_index = value & 0x3f;
  }
  s.attribute_data = !s.attribute_data;
}

void write_crtc(VgaState& s, u8 value) {
  const u8 index = s.crtc_index;
  if (index >= kCrtcRegisters) return;
  if ((s.crtc[kVerticalRetraceEnd] & kProtect) != 0 && index <= kOverflow) {
    if (index == kOverflow)
      s.crtc[index] = static_cast<u8>((s.crtc[index] & ~kLineCompareBit8) | (value & kLineCompareBit8));
    return;
  }
  s.crtc[index] = value;
}

void next_component(VgaState& s) {
  if (++s.dac_component < 3) return;
  s.dac_component = 0;
  ++s.dac_index;
}

u8 read_dac(VgaState& s) {
  const u8 value = s.dac[s.dac_index * 3u + s.dac_component];
  next_component(s);
  return value;
}

// The colour changes when its third part comes.
void write_dac(VgaState& s, u8 value) {
  s.dac_latch[s.dac_component] = value;
  if (s.dac_component == 2)
    for (unsigned n = 0; n < 3; ++n) s.dac[s.dac_index * 3u + n] = s.dac_latch[n];
  next_component(s);
}

// Of the two blocks of ports only one is there.
bool answers(const VgaState& s, u64 offset) {
  const bool monochrome_block = offset < 0x10, color_block = offset >= 0x20;
  const bool color = (s.miscellaneous & kMiscColor) != 0;
  return !(monochrome_block && color) && !(color_block && !color);
}

}  // namespace

u8 read_port(VgaState& s, u64 offset, u64 now_ns) {
  if (!answers(s, offset)) return 0xff;
  switch (offset) {
    case 0x04:
    case 0x24:
      return s.crtc_index;
    case 0x05:
    case 0x25:
      return s.crtc[s.crtc_index & 0x1f];
    case 0x0a:
    case 0x2a:
      s.attribute_data = false;
      return status1(now_ns);
    case 0x10:
      return s.attribute_data ? 0 : s.attribute_index;
    case 0x11:
      return s.attribute[s.attribute_index & 0x1f];
    case 0x12:
      return 0;  // input status 0: no interrupt, nothing sensed
    case 0x14:
      return s.sequencer_index;
    case 0x15:
      return s.sequencer[s.sequencer_index];
    case 0x16:
      return s.dac_mask;
    case 0x17:
      return s.dac_reading ? 3 : 0;
    case 0x18:
      return s.dac_index;
    case 0x19:
      return read_dac(s);
    case 0x1a:
      return s.feature;
    case 0x1c:
      return s.miscellaneous;
    case 0x1e:
      return s.graphics_index;
    case 0x1f:
      return s.graphics[s.graphics_index];
    default:
      return 0xff;
  }
}

void write_port(VgaState& s, u64 offset, u8 value, bool wide_dac) {
  if (!answers(s, offset)) return;
  switch (offset) {
    case 0x04:
    case 0x24:
      s.crtc_index = value & 0x1f;
      break;
    case 0x05:
    case 0x25:
      write_crtc(s, value);
      break;
    case 0x0a:
    case 0x2a:
      s.feature = value & 0x03;
      break;
    case 0x10:
      write_attribute(s, value);
      break;
    case 0x12:
      s.miscellaneous = value & 0xef;
      break;
    case 0x14:
      s.sequencer_index = value & 0x07;
      break;
    case 0x15:
      s.sequencer[s.sequencer_index] = value & kSequencerBits[s.sequencer_index];
      break;
    case 0x16:
      s.dac_mask = value;
      break;
    case 0x17:
    case 0x18:
      s.dac_index = value;
      s.dac_component = 0;
      s.dac_reading = offset == 0x17;
      break;
    case 0x19:
      write_dac(s, wide_dac ? value : value & 0x3f);
      break;
    case 0x1e:
      s.graphics_index = value & 0x0f;
      break;
    case 0x1f:
      s.graphics[s.graphics_index] = value & kGraphicsBits[s.graphics_index];
      break;
    default:
      break;
  }
}

void sanitise(VgaState& s) {
  s.sequencer_index &= 0x07;
  s.graphics_index &= 0x0f;
  s.attribute_index &= 0x3f;
  s.crtc_index &= 0x1f;
  if (s.dac_component > 2) s.dac_component = 0;
}

}  // namespace vellum::vga
