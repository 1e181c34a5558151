// What a monitor would show: a picture from the adapter's registers and memory, and the text of a text mode.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "devices/display/dispi.hpp"
#include "devices/display/vga_state.hpp"

namespace vellum::vga {

struct Screen {
  unsigned width = 0, height = 0;
  std::vector<u8> rgb;  ///< 3 bytes each, lines from the top, no padding
};

/// What to draw. `memory`: as the window's; its bytes may change meanwhile. The registers are untrusted, but
/// for `dispi`, which fits the memory.
struct Source {
  const VgaState& vga;
  const Dispi& dispi;
  std::span<const u8> memory;
};

Screen draw(const Source& source);

/// The lines of a text mode in UTF-8, each ended, without spaces at their ends; nothing in a graphics mode.
std::string text_of(const Source& source);

}  // namespace vellum::vga
