#include "devices/legacy/acpi_pm.hpp"

#include "base/log.hpp"
#include "devices/legacy/ticks.hpp"

namespace vellum {
namespace {

// PM1 status and enable bits (ACPI 6.5 tables 4.11 and 4.12).
constexpr u16 kTimer = 1u << 0, kGlobal = 1u << 5, kPowerButton = 1u << 8, kSleepButton = 1u << 9,
              kRtc = 1u << 10, kWake = 1u << 15, kBusMaster = 1u << 4;
constexpr u16 kStatusBits = kTimer | kBusMaster | kGlobal | kPowerButton | kSleepButton | kRtc | kWake;
constexpr u16 kEnableBits = kTimer | kGlobal | kPowerButton | kSleepButton | kRtc;
// PM1 control (table 4.13). GBL_RLS and SLP_EN read 0.
constexpr u16 kSciEnable = 1u << 0, kBusMasterReload = 1u << 1, kSleepTypeMask = 7u << 10,
              kSleepEnable = 1u << 13;

/// TMR_STS is set whenever the timer's highest bit changes.
constexpr u64 kHalfTimer = u64{1} << 31;

constexpr u16 with_byte(u16 word, unsigned byte, u8 value) {
  return static_cast<u16>(byte == 0 ? (word & 0xff00) | value : (word & 0x00ff) | value << 8);
}

}  // namespace

AcpiPm::AcpiPm(Clock& clock, InterruptLine& sci, MachineControl& control, const State& state)
    : clock_(clock), sci_(sci), control_(control), state_(state), timer_(clock, [this] { on_timer(); }) {
  std::scoped_lock lock(mutex_);
  sync();
  update_sci();
  rearm();
}

void AcpiPm::sync() {
  const u64 now = ticks_at(clock_.now_ns(), kTimerHz);
  if (now / kHalfTimer != state_.seen_ticks / kHalfTimer) state_.status |= kTimer;
  state_.seen_ticks = now;
}

void AcpiPm::update_sci() {
  sci_.set((state_.status & state_.enable & kEnableBits) != 0);
}

void AcpiPm::rearm() {
  if ((state_.enable & ~state_.status & kTimer) == 0) return timer_.disarm();
  timer_.arm(ns_of_ticks((state_.seen_ticks / kHalfTimer + 1) * kHalfTimer, kTimerHz));
}

void AcpiPm::on_timer() {
  std::scoped_lock lock(mutex_);
  sync();
  update_sci();
  rearm();
}

void AcpiPm::press_power_button() {
  std::scoped_lock lock(mutex_);
  state_.status |= kPowerButton;
  update_sci();
}

u64 AcpiPm::read(u64 offset, unsigned size) {
  std::scoped_lock lock(mutex_);
  sync();
  u64 value = 0;
  for (unsigned i = 0; i < size; ++i) value |= u64{byte_at(offset + i)} << (8 * i);
  return value;
}

void AcpiPm::write(u64 offset, unsigned size, u64 value) {
  for (unsigned i = 0; i < size; ++i) write_byte(offset + i, static_cast<u8>(value >> (8 * i)));
}

u8 AcpiPm::byte_at(u64 offset) const {
  u32 value = 0;
  unsigned byte = offset & 1;
  switch (offset & ~u64{1}) {
    case 0:
      value = state_.status;
      break;
    case 2:
      value = state_.enable;
      break;
    case 4:
      value = state_.control | kSciEnable;
      break;
    case 8:
    case 10:
      value = static_cast<u32>(state_.seen_ticks);
      byte = offset & 3;
      break;
    default:
      break;
  }
  return static_cast<u8>(value >> (8 * byte));
}

void AcpiPm::write_byte(u64 offset, u8 value) {
  const unsigned byte = offset & 1;
  bool sleep = false;
  u8 sleep_type = 0;
  {
    std::scoped_lock lock(mutex_);
    sync();
    switch (offset & ~u64{1}) {
      case 0:
        state_.status &= static_cast<u16>(~with_byte(0, byte, value));
        break;
      case 2:
        state_.enable = with_byte(state_.enable, byte, value) & kEnableBits;
        break;
      case 4: {
        const u16 written = with_byte(state_.control, byte, value);
        state_.control = written & (kBusMasterReload | kSleepTypeMask);
        sleep = (written & kSleepEnable) != 0;
        sleep_type = static_cast<u8>((written & kSleepTypeMask) >> 10);
        break;
      }
      default:
        break;
    }
    state_.status &= kStatusBits;
    update_sci();
    rearm();
  }
  if (!sleep) return;
  if (sleep_type == kSleepTypeS5 || sleep_type == kSoftOff) {
    control_.power_off();
  } else {
    VELLUM_WARN_GUEST("acpi: the guest asked for sleep type {}, which this machine does not have",
                      sleep_type);
  }
}

SavedState AcpiPm::save() const {
  std::scoped_lock lock(mutex_);
  return encode_state(state_);
}

}  // namespace vellum
