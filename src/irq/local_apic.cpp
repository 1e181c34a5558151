#include "irq/local_apic.hpp"

#include <bit>

#include "base/address.hpp"

namespace vellum {
namespace {

using namespace apic;

bool test(const LocalApic::Words& words, u8 vector) {
  return (words[vector >> 5] >> (vector & 31) & 1) != 0;
}
void set(LocalApic::Words& words, u8 vector) {
  words[vector >> 5] |= 1u << (vector & 31);
}
void clear(LocalApic::Words& words, u8 vector) {
  words[vector >> 5] &= ~(1u << (vector & 31));
}

/// The highest vector in the set, or -1.
int highest(const LocalApic::Words& words) {
  for (int i = 7; i >= 0; --i)
    if (words[i] != 0) return i * 32 + 31 - std::countl_zero(words[i]);
  return -1;
}

}  // namespace

LocalApic::LocalApic(u32 id, Clock& clock, ApicBus& bus, ApicHost& host, ExtIntSource* ext_int,
                     unsigned physical_bits, const State& state)
    : id_(id),
      bus_(bus),
      host_(host),
      ext_int_(ext_int),
      base_address_mask_(low_mask(physical_bits) & ~kPageMask),
      state_(state),
      timer_(
          clock, [this] { on_timer(); }, state.timer) {
  bus_.attach(*this);
  std::scoped_lock lock(mutex_);
  update_page();
  sync_timer();
  rearm_timer();
  update_pending();
}

LocalApic::Mode LocalApic::mode() const {
  if ((state_.base & base_msr::kEnable) == 0) return Mode::kDisabled;
  return (state_.base & base_msr::kX2apic) != 0 ? Mode::kX2apic : Mode::kXapic;
}

void LocalApic::update_page() {
  page_.store(mode() == Mode::kXapic ? state_.base & base_address_mask_ : ~u64{0}, std::memory_order_relaxed);
}

// ---- Delivery to the core ----

u8 LocalApic::ppr() const {
  // §11.8.3.1: the higher of TPR and the class of the highest interrupt in service.
  const int in_service = highest(state_.isr);
  const unsigned service_class = in_service < 0 ? 0 : static_cast<unsigned>(in_service) & 0xf0;
  return static_cast<u8>((state_.tpr & 0xf0u) >= service_class ? state_.tpr : service_class);
}

bool LocalApic::ext_int_deliverable() const {
  if (ext_int_ == nullptr) return false;
  if (mode() == Mode::kDisabled) return state_.lint[0];  // LINT0 is the INTR pin (§11.4.3)
  if (state_.ext_int) return true;
  const u32 entry = lvt(kLvtLint0);
  return state_.lint[0] && (entry & lvt::kMasked) == 0 &&
         static_cast<DeliveryMode>((entry & lvt::kMode) >> lvt::kModeShift) == DeliveryMode::kExtInt;
}

void LocalApic::update_pending() {
  const int requested = mode() == Mode::kDisabled ? -1 : highest(state_.irr);
  const bool pending = (requested >= 0 && requested >> 4 > ppr() >> 4) || ext_int_deliverable();
  if (pending == pending_) return;
  pending_ = pending;
  host_.interrupt_pending(pending);
}

int LocalApic::acknowledge() {
  {
    std::scoped_lock lock(mutex_);
    if (!ext_int_deliverable()) {
      const int vector = mode() == Mode::kDisabled ? -1 : highest(state_.irr);
      if (vector < 0 || vector >> 4 <= ppr() >> 4) {
        update_pending();
        return -1;
      }
      clear(state_.irr, static_cast<u8>(vector));
      set(state_.isr, static_cast<u8>(vector));
      delivered_.add();
      update_pending();
      return vector;
    }
    state_.ext_int = false;
    ext_ints_.add();
    update_pending();
  }
  // The 8259 lowers INTR from inside its acknowledge(), which comes back to set_lint(). If its request went
  // away in the meantime it answers with its spurious vector, as the chip does.
  return ext_int_->acknowledge();
}

// ---- Messages ----

u32 LocalApic::logical_id() const {
  // In x2APIC mode LDR is derived: cluster in the high half, one bit in the low half (§11.12.10.2).
  return mode() == Mode::kX2apic ? (id_ >> 4) << 16 | 1u << (id_ & 15) : state_.ldr;
}

bool LocalApic::matches(const ApicMessage& m) const {
  if (mode() == Mode::kDisabled) return false;
  if (m.broadcast()) return true;
  if (!m.logical) return m.destination == id_;
  const u32 ldr = logical_id();
  if (mode() == Mode::kX2apic) return (m.destination ^ ldr) >> 16 == 0 && (m.destination & ldr & 0xffff) != 0;
  if (m.destination > 0xff) return false;
  const u32 own = ldr >> 24;
  if (state_.dfr >> 28 == 0xf) return (own & m.destination) != 0;  // flat model
  return (own ^ m.destination) >> 4 == 0 && (own & m.destination & 0xf) != 0;
}

bool LocalApic::receive(const ApicMessage& message) {
  std::scoped_lock lock(mutex_);
  return matches(message) && accept(message);
}

bool LocalApic::receive_unaddressed(const ApicMessage& message) {
  std::scoped_lock lock(mutex_);
  return mode() != Mode::kDisabled && accept(message);
}

std::optional<u8> LocalApic::arbitration_priority(const ApicMessage& message) const {
  std::scoped_lock lock(mutex_);
  if (!matches(message) || !software_enabled()) return std::nullopt;
  return ppr();
}

bool LocalApic::accept(const ApicMessage& m) {
  switch (m.mode) {
    case DeliveryMode::kFixed:
    case DeliveryMode::kLowestPriority:
      return accept_vector(m.vector, m.level_triggered);
    case DeliveryMode::kNmi:
      nmis_.add();
      host_.nmi();
      return true;
    case DeliveryMode::kInit:
      reset_registers();  // the id and IA32_APIC_BASE stay (§11.4.7.3, §11.12.5.1)
      update_pending();
      host_.init();
      return true;
    case DeliveryMode::kStartup:
      host_.sipi(m.vector);
      return true;
    case DeliveryMode::kExtInt:
      if (!software_enabled()) return false;
      state_.ext_int = true;
      update_pending();
      return true;
    case DeliveryMode::kSmi:  // this processor has no system-management mode
    case DeliveryMode::kReserved:
      return false;
  }
  return false;
}

bool LocalApic::accept_vector(u8 vector, bool level_triggered) {
  if (!software_enabled()) return false;  // §11.4.7.2
  if (vector < 16) {
    raise_error(esr::kReceiveIllegalVector);
    return false;
  }
  set(state_.irr, vector);
  if (level_triggered) {
    set(state_.tmr, vector);
  } else {
    clear(state_.tmr, vector);
  }
  update_pending();
  return true;
}

void LocalApic::raise_error(u32 esr_bit) {
  const bool was_pending = (state_.esr_pending & esr_bit) != 0;
  state_.esr_pending |= esr_bit;
  // One interrupt an error kind until software clears it; and no error about the error's own vector.
  if (!was_pending && (lvt(kLvtError) & lvt::kVector) >= 16) deliver_lvt(kLvtError);
}

void LocalApic::deliver_lvt(Register entry) {
  const u32 value = lvt(entry);
  if ((value & lvt::kMasked) != 0) return;
  const auto vector = static_cast<u8>(value & lvt::kVector);
  const bool has_mode = entry != kLvtTimer && entry != kLvtError;
  switch (has_mode ? static_cast<DeliveryMode>((value & lvt::kMode) >> lvt::kModeShift)
                   : DeliveryMode::kFixed) {
    case DeliveryMode::kFixed: {
      // LINT1 has no level mode (§11.5.1); LINT0's waits for the EOI of the last one.
      const bool level = entry == kLvtLint0 && (value & lvt::kLevel) != 0;
      if (level && (value & lvt::kRemoteIrr) != 0) return;
      if (accept_vector(vector, level) && level) lvt(entry) |= lvt::kRemoteIrr;
      return;
    }
    case DeliveryMode::kNmi:
      nmis_.add();
      host_.nmi();
      return;
    case DeliveryMode::kInit:
      reset_registers();
      update_pending();
      host_.init();
      return;
    default:
      return;  // ExtINT follows the pin's level (ext_int_deliverable); SMI and reserved modes do nothing
  }
}

void LocalApic::set_lint(unsigned pin, bool level) {
  std::scoped_lock lock(mutex_);
  if (state_.lint[pin] == level) return;
  state_.lint[pin] = level;
  lint_changed(pin, level);
}

void LocalApic::lint_changed(unsigned pin, bool rising) {
  if (mode() == Mode::kDisabled) {
    if (pin == 1 && rising) {  // LINT1 is the NMI pin
      nmis_.add();
      host_.nmi();
    }
  } else if (rising) {
    deliver_lvt(pin == 0 ? kLvtLint0 : kLvtLint1);
  }
  update_pending();
}

void LocalApic::end_of_interrupt(Outgoing& out) {
  const int in_service = highest(state_.isr);
  if (in_service < 0) return;
  const auto vector = static_cast<u8>(in_service);
  clear(state_.isr, vector);
  if (test(state_.tmr, vector)) {
    out.eoi = vector;
    u32& lint0 = lvt(kLvtLint0);
    if ((lint0 & lvt::kRemoteIrr) != 0 && (lint0 & lvt::kVector) == vector) {
      lint0 &= ~lvt::kRemoteIrr;
      if (state_.lint[0]) deliver_lvt(kLvtLint0);
    }
  }
  update_pending();
}

void LocalApic::send(const Outgoing& out) {
  if (out.eoi) bus_.broadcast_eoi(*out.eoi);
  if (!out.ipi) return;
  ipis_sent_.add();
  switch (out.shorthand) {
    case icr::kNoShorthand:
      bus_.post(*out.ipi);
      break;
    case icr::kSelf:
      receive_unaddressed(*out.ipi);
      break;
    case icr::kAll:
      bus_.post_to_all(*out.ipi, nullptr);
      break;
    case icr::kOthers:
      bus_.post_to_all(*out.ipi, this);
      break;
  }
}

// ---- Reset ----

void LocalApic::reset_registers() {
  const State old = state_;
  state_ = State{};
  state_.base = old.base;
  state_.lint = old.lint;
  timer_.reset();
  rearm_timer();
}

void LocalApic::reset() {
  std::scoped_lock lock(mutex_);
  reset_registers();
  state_.base = base_msr::kDefaultAddress | base_msr::kEnable | (state_.base & base_msr::kBsp);
  update_page();
  pending_ = true;  // whatever the core's word held: say it again
  update_pending();
}

void LocalApic::enter_virtual_wire_mode() {
  std::scoped_lock lock(mutex_);
  set_virtual_wire_mode(state_);
  update_pending();
}

void LocalApic::set_virtual_wire_mode(State& state) {
  state.svr = svr::kEnable | 0xff;
  state.lvt[kLvtLint0 - kLvtTimer] = static_cast<u32>(DeliveryMode::kExtInt) << lvt::kModeShift;
  state.lvt[kLvtLint1 - kLvtTimer] = static_cast<u32>(DeliveryMode::kNmi) << lvt::kModeShift;
}

SavedState LocalApic::save() const {
  std::scoped_lock lock(mutex_);
  State state = state_;
  state.timer = timer_.state();
  return encode_state(state);
}

void LocalApic::stats(std::vector<StatRow>& rows) const {
  const std::string group = "local apic " + std::to_string(id_);
  const auto row = [&](const char* name, const Counter& counter) {
    if (counter.get() != 0) rows.push_back({group, name, counter.get(), 0});
  };
  row("interrupts", delivered_);
  row("external interrupts", ext_ints_);
  row("NMIs", nmis_);
  row("timer expiries", timer_expiries_);
  row("IPIs sent", ipis_sent_);
}

}  // namespace vellum
