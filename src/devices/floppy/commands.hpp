// Which commands the controller knows.
#pragma once

#include "devices/floppy/registers.hpp"

namespace vellum::floppy {

/// GUEST-CONTROLLED: `first`, a command's first byte. How many bytes it has; an unknown one has 1.
u8 command_length(u8 first);
/// The Command without the bits that are parameters, or 0.
u8 command_of(u8 first);
/// Whether that Command has an execution phase.
bool moves_data(u8 command);

}  // namespace vellum::floppy
