#include "devices/legacy/pit.hpp"

#include <algorithm>

#include "devices/legacy/ticks.hpp"

namespace vellum {
namespace {

constexpr u8 kControlBWritable = 0x0f, kGate2 = 0x01, kRefreshToggle = 0x10, kOut2 = 0x20;
/// Half the period of the refresh request's toggle bit: 18 CLK pulses (PC/AT technical reference).
constexpr u64 kRefreshPulses = 18;

}  // namespace

Pit::Pit(Clock& clock, InterruptLine& irq0, const State& state)
    : clock_(clock), irq0_(irq0), state_(state), timer_(clock, [this] { on_timer(); }) {
  std::scoped_lock lock(mutex_);
  for (PitChannel& channel : state_.channels) channel.sanitise();
  irq0_.set(state_.channels[0].out);
  sync();
  rearm();
}

u64 Pit::now_pulse() const {
  return ticks_at(clock_.now_ns(), kHz);
}

void Pit::sync() {
  const u64 now = now_pulse();
  state_.channels[1].advance(now);
  state_.channels[2].advance(now);
  PitChannel& counter0 = state_.channels[0];
  if (const u64 rises = counter0.advance(now); rises != 0) {
    irq0_.set(false);
    irq0_.set(true);
    ticks_.add();
    missed_.add(rises - 1);
    last_tick_ns_ = clock_.now_ns();
  }
  irq0_.set(counter0.out);
}

void Pit::rearm() {
  const PitChannel& counter0 = state_.channels[0];
  const auto pulses = counter0.pulses_to_rise();
  if (!pulses) return timer_.disarm();
  const u64 deadline = ns_of_ticks(counter0.pulse + *pulses, kHz);
  const bool floor = counter0.periodic() && last_tick_ns_ != 0;
  timer_.arm(floor ? std::max(deadline, last_tick_ns_ + kMinPeriodNs) : deadline);
}

void Pit::on_timer() {
  std::scoped_lock lock(mutex_);
  sync();
  rearm();
}

void Pit::write_control(u8 value) {
  // Control word:  7 6      5 4      3 1    0          Read-back:  7 6   5        4         3 1       0
  //               |counter |access  |mode  |BCD|                  |1 1 |/count   |/status  |counters |0|
  const u8 select = value >> 6;
  const u8 access = value >> 4 & 3;
  if (select == 3) {
    for (unsigned i = 0; i < 3; ++i) {
      if ((value >> (i + 1) & 1) == 0) continue;
      if ((value & 0x20) == 0) state_.channels[i].latch_count();
      if ((value & 0x10) == 0) state_.channels[i].latch_status();
    }
  } else if (access == 0) {
    state_.channels[select].latch_count();
  } else {
    state_.channels[select].write_control(access, value >> 1 & 7, (value & 1) != 0);
  }
}

u8 Pit::read_control_b() const {
  const bool refresh = (now_pulse() / kRefreshPulses & 1) != 0;
  return static_cast<u8>(state_.control_b | (refresh ? kRefreshToggle : 0) |
                         (state_.channels[2].out ? kOut2 : 0));
}

u8 Pit::read_byte(u64 offset) {
  std::scoped_lock lock(mutex_);
  sync();
  if (offset == kControlBOffset) return read_control_b();
  return offset < 3 ? state_.channels[offset].read_count() : 0xff;  // the control word can't be read
}

void Pit::write_byte(u64 offset, u8 value) {
  std::scoped_lock lock(mutex_);
  sync();
  if (offset == kControlBOffset) {
    state_.control_b = value & kControlBWritable;
    state_.channels[2].set_gate((value & kGate2) != 0);
  } else if (offset == 3) {
    write_control(value);
  } else if (offset < 3) {
    state_.channels[offset].write_count(value);
  }
  irq0_.set(state_.channels[0].out);
  rearm();
}

SavedState Pit::save() const {
  std::scoped_lock lock(mutex_);
  return encode_state(state_);
}

void Pit::stats(std::vector<StatRow>& rows) const {
  if (ticks_.get() != 0) rows.push_back({"device pit", "ticks", ticks_.get(), 0});
  if (missed_.get() != 0) rows.push_back({"device pit", "ticks missed", missed_.get(), 0});
}

}  // namespace vellum
