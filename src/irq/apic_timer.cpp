#include "irq/apic_timer.hpp"

#include <algorithm>

#include "base/bits.hpp"

namespace vellum {

u64 ApicTimer::divisor(const State& state) {
  // Bits 3, 1 and 0 form a number n; the divisor is 2^(n+1), and 1 for n = 7 (figure 11-10).
  const unsigned n = (state.divide_config & 3) | (state.divide_config & 8) >> 1;
  return n == 7 ? 1 : u64{2} << n;
}

bool ApicTimer::sync(Mode mode) {
  if (mode == Mode::kTscDeadline) {
    if (state_.tsc_deadline == 0 || clock_.tsc() < state_.tsc_deadline) return false;
    state_.tsc_deadline = 0;
    return true;
  }
  if (!state_.counting || mode == Mode::kReserved) return false;
  const u64 now = clock_.now_ns();
  const u64 expiry = expiry_ns();
  if (now < expiry) return false;
  if (mode == Mode::kOneShot) {
    state_.counting = false;
  } else {
    const u64 period = state_.initial_count * divisor();
    state_.start_ns = expiry + (now - expiry) / period * period;
    state_.start_count = state_.initial_count;
    last_expiry_ns_ = now;
  }
  return true;
}

void ApicTimer::rearm(Mode mode, bool masked) {
  if (masked) return timer_.disarm();
  if (mode == Mode::kTscDeadline) {
    if (state_.tsc_deadline == 0) return timer_.disarm();
    // Relative to now, so that the two host clocks may drift apart by some parts per million.
    const u64 tsc = clock_.tsc();
    const u64 now = clock_.now_ns();
    const u64 wait = state_.tsc_deadline > tsc ? clock_.ns_of_tsc(state_.tsc_deadline - tsc) : 0;
    return timer_.arm(wait > ~now ? ~u64{0} : now + wait);
  }
  if (!state_.counting || mode == Mode::kReserved) return timer_.disarm();
  timer_.arm(mode == Mode::kPeriodic && last_expiry_ns_ != 0
                 ? std::max(expiry_ns(), last_expiry_ns_ + kMinPeriodNs)
                 : expiry_ns());
}

void ApicTimer::set_initial_count(Mode mode, u32 count) {
  if (mode == Mode::kTscDeadline) return;  // ignored (§11.5.4.1)
  state_.initial_count = count;
  state_.start_count = count;
  state_.start_ns = clock_.now_ns();
  state_.counting = count != 0;
}

void ApicTimer::set_divide_config(Mode mode, u8 config) {
  // The count goes on from where it is, at the new rate.
  if (state_.counting && mode != Mode::kTscDeadline) {
    state_.start_count = current_count(mode);
    state_.start_ns = clock_.now_ns();
  }
  state_.divide_config = config;
}

void ApicTimer::mode_changed(Mode from, Mode to) {
  if ((from == Mode::kTscDeadline) == (to == Mode::kTscDeadline)) return;
  // "Transitioning between TSC-deadline mode and other timer modes also disarms the timer" (§11.5.4.1).
  state_.counting = false;
  state_.tsc_deadline = 0;
  if (to == Mode::kTscDeadline) state_.initial_count = 0;
}

void ApicTimer::set_tsc_deadline(Mode mode, u64 deadline) {
  if (mode == Mode::kTscDeadline) state_.tsc_deadline = deadline;
}

u32 ApicTimer::current_count(Mode mode) const {
  if (!state_.counting || mode == Mode::kTscDeadline || mode == Mode::kReserved) return 0;
  const u64 elapsed = (clock_.now_ns() - state_.start_ns) / divisor();
  // Time goes on between sync() and here under a real clock: an expired count reads as 0 once, then is
  // reloaded.
  return elapsed >= state_.start_count ? 0 : static_cast<u32>(state_.start_count - elapsed);
}

}  // namespace vellum
