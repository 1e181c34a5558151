#include "machine/kernel_apic.hpp"

#include <spdlog/spdlog.h>

#include "base/assert.hpp"

namespace vellum {

KernelApics::KernelApics(kvm::Vm& vm, ApicBus& bus) : vm_(vm), bus_(bus), routes_(vm, bus) {
  bus.attach(*this);
  vm.set_eoi_sink(*this);
}

void KernelApics::add(Hazards& hazards) {
  vcpus_.push_back(&hazards);
  if (lint0()) hazards.set(Hazards::kInterrupt);
}

// GUEST-CONTROLLED: all of the message, through redirection entries and MSI-X tables.
bool KernelApics::post(const ApicMessage& message) {
  switch (message.mode) {
    case DeliveryMode::kSmi:  // this processor has no system-management mode
    case DeliveryMode::kReserved:
    case DeliveryMode::kExtInt:  // KVM takes one from LINT0 only
      return false;
    default:
      messages_.add();
      return vm_.deliver(kernel_message_of(message)) > 0;
  }
}

void KernelApics::pin_programmed(unsigned pin, const ApicMessage& message) {
  VELLUM_ASSERT(pin < kvm::kIoApicPins, "I/O APIC input {}", pin);
  // Edges have no EOI, so that changes of theirs cost nothing.
  routes_.set(pin, message.level_triggered ? kernel_message_of(message) : kvm::Message{});
}

void KernelApics::set_lint0(bool asserted) {
  lint0_.store(asserted, std::memory_order_release);
  for (Hazards* vcpu : vcpus_) {
    if (asserted) {
      vcpu->set(Hazards::kInterrupt);
    } else {
      vcpu->clear(Hazards::kInterrupt);
    }
  }
}

void KernelApics::stats(std::vector<StatRow>& rows) const {
  if (messages_.get() != 0) rows.push_back({"local apics (kernel)", "messages", messages_.get(), 0});
  routes_.stats(rows);
}

int KernelApic::acknowledge_interrupt() {
  return all_.lint0() ? pic_.acknowledge() : -1;
}

Result<LocalApic::State> KernelApic::state() const {
  VELLUM_TRY_ASSIGN(kernel, engine_->apic());
  ApicImage image;
  image.base = kernel.base;
  image.registers = kernel.registers;
  image.tsc_deadline = kernel.tsc_deadline;
  LocalApic::State pins;
  pins.lint[0] = all_.lint0();
  return state_of(image, pins, clock_.now_ns());
}

Result<> KernelApic::set(const LocalApic::State& state) {
  const ApicImage image = image_of(state, id_, clock_.now_ns());
  kvm::KernelApicState kernel{image.base, image.registers, image.tsc_deadline};
  // The kernel's page is not quite the manual's: without KVM_CAP_X2APIC_API, which we do not ask for, the id
  // stands as in xAPIC mode in x2APIC mode, too.
  kernel.registers[apic::kId] = id_ << 24;
  return engine_->set_apic(kernel);
}

Result<> KernelApic::connect(kvm::KvmEngine& engine) {
  engine_ = &engine;
  return set(start_);
}

Result<> KernelApic::enter_virtual_wire_mode() {
  VELLUM_TRY_ASSIGN(now, state());
  LocalApic::set_virtual_wire_mode(now);
  return set(now);
}

SavedState KernelApic::save() const {
  auto now = state();
  if (now) return encode_state(*now);
  // Unheard of. The engine's next entry fails as well, and says so.
  spdlog::error("{}", now.error().message);
  return encode_state(start_);
}

}  // namespace vellum
