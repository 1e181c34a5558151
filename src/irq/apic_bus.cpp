#include "irq/apic_bus.hpp"

#include <algorithm>

#include "irq/local_apic.hpp"
#include "irq/msi.hpp"

namespace vellum {

void ApicBus::attach(LocalApic& apic) {
  const auto at = std::lower_bound(apics_.begin(), apics_.end(), apic.id(),
                                   [](const LocalApic* a, u32 id) { return a->id() < id; });
  apics_.insert(at, &apic);
}

void ApicBus::attach(EoiListener& listener) {
  if (std::ranges::find(listeners_, &listener) == listeners_.end()) listeners_.push_back(&listener);
}

bool ApicBus::post(const ApicMessage& message) {
  if (remote_ != nullptr) return remote_->post(message);
  if (message.mode == DeliveryMode::kLowestPriority) return post_lowest_priority(message);
  if (!message.logical && !message.broadcast()) {
    const auto at = std::lower_bound(apics_.begin(), apics_.end(), message.destination,
                                     [](const LocalApic* a, u32 id) { return a->id() < id; });
    return at != apics_.end() && (*at)->receive(message);
  }
  bool accepted = false;
  for (LocalApic* apic : apics_) accepted |= apic->receive(message);
  return accepted;
}

void ApicBus::post_to_all(const ApicMessage& message, const LocalApic* except) {
  if (message.mode == DeliveryMode::kLowestPriority) {
    // "All excluding self" with lowest priority is a broadcast that the chipset redirects, and may come back
    // to the sender (SDM vol. 3A table 11-3, note 1).
    ApicMessage broadcast = message;
    broadcast.wide = true;
    broadcast.logical = false;
    broadcast.destination = ~0u;
    post_lowest_priority(broadcast);
    return;
  }
  for (LocalApic* apic : apics_)
    if (apic != except) apic->receive_unaddressed(message);
}

// The processor with the lowest priority takes it; among equals the vector decides, which spreads devices
// over processors and keeps one device on one processor.
bool ApicBus::post_lowest_priority(const ApicMessage& message) {
  unsigned best_priority = 0x100;
  unsigned equals = 0;
  for (LocalApic* apic : apics_) {
    const auto priority = apic->arbitration_priority(message);
    if (!priority) continue;
    if (*priority < best_priority) {
      best_priority = *priority;
      equals = 0;
    }
    if (*priority == best_priority) ++equals;
  }
  if (equals == 0) return false;
  ApicMessage fixed = message;
  fixed.mode = DeliveryMode::kFixed;
  unsigned skip = message.vector % equals;
  LocalApic* fallback = nullptr;
  for (LocalApic* apic : apics_) {
    const auto priority = apic->arbitration_priority(message);
    if (!priority) continue;
    fallback = apic;
    if (*priority == best_priority && skip-- == 0) return apic->receive(fixed);
  }
  // Priorities changed in between: any of the set will do.
  return fallback != nullptr && fallback->receive(fixed);
}

void ApicBus::deliver(const MsiMessage& message) {
  if (const auto out = apic_message_of(message)) post(*out);
}

void ApicBus::broadcast_eoi(u8 vector) {
  for (EoiListener* listener : listeners_) listener->end_of_interrupt(vector);
}

void ApicBus::Lint::set(bool asserted) {
  if (bus_.remote_ != nullptr && pin_ == 0) return bus_.remote_->set_lint0(asserted);
  for (LocalApic* apic : bus_.apics_) apic->set_lint(pin_, asserted);
}

}  // namespace vellum
