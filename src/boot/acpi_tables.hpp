// ACPI tables (ACPI Specification 6.4, ch. 5): RSDP, RSDT and XSDT, FADT, FACS, MADT, and the DSDT that is
// compiled from dsdt.asl. No hardware-reduced ACPI: kernels of any age find the fixed power-management
// registers.
#pragma once

#include <span>
#include <vector>

#include "boot/firmware_tables.hpp"

namespace vellum {

/// All tables as they lie in memory from `base` (64-byte aligned) on, the RSDP first.
std::vector<u8> build_acpi_tables(GuestPhys base, const FirmwareConfig& config);

/// The compiled DSDTs, header included: of the board with PCI, and of the one without.
std::span<const u8> dsdt_pc_bytes();
std::span<const u8> dsdt_micro_bytes();

}  // namespace vellum
