// The VGA's window at 0xa0000 and what lies between it and the display memory: planes, latches, write modes
// (IBM PS/2 Hardware Interface Technical Reference, "Graphics Controller Registers").
//
// The four planes are interleaved: byte n of plane p is byte 4n + p of the memory; with chain 4, and for who
// reaches it otherwise, it is linear.
#pragma once

#include <span>

#include "devices/display/vga_state.hpp"

namespace vellum::vga {

inline constexpr u64 kWindow = 0xa0000, kWindowSize = 0x20000;

/// `memory`: its size is a power of two, at least 256 KiB; it is shared with whoever has it mapped. `bank`:
/// of 64 KiB, for the 64 KiB window. GUEST-CONTROLLED: `offset` (below kWindowSize), `value`.
u8 read_window(VgaState& state, std::span<u8> memory, u32 bank, u64 offset);
void write_window(VgaState& state, std::span<u8> memory, u32 bank, u64 offset, u8 value);

}  // namespace vellum::vga
