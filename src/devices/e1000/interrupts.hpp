// Causes, their mask, and the throttle between them and the wire (SDM §13.4.17 to §13.4.21).
//
// No lock: the controller's guards it. The timer's callback comes without, and is the controller's to guard.
#pragma once

#include <functional>

#include "base/clock.hpp"
#include "devices/e1000/registers.hpp"

namespace vellum::e1000 {

class Interrupts {
 public:
  struct State {
    u32 causes = 0, mask = 0;
    u64 not_before_ns = 0;  ///< guest time of the earliest next interrupt
    template <class V>
    void visit(V& v) {
      v(causes), v(mask), v(not_before_ns);
    }
  };

  /// `drive` sets the wire, and is called when it changes. `expired` calls update() under the lock.
  Interrupts(Clock& clock, std::function<void(bool)> drive, std::function<void()> expired)
      : clock_(clock), drive_(std::move(drive)), timer_(clock, std::move(expired)) {}

  void raise(u32 causes);
  /// ICR is read: all causes go.
  u32 take();
  void clear(u32 causes);
  void enable(u32 causes);
  void disable(u32 causes);
  u32 mask() const { return s_.mask; }
  /// At least so long between two interrupts, in units of 256 ns; 0: no limit.
  void set_interval(u32 units) { interval_ns_ = u64{units} * 256; }
  void reset();
  /// The wire follows causes and mask, and time.
  void update();

  const State& state() const { return s_; }
  /// `asserted`: how the wire is. Untrusted.
  void restore(const State& state, u32 interval, bool asserted);

 private:
  void set(bool asserted);

  Clock& clock_;
  const std::function<void(bool)> drive_;
  State s_;
  u64 interval_ns_ = 0;
  bool asserted_ = false;
  Timer timer_;
};

}  // namespace vellum::e1000
