// The local APIC's timer (SDM vol. 3A §11.5.4): one-shot and periodic counting of a divided bus clock, and
// the TSC-deadline mode. Part of a LocalApic, whose lock guards every member.
//
// Nothing counts down here: the count is computed from the clock when asked for, and a host timer is armed
// only for the moment of the next interrupt.
#pragma once

#include <functional>

#include "base/clock.hpp"

namespace vellum {

/// The frequency that the timer's divider divides: what CPUID 0x15 (crystal) and 0x40000010 (hypervisor
/// timing leaf) report. One tick is one nanosecond of guest time.
inline constexpr u64 kApicTimerHz = 1'000'000'000;

/// The least distance between two host timer events of one periodic timer. A guest that asks for less loses
/// ticks, as on a processor that can't take them, and can't keep the clock's driver busy for ever.
inline constexpr u64 kMinPeriodNs = 20'000;

class ApicTimer {
 public:
  enum class Mode : u8 { kOneShot, kPeriodic, kTscDeadline, kReserved };

  struct State {
    u32 initial_count = 0;
    u8 divide_config = 0;
    bool counting = false;
    u32 start_count = 0;  ///< the count at start_ns
    u64 start_ns = 0;
    u64 tsc_deadline = 0;  ///< of the machine's TSC; 0: not armed

    bool operator==(const State&) const = default;
    template <class V>
    void visit(V& v) {
      v(initial_count), v(divide_config), v(counting), v(start_count), v(start_ns), v(tsc_deadline);
    }
  };

  /// `expired` is called by the clock's driver, without locks, when sync() may have something to report.
  ApicTimer(Clock& clock, std::function<void()> expired, const State& state)
      : clock_(clock), state_(state), timer_(clock, std::move(expired)) {
    // A restored state is not to be trusted: nothing counts from 0, and a period of 0 would divide by it.
    state_.counting = state_.counting && state_.initial_count != 0;
  }

  /// Brings the state up to now. True if the count reached 0 (or the deadline passed) since the last call:
  /// however often that was, it is one interrupt.
  bool sync(Mode mode);
  /// Arms the host timer for the next expiry, or disarms it if an expiry can't be seen.
  void rearm(Mode mode, bool masked);

  // Call sync() before these and rearm() after.
  void set_initial_count(Mode mode, u32 count);
  void set_divide_config(Mode mode, u8 config);
  void mode_changed(Mode from, Mode to);
  void set_tsc_deadline(Mode mode, u64 deadline);
  /// After RESET or INIT: stopped.
  void reset() { state_ = {}; }

  u32 current_count(Mode mode) const;
  u32 initial_count() const { return state_.initial_count; }
  u8 divide_config() const { return state_.divide_config; }
  u64 tsc_deadline(Mode mode) const { return mode == Mode::kTscDeadline ? state_.tsc_deadline : 0; }
  const State& state() const { return state_; }
  Timer& timer() { return timer_; }

  static u64 divisor(const State& state);

 private:
  u64 divisor() const { return divisor(state_); }
  u64 expiry_ns() const { return state_.start_ns + state_.start_count * divisor(); }

  Clock& clock_;
  State state_;
  u64 last_expiry_ns_ = 0;  // for kMinPeriodNs only
  Timer timer_;
};

}  // namespace vellum
