// The keyboard controller's translation of scan code set 2 into set 1 (IBM PS/2 Hardware Interface Technical
// Reference, "Scan code tables").
#pragma once

#include "base/int.hpp"

namespace vellum {

/// The set 1 make code of a set 2 code. Codes from 0x80 on (prefixes, answers of the keyboard) pass as they
/// are, but for 0x83 and 0x84.
u8 set1_of_set2(u8 code);

}  // namespace vellum
