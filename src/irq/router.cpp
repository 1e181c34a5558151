#include "irq/router.hpp"

#include "base/assert.hpp"

namespace vellum {

GsiRouter::GsiRouter(Pic& pic, IoApic& ioapic, ApicBus& bus)
    : pic_(pic), ioapic_(ioapic), intr_(bus, ioapic) {
  pic_.connect(intr_);
}

void GsiRouter::Intr::set(bool asserted) {
  bus_.lint0().set(asserted);
  ioapic_.set_pin(0, asserted);
}

InterruptLine& GsiRouter::isa_line(unsigned irq) {
  VELLUM_ASSERT(irq < 16 && irq != Pic::kCascadeInput, "ISA IRQ {}", irq);
  return add_wire(irq);
}

InterruptLine& GsiRouter::gsi_line(unsigned gsi) {
  VELLUM_ASSERT(gsi >= 16 && gsi < IoApic::kPins, "GSI {}", gsi);
  return add_wire(gsi);
}

InterruptLine& GsiRouter::add_wire(unsigned number) {
  std::scoped_lock lock(mutex_);
  wires_.push_back(std::make_unique<Wire>(*this, number));
  return *wires_.back();
}

void GsiRouter::set(Wire& wire, bool asserted) {
  std::scoped_lock lock(mutex_);  // held to the end: controllers must see the levels in this order
  if (wire.asserted_ == asserted) return;
  wire.asserted_ = asserted;
  unsigned& count = asserting_[wire.number_];
  count = asserted ? count + 1 : count - 1;
  if (count != (asserted ? 1u : 0u)) return;
  if (wire.number_ < 16) pic_.set_irq(wire.number_, asserted);
  ioapic_.set_pin(wire.number_ == 0 ? 2 : wire.number_, asserted);
}

}  // namespace vellum
