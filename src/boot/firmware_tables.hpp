// What firmware leaves in memory for an operating system: the BIOS data area, ACPI tables and the MP table.
#pragma once

#include <array>

#include "boot/memory_map.hpp"

namespace vellum {

struct FirmwareConfig {
  u32 cpu_count = 1;  ///< processors' APIC ids are 0 to cpu_count - 1; the first is the bootstrap processor
  u32 cpu_signature = 0;              ///< CPUID.1:EAX, for the MP table
  u32 cpu_features = 0;               ///< CPUID.1:EDX, likewise
  bool pci = false;                   ///< the board has a PCI bus
  u64 ram_size = 0;                   ///< bytes; decides where PCI memory is
  unsigned virtio_mmio = 0;           ///< virtio devices of a board without PCI
  bool display = false;               ///< there is a VGA
  std::array<u8, 2> floppy_drives{};  ///< with PCI: their types, as in CMOS RAM; 0: none
  u16 pm_base = layout::kPm1aEvent;   ///< where ACPI's registers are: the PIIX4's PMBASE
};

/// Writes all of them (layout::kBiosDataArea, kEbda, kAcpiTables, kMpTable) and returns where the RSDP is.
/// Fails with kInvalidArgument when there is less than 1 MiB of RAM or the tables for so many processors
/// don't fit.
Result<GuestPhys> write_firmware_tables(GuestRam& ram, const FirmwareConfig& config);

}  // namespace vellum
