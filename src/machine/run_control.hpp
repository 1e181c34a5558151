// Who may run: the meeting point of the threads that run vCPUs and of whoever pauses or ends the machine.
//
// Ending: the first request() wins; every vCPU is told to leave by Hazards::kStop, its thread calls
// check_in(), gets false and ends. Pausing: the same way in, but check_in() blocks until resume(). Either
// takes effect at an instruction boundary of each vCPU.
#pragma once

#include <condition_variable>
#include <mutex>
#include <optional>
#include <vector>

#include "cpu/hazard.hpp"
#include "io/signals.hpp"
#include "machine/outcome.hpp"

namespace vellum {

class RunControl {
 public:
  /// `ended` is notified when an outcome is requested, and again when all threads have left; both outlive
  /// this.
  RunControl(std::vector<Hazards*> vcpus, unsigned threads, const EventFd& ended)
      : vcpus_(std::move(vcpus)), threads_(threads), ended_(ended) {}

  /// Asks for the run to end so. Any thread, device locks held or not; the first one counts.
  void request(Outcome outcome);
  std::optional<Outcome> outcome() const;

  /// For a thread that runs vCPUs, when one of them was interrupted: clears the stop hazard of `own`, waits
  /// while paused, and returns whether to go on.
  bool check_in(std::span<Hazards* const> own);

  /// For such a thread, as the last thing that it does.
  void leave();
  /// Whether all have left. `ended` is notified when the last one does.
  bool all_left() const;

  /// Returns when all threads are parked in check_in() (or the run has ended). The thread that owns the
  /// machine.
  void pause();
  void resume();

 private:
  void stop_all();

  const std::vector<Hazards*> vcpus_;
  const unsigned threads_;
  const EventFd& ended_;

  mutable std::mutex mutex_;  // after device locks, before nothing
  std::condition_variable changed_;
  std::optional<Outcome> outcome_;
  bool paused_ = false;
  unsigned parked_ = 0;
  unsigned left_ = 0;
};

}  // namespace vellum
