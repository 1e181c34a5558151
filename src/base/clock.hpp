// All time that a guest sees comes from one Clock per machine.
//
//   RealClock     host monotonic time; the guest's TSC runs at the host's TSC rate
//   VirtualClock  advanced by what the vCPUs execute only: deterministic
//
// Timers belong to the clock. Who drives them: under a real clock the I/O thread waits for next_deadline()
// and calls run_expired(), but for the timer of a halted vCPU, whose own thread waits for it (Timer::hold());
// under a virtual clock the one thread that runs the vCPUs does both between instructions.
//
// Threads: every member may be called from any thread. Callbacks run without any lock of the clock held, on
// the driving thread or that which held the timer; one that was already due may still run once after
// disarm(), so a callback checks its owner's state under the owner's own lock. Lock order: a device's lock,
// then the clock's.
#pragma once

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <utility>

#include "base/int.hpp"

namespace vellum {

class Clock;

/// One timer of a device. Armed again, it forgets its earlier deadline. Destroy it only when its clock's
/// driver has stopped, or from the driving thread.
class Timer {
 public:
  Timer(Clock& clock, std::function<void()> callback);
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  /// Fires once at `deadline_ns` (guest time, as Clock::now_ns()), at once when that is past and never when
  /// it is beyond Clock::kEndNs.
  void arm(u64 deadline_ns);
  void disarm();

  /// For a thread that is about to sleep and wants to wake for this timer by itself, under a real clock: the
  /// clock's driver leaves the timer alone until release(), or until it is armed anew by another thread.
  /// Returns the deadline as a time of the host's CLOCK_MONOTONIC; nothing if the timer is not armed.
  std::optional<u64> hold();
  /// The thread has slept. Runs the callback if the timer is due and was held all the while; else the driver
  /// has it again.
  void release();

 private:
  friend class Clock;
  enum class Armed : u8 { kNo, kQueued, kHeld };
  void take_out();  // Clock::mutex_ held, as for put_in()
  bool put_in();    // returns whether the earliest deadline moved forward

  Clock& clock_;
  std::function<void()> callback_;
  u64 deadline_ns_ = 0;       // guarded by Clock::mutex_
  Armed armed_ = Armed::kNo;  // likewise
};

/// A moment of the calendar: since the Unix epoch.
struct WallTime {
  u64 seconds = 0;
  u32 nanoseconds = 0;  ///< below 10^9
  bool operator==(const WallTime&) const = default;
};

class Clock {
 public:
  /// Guest time ends here, 292 years after power-on: virtual time stops, and no timer comes later. So a
  /// device may add its longest period to the time without a thought of overflow, and a deadline of "never"
  /// is one.
  static constexpr u64 kEndNs = u64{1} << 63;

  virtual ~Clock() = default;

  /// Guest time since power-on, in nanoseconds; never goes back.
  virtual u64 now_ns() const = 0;
  /// The machine's time-stamp counter (each vCPU adds its own TSC_ADJUST).
  virtual u64 tsc() const = 0;
  virtual u64 tsc_hz() const = 0;
  /// What the host's TSC is ahead of tsc(), if that is all the difference there is, ever.
  virtual std::optional<u64> host_tsc_lead() const { return std::nullopt; }
  /// The host's CLOCK_MONOTONIC at guest time `ns`, if guest time is the host's but for where it began; what
  /// is past is now.
  virtual std::optional<u64> host_monotonic(u64) const { return std::nullopt; }
  virtual bool is_virtual() const = 0;
  /// The wall clock, for the RTC: fixed start + now under a virtual clock.
  virtual WallTime wall_time() const = 0;

  /// The guest time at which the machine's TSC reaches `tsc`, rounded up.
  u64 ns_of_tsc(u64 tsc) const;

  std::optional<u64> next_deadline() const;
  /// Runs the callbacks of all timers due at now_ns(), earliest first. Returns how many ran.
  unsigned run_expired();
  /// Called (from any thread, without the clock's lock) when next_deadline() may have moved forward, and when
  /// it may have moved back because a timer is held; the real clock's driver reads it then. It is not called
  /// when a timer is merely armed for later, which most are several times before they fire. Set it while no
  /// other thread uses the clock.
  void on_deadline_moved(std::function<void()> notify) { notify_ = std::move(notify); }

 private:
  friend class Timer;
  mutable std::mutex mutex_;  // leaf: nothing is locked under it
  std::set<std::pair<u64, Timer*>> armed_;
  std::function<void()> notify_;
};

class RealClock final : public Clock {
 public:
  /// Starts now, with guest time `now_ns` and TSC `tsc`: 0 at power-on, else where a saved machine stood.
  explicit RealClock(u64 now_ns = 0, u64 tsc = 0);
  u64 now_ns() const override;
  u64 tsc() const override;
  u64 tsc_hz() const override { return tsc_hz_; }
  std::optional<u64> host_tsc_lead() const override { return start_tsc_; }
  std::optional<u64> host_monotonic(u64 ns) const override { return start_ns_ + std::max(ns, now_ns()); }
  bool is_virtual() const override { return false; }
  WallTime wall_time() const override;

 private:
  u64 start_ns_;
  u64 start_tsc_;
  u64 tsc_hz_;
};

/// One step (an instruction retired, or an event delivered in place of one) is one nanosecond and one TSC
/// tick: a 1 GHz machine that takes one a cycle.
class VirtualClock final : public Clock {
 public:
  static constexpr u64 kHz = 1'000'000'000;
  /// Where a virtual calendar begins, so that runs are the same on any day: 2026-01-01T00:00:00Z.
  static constexpr u64 kEpochSeconds = 1'767'225'600;
  explicit VirtualClock(u64 wall_start_seconds = kEpochSeconds);
  u64 now_ns() const override { return now_ns_.load(std::memory_order_relaxed); }
  u64 tsc() const override { return now_ns(); }
  u64 tsc_hz() const override { return kHz; }
  bool is_virtual() const override { return true; }
  WallTime wall_time() const override {
    const u64 now = now_ns();
    return {wall_start_seconds_ + now / kHz, static_cast<u32>(now % kHz)};
  }

  /// Moves time forward by `steps`. Called by the thread that runs the vCPUs.
  void retire(u64 steps) { now_ns_.fetch_add(steps, std::memory_order_relaxed); }
  /// Moves time forward to `ns`, or to its end, when that is ahead: all vCPUs are halted.
  void skip_to(u64 ns) {
    ns = std::min(ns, kEndNs);
    if (ns > now_ns()) now_ns_.store(ns, std::memory_order_relaxed);
  }

 private:
  std::atomic<u64> now_ns_{0};
  u64 wall_start_seconds_;
};

}  // namespace vellum
