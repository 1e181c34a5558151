// The ACPI tables as files for firmware that places them itself, with the script that says how: QEMU's
// etc/table-loader (the structure is described in SeaBIOS' and EDK II's sources, which interpret it).
//
//   etc/acpi/tables   everything but the RSDP; pointers hold offsets into this file, checksums 0
//   etc/acpi/rsdp     likewise
//   etc/table-loader  commands of 128 bytes: allocate, add a file's address to a pointer, sum up
#pragma once

#include <vector>

#include "boot/firmware_tables.hpp"

namespace vellum {

struct AcpiFiles {
  std::vector<u8> tables, rsdp, script;
};

AcpiFiles build_acpi_files(const FirmwareConfig& config);

}  // namespace vellum
