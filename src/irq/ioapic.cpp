#include "irq/ioapic.hpp"

#include "base/bits.hpp"

namespace vellum {
namespace {

constexpr u8 kRegId = 0x00, kRegVersion = 0x01, kRegArbitration = 0x02, kRegRedirection = 0x10;
constexpr u32 kVersionValue = 0x20 | (IoApic::kPins - 1) << 16;

// A redirection entry:  63    56        16   15      14    13       12     11      10  8 7   0
//                      | dest   |      |mask|level|rem.IRR|polarity|status|logical| mode |vector|
constexpr u64 kLogical = bit(11), kActiveLow = bit(13), kRemoteIrr = bit(14), kLevel = bit(15),
              kMasked = bit(16);
constexpr u64 kWritable = 0xff | u64{7} << 8 | kLogical | kActiveLow | kLevel | kMasked | u64{0xff} << 56;

constexpr DeliveryMode mode_of(u64 entry) {
  return static_cast<DeliveryMode>(bits(entry, 10, 8));
}

ApicMessage message_of(u64 entry) {
  ApicMessage m;
  m.destination = static_cast<u32>(bits(entry, 63, 56));
  m.logical = (entry & kLogical) != 0;
  m.mode = mode_of(entry);
  m.vector = static_cast<u8>(entry);
  // Only fixed and lowest-priority interrupts can be levels: the others have no EOI (82093AA §3.2.4).
  m.level_triggered =
      (entry & kLevel) != 0 && (m.mode == DeliveryMode::kFixed || m.mode == DeliveryMode::kLowestPriority);
  return m;
}

}  // namespace

IoApic::IoApic(ApicBus& bus, u32 active_low_pins, const State& state)
    : bus_(bus), active_low_pins_(active_low_pins), state_(state) {
  for (u64& entry : state_.redirection) entry &= kWritable | kRemoteIrr;
  state_.id &= 0xf;
  bus_.attach(*this);
  for (unsigned pin = 0; pin < kPins; ++pin) bus_.pin_programmed(pin, message_of(state_.redirection[pin]));
}

bool IoApic::active(unsigned pin) const {
  const bool asserted = (state_.asserted >> pin & 1) != 0;
  const bool wired_low = (active_low_pins_ >> pin & 1) != 0;
  const bool expects_low = (state_.redirection[pin] & kActiveLow) != 0;
  return asserted != (wired_low != expects_low);
}

void IoApic::send(unsigned pin) {
  u64& entry = state_.redirection[pin];
  const ApicMessage m = message_of(entry);
  sent_[pin].add();
  if (bus_.post(m) && m.level_triggered) entry |= kRemoteIrr;
}

void IoApic::service_level(unsigned pin) {
  const u64 entry = state_.redirection[pin];
  if ((entry & kLevel) == 0 || (entry & (kMasked | kRemoteIrr)) != 0 || !active(pin)) return;
  send(pin);
}

void IoApic::set_pin(unsigned pin, bool asserted) {
  if (pin >= kPins) return;
  std::scoped_lock lock(mutex_);
  const bool was_active = active(pin);
  state_.asserted = asserted ? state_.asserted | 1u << pin : state_.asserted & ~(1u << pin);
  if (was_active || !active(pin)) return;
  const u64 entry = state_.redirection[pin];
  // An edge on a masked input is neither delivered nor held (82093AA §3.2.4).
  if ((entry & kMasked) != 0) return;
  if ((entry & kLevel) == 0) {
    send(pin);
  } else {
    service_level(pin);
  }
}

void IoApic::end_of_interrupt(u8 vector) {
  std::scoped_lock lock(mutex_);
  for (unsigned pin = 0; pin < kPins; ++pin) {
    u64& entry = state_.redirection[pin];
    if ((entry & kRemoteIrr) == 0 || (entry & 0xff) != vector) continue;
    entry &= ~kRemoteIrr;
    service_level(pin);
  }
}

u32 IoApic::read_register() const {
  const u8 index = state_.select;
  if (index == kRegId || index == kRegArbitration) return u32{state_.id} << 24;
  if (index == kRegVersion) return kVersionValue;
  if (index < kRegRedirection || index >= kRegRedirection + 2 * kPins) return 0;
  const u64 entry = state_.redirection[(index - kRegRedirection) / 2];
  return static_cast<u32>((index & 1) != 0 ? entry >> 32 : entry);
}

void IoApic::write_register(u32 value) {
  const u8 index = state_.select;
  if (index == kRegId) {
    state_.id = value >> 24 & 0xf;
    return;
  }
  if (index < kRegRedirection || index >= kRegRedirection + 2 * kPins) return;
  const unsigned pin = (index - kRegRedirection) / 2u;
  const u64 old = state_.redirection[pin];
  write_redirection(
      pin, (index & 1) != 0 ? (old & 0xffff'ffff) | u64{value} << 32 : (old & ~u64{0xffff'ffff}) | value);
}

void IoApic::write_redirection(unsigned pin, u64 value) {
  u64& entry = state_.redirection[pin];
  value = (value & kWritable) | (entry & kRemoteIrr);
  // Remote IRR has no meaning for edges; software relies on a change to edge and back to clear it.
  if ((value & kLevel) == 0) value &= ~kRemoteIrr;
  entry = value;
  bus_.pin_programmed(pin, message_of(entry));
  service_level(pin);
}

u64 IoApic::read(u64 offset, unsigned size) {
  std::scoped_lock lock(mutex_);
  u32 value = 0;
  if ((offset & ~u64{3}) == 0x00) {
    value = state_.select;
  } else if ((offset & ~u64{3}) == 0x10) {
    value = read_register();
  }
  return u64{value} >> (8 * (offset & 3)) & low_mask(8 * size);
}

void IoApic::write(u64 offset, unsigned size, u64 value) {
  if (offset == 0x40) return end_of_interrupt(static_cast<u8>(value));
  std::scoped_lock lock(mutex_);
  if (offset == 0x00) {
    state_.select = static_cast<u8>(value);
  } else if (offset == 0x10 && size >= 4) {  // IOWIN takes 32-bit accesses only
    write_register(static_cast<u32>(value));
  }
}

SavedState IoApic::save() const {
  std::scoped_lock lock(mutex_);
  return encode_state(state_);
}

void IoApic::stats(std::vector<StatRow>& rows) const {
  for (unsigned pin = 0; pin < kPins; ++pin)
    if (sent_[pin].get() != 0) rows.push_back({"ioapic", "pin " + std::to_string(pin), sent_[pin].get(), 0});
}

}  // namespace vellum
