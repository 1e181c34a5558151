#include "machine/pci_root.hpp"

#include "boot/memory_map.hpp"
#include "devices/pci/firmware.hpp"

namespace vellum {

static_assert(pci::Bus::kFirstGsi == layout::kPciGsi);
static_assert(pci::pirq_of(3, 2) == layout::pci_wire(3, 1));

Result<PciRoot> make_pci_root(DeviceSet& devices, AddressSpace& space, ApicBus& msi, GsiRouter& router,
                              AcpiPm& pm, ResetPort& reset, StateQueue& states) {
  auto& bus = devices.make<pci::Bus>(space, msi);
  auto& host = devices.make<pci::I440Fx>(bus, states.next<pci::I440Fx::State>());
  auto& isa = devices.make<pci::Piix3>(bus, router, states.next<pci::Piix3::State>());
  auto& power = devices.make<pci::Piix4Pm>(bus, pm, AcpiPm::kPortCount, states.next<pci::Piix4Pm::State>());
  bus.connect(isa);
  bus.add(pci::devfn(pci::I440Fx::kDevice, 0), host);
  bus.add(pci::devfn(pci::Piix3::kDevice, 0), isa);
  bus.add(pci::devfn(pci::Piix3::kDevice, pci::Piix4Pm::kFunction), power);
  auto& ports = devices.make<pci::ConfigPorts>(bus, reset, states.next<pci::ConfigPorts::State>());
  VELLUM_TRY(space.ports.add(pci::ConfigPorts::kPort, pci::ConfigPorts::kPortCount, ports, "pci-config"));
  return PciRoot{&bus, &host, &isa, &power};
}

Result<> PciRoot::start_like_firmware(u64 ram_size) const {
  const auto windows = layout::pci_windows(ram_size);
  host->open_all_segments();
  pm->set_base(layout::kPm1aEvent);
  return pci::assign_resources(*bus, {layout::kPciBars.value, layout::kPciMemoryEnd.value, windows.high_start,
                                      layout::kPciHighEnd, layout::kPciPorts, 0x10000});
}

Result<u8> PciRoot::free_slot() const {
  if (const auto device = bus->free_device(kFirstFreeDevice)) return pci::devfn(*device, 0);
  return fail(ErrorCode::kInvalidArgument, "the PCI bus has room for 29 devices; use fewer");
}

}  // namespace vellum
