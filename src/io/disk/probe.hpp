// What a file is, by its first bytes.
#pragma once

#include <span>
#include <string_view>

#include "base/int.hpp"

namespace vellum {

/// "qcow2", the name of a format that Vellum does not read ("vmdk", "vdi", "vhdx", "vpc", "qed", "qcow",
/// "luks", "parallels"), or "raw" if nothing is recognised. GUEST-CONTROLLED: any bytes.
std::string_view probe_format(std::span<const u8> first_sector);

}  // namespace vellum
