#include "io/clock_driver.hpp"

#include <algorithm>

namespace vellum {

ClockDriver::ClockDriver(EventLoop& loop, Clock& clock) : loop_(loop), clock_(clock) {
  clock_.on_earlier_deadline([this] {
    // One wake-up in flight is enough: it reads the deadline when it runs.
    if (!wake_posted_.exchange(true, std::memory_order_acq_rel)) loop_.post([this] { run_and_rearm(); });
  });
  loop_.run_on_loop([this] {
    delay_ = loop_.delay([this] { run_and_rearm(); });
    run_and_rearm();
  });
}

ClockDriver::~ClockDriver() {
  // Posted work runs in order, so a wake-up posted before this one has run when it returns.
  loop_.run_on_loop([this] { delay_.reset(); });
  clock_.on_earlier_deadline(nullptr);
}

void ClockDriver::run_and_rearm() {
  wake_posted_.store(false, std::memory_order_release);
  if (!delay_) return;
  clock_.run_expired();
  const auto deadline = clock_.next_deadline();
  if (!deadline) {
    delay_->disarm();
    return;
  }
  const u64 now = clock_.now_ns();
  const u64 wait = *deadline > now ? *deadline - now : 0;
  // A guest may arm a timer centuries ahead; an hour later we look again.
  constexpr u64 kLongest = 3'600'000'000'000;
  delay_->arm(std::chrono::nanoseconds(std::min(wait, kLongest)));
}

}  // namespace vellum
