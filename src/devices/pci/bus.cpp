#include "devices/pci/bus.hpp"

#include "base/assert.hpp"

namespace vellum::pci {

Bus::Bus(AddressSpace& space, MsiSink& msi) : space_(space), msi_(msi) {
  space.mmio.set_fallback(memory_);
  space.ports.set_fallback(ports_);
}

void Bus::add(u8 devfn, Function& function) {
  VELLUM_ASSERT(functions_[devfn] == nullptr, "{} and {} in slot {:02x}.{}", functions_[devfn]->name(),
                function.name(), devfn >> 3, devfn & 7);
  functions_[devfn] = &function;
  std::scoped_lock lock(function.config_mutex_);
  function.devfn_ = devfn;
  function.attached_ = true;
  function.config_written(0, kConfigSize);
  function.update_bars();
  function.update_interrupt();
  function.update_msix();
}

std::optional<unsigned> Bus::free_device(unsigned from) const {
  for (unsigned device = from; device < 32; ++device)
    if (functions_[pci::devfn(device, 0)] == nullptr) return device;
  return std::nullopt;
}

u32 Bus::read_config(unsigned bus, u8 devfn, unsigned offset, unsigned size) {
  Function* function = bus == 0 ? functions_[devfn] : nullptr;
  if (function == nullptr || offset + size > kConfigSize) return static_cast<u32>(low_mask(8 * size));
  return function->read_config(offset, size);
}

void Bus::write_config(unsigned bus, u8 devfn, unsigned offset, unsigned size, u32 value) {
  Function* function = bus == 0 ? functions_[devfn] : nullptr;
  if (function == nullptr || offset + size > kConfigSize) return;
  function->write_config(offset, size, value);
}

void Bus::set_interrupt(u8 devfn, unsigned pin, bool asserted) {
  const unsigned pirq = pirq_of(devfn >> 3, pin);
  std::scoped_lock lock(interrupt_mutex_);  // held to the end: the bridge must see the levels in this order
  unsigned& count = asserting_[pirq];
  count = asserted ? count + 1 : count - 1;
  if (pirq_sink_ != nullptr && count == (asserted ? 1u : 0u)) pirq_sink_->set_pirq(pirq, asserted);
}

void Bus::stats(std::vector<StatRow>& rows) const {
  memory_.stats(rows);
  ports_.stats(rows);
}

}  // namespace vellum::pci
