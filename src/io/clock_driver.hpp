// Drives the timers of a real clock from the I/O thread (base/clock.hpp: "who drives them").
#pragma once

#include <atomic>
#include <memory>

#include "base/clock.hpp"
#include "io/event_loop.hpp"

namespace vellum {

class ClockDriver {
 public:
  /// Begins to drive `clock`; takes its on_earlier_deadline(). `loop` and `clock` outlive the driver. Create
  /// it before any thread but the loop's uses the clock.
  ClockDriver(EventLoop& loop, Clock& clock);
  /// Stops driving: on return no callback of the clock runs, nor will. Not on the loop's thread. By then no
  /// other thread may arm the clock's timers.
  ~ClockDriver();
  ClockDriver(const ClockDriver&) = delete;
  ClockDriver& operator=(const ClockDriver&) = delete;

 private:
  void run_and_rearm();

  EventLoop& loop_;
  Clock& clock_;
  std::unique_ptr<EventLoop::Delay> delay_;  // the loop's thread only
  std::atomic<bool> wake_posted_{false};
};

}  // namespace vellum
