// The Intel MultiProcessor Specification 1.4's tables, for kernels that are older than ACPI or boot with
// acpi=off.
#pragma once

#include <vector>

#include "boot/firmware_tables.hpp"

namespace vellum {

/// The floating pointer structure and the configuration table behind it, as they lie from `base` (16-byte
/// aligned) on. Processors with ids above 254 need ACPI and are left out.
std::vector<u8> build_mp_table(GuestPhys base, const FirmwareConfig& config);

}  // namespace vellum
