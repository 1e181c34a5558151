// The PCI part of the board: bus, host bridge, ISA bridge, power management, configuration ports.
#pragma once

#include "devices/legacy/acpi_pm.hpp"
#include "devices/legacy/misc_ports.hpp"
#include "devices/pci/i440fx.hpp"
#include "devices/pci/piix.hpp"
#include "machine/device_set.hpp"

namespace vellum {

/// All owned by the board's DeviceSet.
struct PciRoot {
  /// Devices 0 and 1 are the bridges, 2 is where a display adapter goes, as on QEMU's board.
  static constexpr unsigned kFirstFreeDevice = 3;

  pci::Bus* bus;
  pci::I440Fx* host;
  pci::Piix3* isa;
  pci::Piix4Pm* pm;

  /// For a kernel that is started without firmware.
  Result<> start_like_firmware(u64 ram_size) const;
  /// The lowest device number for a device of the user's. Fails when all are taken.
  Result<u8> free_slot() const;
};

Result<PciRoot> make_pci_root(DeviceSet& devices, AddressSpace& space, ApicBus& msi, GsiRouter& router,
                              AcpiPm& pm, ResetPort& reset, StateQueue& states);

}  // namespace vellum
