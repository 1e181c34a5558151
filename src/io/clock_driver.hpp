// Drives the timers of a real clock from the I/O thread (base/clock.hpp: "who drives them").
//
// The thread is woken for deadlines only: whoever arms a timer sets the host's timer by itself, one system
// call, and the thread sleeps on. It is set at once for an earlier deadline; for a later one not before a
// vCPU halts or the old moment has come, as most timers move several times before they fire.
#pragma once

#include <memory>
#include <mutex>
#include <optional>

#include "base/clock.hpp"
#include "base/fd.hpp"
#include "io/event_loop.hpp"

namespace vellum {

class ClockDriver {
 public:
  /// `clock` is a real one. `loop` and `clock` outlive the driver. Fails if the host has no timer for it.
  static Result<std::unique_ptr<ClockDriver>> create(EventLoop& loop, Clock& clock);
  /// Begins to drive; takes the clock's on_deadline_moved(). Once, before any thread but the loop's uses the
  /// clock.
  void start();
  /// Stops driving: on return no callback of the clock runs, nor will. Not on the loop's thread. By then no
  /// other thread may use the clock's timers.
  ~ClockDriver();
  ClockDriver(const ClockDriver&) = delete;
  ClockDriver& operator=(const ClockDriver&) = delete;

 private:
  ClockDriver(EventLoop& loop, Clock& clock, FileDescriptor timer)
      : loop_(loop), clock_(clock), timer_(std::move(timer)) {}
  void on_timer();
  void set_timer();

  EventLoop& loop_;
  Clock& clock_;
  FileDescriptor timer_;
  std::unique_ptr<EventLoop::Watch> watch_;  // the loop's thread only

  std::mutex mutex_;               // after device locks, before the clock's
  std::optional<u64> set_for_ns_;  // the deadline that timer_ waits for; nothing: none, or it has come
};

}  // namespace vellum
