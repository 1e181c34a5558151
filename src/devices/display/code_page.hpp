// Code page 437, the characters of the PC's text modes.
#pragma once

#include <string>

#include "base/int.hpp"

namespace vellum::vga {

std::string utf8_of_437(u8 character);

}  // namespace vellum::vga
