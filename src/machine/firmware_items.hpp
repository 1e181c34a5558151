// What the board tells its firmware through fw_cfg: processors, memory, ACPI tables, the serial console, what
// to boot from. The names and formats are QEMU's, which SeaBIOS and OVMF know (QEMU docs/specs/fw_cfg).
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "devices/legacy/fw_cfg.hpp"
#include "memory/guest_ram.hpp"

namespace vellum {

struct FirmwareRequest {
  unsigned cpus = 1;
  bool display = false;
  std::array<u8, 2> floppy_drives{};  ///< their types, as in CMOS RAM; 0: none
  /// Open Firmware paths of what can be booted, as the functions below make them; the
  /// first is tried first.
  std::vector<std::string> boot_order = {};
  /// Where firmware has put ACPI's registers by now (nullopt: nowhere yet). Empty: they stay where they are.
  std::function<std::optional<u16>()> pm_base = {};
};

FwCfgItems firmware_items(const GuestRam& ram, const FirmwareRequest& request);

/// The path of a drive on the PIIX3's IDE controller.
std::string ide_drive_path(unsigned channel, unsigned drive);
/// The path of a virtio-blk disk in that slot of the PCI bus.
std::string virtio_disk_path(u8 devfn);
/// The path of a floppy disk drive.
std::string floppy_drive_path(unsigned drive);

}  // namespace vellum
