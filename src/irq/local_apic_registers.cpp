// The register file of the local APIC: the xAPIC page, the x2APIC MSRs and IA32_APIC_BASE.
#include "base/address.hpp"
#include "irq/local_apic.hpp"

namespace vellum {
namespace {

using namespace apic;

inline constexpr u32 kMsrApicBase = 0x1b, kMsrTscDeadline = 0x6e0, kMsrX2apicFirst = 0x800,
                     kMsrX2apicLast = 0x8ff;

}  // namespace

// ---- The timer ----

ApicTimer::Mode LocalApic::timer_mode() const {
  return static_cast<ApicTimer::Mode>((lvt(kLvtTimer) & lvt::kTimerMode) >> lvt::kTimerModeShift);
}

void LocalApic::sync_timer() {
  if (!timer_.sync(timer_mode())) return;
  timer_expiries_.add();
  deliver_lvt(kLvtTimer);
}

void LocalApic::rearm_timer() {
  timer_.rearm(timer_mode(), (lvt(kLvtTimer) & lvt::kMasked) != 0);
}

void LocalApic::on_timer() {
  std::scoped_lock lock(mutex_);
  sync_timer();
  rearm_timer();
}

// ---- Registers common to both modes ----

u32 LocalApic::read_register(unsigned index) const {
  if (index >= kIsr && index < kIsr + 8) return state_.isr[index - kIsr];
  if (index >= kTmr && index < kTmr + 8) return state_.tmr[index - kTmr];
  if (index >= kIrr && index < kIrr + 8) return state_.irr[index - kIrr];
  if (index >= kLvtTimer && index <= kLvtError) return state_.lvt[index - kLvtTimer];
  switch (index) {
    case kId:
      return mode() == Mode::kX2apic ? id_ : id_ << 24;
    case kVersion:
      return kVersionValue;
    case kTpr:
      return state_.tpr;
    case kPpr:
      return ppr();
    case kLdr:
      return logical_id();
    case kDfr:
      return state_.dfr;
    case kSvr:
      return state_.svr;
    case kEsr:
      return state_.esr;
    case kIcrLow:
      return static_cast<u32>(state_.icr);
    case kIcrHigh:
      return static_cast<u32>(state_.icr >> 32);
    case kInitialCount:
      return timer_.initial_count();
    case kCurrentCount:
      return timer_.current_count(timer_mode());
    case kDivide:
      return timer_.divide_config();
    default:
      return 0;
  }
}

void LocalApic::write_register(unsigned index, u32 value, Outgoing& out) {
  value &= kRegisters[index].writable;
  if (index >= kLvtTimer && index <= kLvtError) return write_lvt(static_cast<Register>(index), value);
  switch (index) {
    case kTpr:
      state_.tpr = static_cast<u8>(value);
      return update_pending();
    case kEoi:
      return end_of_interrupt(out);
    case kLdr:
      state_.ldr = value;
      return;
    case kDfr:
      state_.dfr = value | kRegisters[kDfr].read_only;
      return;
    case kSvr:
      return write_svr(value);
    case kEsr:
      state_.esr = state_.esr_pending;
      state_.esr_pending = 0;
      return;
    case kIcrLow:
      return write_icr(value, out);
    case kIcrHigh:
      state_.icr = (state_.icr & 0xffff'ffff) | u64{value} << 32;
      return;
    case kInitialCount:
      sync_timer();
      timer_.set_initial_count(timer_mode(), value);
      return rearm_timer();
    case kDivide:
      sync_timer();
      timer_.set_divide_config(timer_mode(), static_cast<u8>(value));
      return rearm_timer();
    case kSelfIpi:
      out.shorthand = icr::kSelf;
      if (value < 16) return raise_error(esr::kSendIllegalVector);
      out.ipi = ApicMessage{.vector = static_cast<u8>(value)};
      return;
    default:
      return;
  }
}

void LocalApic::write_lvt(Register entry, u32 value) {
  if (!software_enabled()) value |= lvt::kMasked;  // §11.4.7.2
  if (entry == kLvtTimer) {
    sync_timer();
    const ApicTimer::Mode from = timer_mode();
    lvt(entry) = value;
    timer_.mode_changed(from, timer_mode());
    return rearm_timer();
  }
  u32 kept = lvt(entry) & lvt::kRemoteIrr;
  const bool level_fixed = (value & lvt::kLevel) != 0 && (value & lvt::kMode) == 0;
  if (!level_fixed) kept = 0;
  lvt(entry) = value | kept;
  // A level that is already there counts; an edge that came while the entry was masked is lost.
  if (entry == kLvtLint0 && state_.lint[0] && level_fixed) deliver_lvt(entry);
  update_pending();
}

void LocalApic::write_svr(u32 value) {
  state_.svr = value;
  if ((value & svr::kEnable) != 0) return;
  sync_timer();
  for (u32& entry : state_.lvt) entry |= lvt::kMasked;
  rearm_timer();
  update_pending();
}

void LocalApic::write_icr(u32 low, Outgoing& out) {
  state_.icr = (state_.icr & ~u64{0xffff'ffff}) | low;
  const auto shorthand = static_cast<icr::Shorthand>((low & icr::kShorthand) >> icr::kShorthandShift);
  ApicMessage m;
  m.wide = mode() == Mode::kX2apic;
  m.destination = m.wide ? static_cast<u32>(state_.icr >> 32) : static_cast<u32>(state_.icr >> 56);
  m.logical = (low & icr::kLogical) != 0;
  m.mode = static_cast<DeliveryMode>((low & icr::kMode) >> icr::kModeShift);
  m.vector = static_cast<u8>(low & icr::kVector);
  const bool level = (low & icr::kLevel) != 0;
  switch (m.mode) {
    case DeliveryMode::kFixed:
    case DeliveryMode::kLowestPriority:
      if (m.vector < 16) return raise_error(esr::kSendIllegalVector);
      break;
    case DeliveryMode::kInit:
      // INIT level de-assert only synchronises arbitration ids, which no longer exist (§11.6.1).
      if (level && (low & icr::kAssert) == 0) return;
      break;
    case DeliveryMode::kNmi:
    case DeliveryMode::kStartup:
      break;
    default:
      return;  // SMI has no mode to enter; reserved and ExtINT can't be sent
  }
  // Table 11-3: to itself a processor can send fixed interrupts only.
  if ((shorthand == icr::kSelf || shorthand == icr::kAll) && m.mode != DeliveryMode::kFixed) return;
  // The trigger mode counts for INIT only; IPIs are edges (table 11-4).
  out.ipi = m;
  out.shorthand = shorthand;
}

// ---- The xAPIC page ----

u64 LocalApic::read_page(u32 offset, unsigned size) {
  const unsigned index = (offset & kPageMask) >> 4;
  const unsigned byte = offset & 15;
  std::scoped_lock lock(mutex_);
  if (index >= kRegisterCount || (kRegisters[index].xapic == kNone)) {
    raise_error(esr::kIllegalRegister);
    return 0;
  }
  if ((kRegisters[index].xapic & kRead) == 0 || byte >= 4) return 0;
  sync_timer();
  return u64{read_register(index)} >> (8 * byte) & low_mask(8 * size);
}

void LocalApic::write_page(u32 offset, unsigned size, u64 value) {
  const unsigned index = (offset & kPageMask) >> 4;
  Outgoing out;
  {
    std::scoped_lock lock(mutex_);
    if (index >= kRegisterCount || kRegisters[index].xapic == kNone)
      return raise_error(esr::kIllegalRegister);
    if ((offset & 15) != 0 || size < 4) return;
    if ((kRegisters[index].xapic & kWrite) != 0) write_register(index, static_cast<u32>(value), out);
  }
  send(out);
}

u8 LocalApic::cr8() const {
  std::scoped_lock lock(mutex_);
  return state_.tpr >> 4;
}

void LocalApic::set_cr8(u8 value) {
  std::scoped_lock lock(mutex_);
  state_.tpr = static_cast<u8>(value << 4);
  update_pending();
}

// ---- MSRs ----

bool LocalApic::read_msr(u32 msr, u64& value) {
  std::scoped_lock lock(mutex_);
  if (msr == kMsrApicBase) {
    value = state_.base;
    return true;
  }
  if (msr == kMsrTscDeadline) {
    sync_timer();
    value = timer_.tsc_deadline(timer_mode());
    return true;
  }
  if (msr < kMsrX2apicFirst || msr > kMsrX2apicLast || mode() != Mode::kX2apic) return false;
  const unsigned index = msr - kMsrX2apicFirst;
  if (index >= kRegisterCount || (kRegisters[index].x2apic & kRead) == 0) return false;
  sync_timer();
  value = index == kIcrLow ? state_.icr : read_register(index);
  return true;
}

bool LocalApic::write_msr(u32 msr, u64 value) {
  Outgoing out;
  bool done = false;
  {
    std::scoped_lock lock(mutex_);
    if (msr == kMsrApicBase) {
      done = write_base(value);
    } else if (msr == kMsrTscDeadline) {
      sync_timer();
      timer_.set_tsc_deadline(timer_mode(), value);
      sync_timer();  // a deadline in the past fires at once
      rearm_timer();
      done = true;
    } else if (msr >= kMsrX2apicFirst && msr <= kMsrX2apicLast && mode() == Mode::kX2apic) {
      done = write_x2apic_msr(msr - kMsrX2apicFirst, value, out);
    }
  }
  send(out);
  return done;
}

bool LocalApic::write_x2apic_msr(unsigned index, u64 value, Outgoing& out) {
  if (index >= kRegisterCount || (kRegisters[index].x2apic & kWrite) == 0) return false;
  const RegisterInfo& info = kRegisters[index];
  const u64 defined = u64{info.writable} | info.read_only;
  if (index == kIcrLow) {
    if ((value & 0xffff'ffff & ~defined) != 0) return false;
    state_.icr = value;
    write_icr(static_cast<u32>(value), out);
    return true;
  }
  if ((value & ~defined) != 0) return false;
  write_register(index, static_cast<u32>(value), out);
  return true;
}

bool LocalApic::write_base(u64 value) {
  const u64 reserved = ~(base_address_mask_ | base_msr::kBsp | base_msr::kX2apic | base_msr::kEnable);
  if ((value & reserved) != 0) return false;
  // Figure 11-27. EN EXTD: 00 disabled, 10 xAPIC, 11 x2APIC, 01 invalid. From x2APIC only back to disabled;
  // into x2APIC only from xAPIC.
  const bool enable = (value & base_msr::kEnable) != 0;
  const bool x2apic = (value & base_msr::kX2apic) != 0;
  const Mode to = !enable ? Mode::kDisabled : x2apic ? Mode::kX2apic : Mode::kXapic;
  const Mode from = mode();
  if (x2apic && !enable) return false;
  if (from == Mode::kX2apic && to == Mode::kXapic) return false;
  if (from == Mode::kDisabled && to == Mode::kX2apic) return false;
  state_.base = value;
  if (from != to) {
    // Disabled, it forgets everything (§11.4.3): enabled again it is as after power-up.
    if (to == Mode::kDisabled) reset_registers();
    // The destination's format changes, so what stands in ICR's high half means nothing any more.
    if (to == Mode::kX2apic) state_.icr &= 0xffff'ffff;
  }
  update_page();
  update_pending();
  return true;
}

}  // namespace vellum
