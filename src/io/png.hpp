// Writes pictures as PNG (RFC 2083): 8 bits each of red, green, blue.
#pragma once

#include <span>
#include <vector>

#include "base/int.hpp"

namespace vellum {

/// `rgb`: `width` × `height` × 3 bytes, lines from the top; neither is 0.
std::vector<u8> png_of(unsigned width, unsigned height, std::span<const u8> rgb);

}  // namespace vellum
