// The VGA's ports, 0x3b0 to 0x3df, as functions over its state (IBM PS/2 Hardware Interface Technical
// Reference, "Video Subsystem"):
//
//   3b4/3b5, 3d4/3d5  CRT controller, index and data; at 3b or 3d as the miscellaneous register's bit 0 says
//   3ba, 3da          input status 1 (its reading makes 3c0 expect an index), feature control
//   3c0, 3c1          attribute controller        3c6..3c9  DAC
//   3c2, 3cc          miscellaneous output        3ce, 3cf  graphics controller
//   3c4, 3c5          sequencer
#pragma once

#include "devices/display/vga_state.hpp"

namespace vellum::vga {

inline constexpr u64 kPort = 0x3b0, kPortCount = 0x30;

/// `offset`: from kPort. `now_ns`: the beam's position depends on it. A port where nothing answers: 0xff.
u8 read_port(VgaState& state, u64 offset, u64 now_ns);
/// GUEST-CONTROLLED: `value`. `wide_dac`: the DAC takes 8 bits of each colour.
void write_port(VgaState& state, u64 offset, u8 value, bool wide_dac);

/// What a damaged saved state may not have: indices beyond what they index.
void sanitise(VgaState& state);

}  // namespace vellum::vga
