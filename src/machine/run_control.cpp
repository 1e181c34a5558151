#include "machine/run_control.hpp"

namespace vellum {

void RunControl::stop_all() {
  for (Hazards* hazards : vcpus_) hazards->set(Hazards::kStop);
}

void RunControl::request(Outcome outcome) {
  std::scoped_lock lock(mutex_);
  if (outcome_) return;
  outcome_ = std::move(outcome);
  stop_all();
  changed_.notify_all();
  ended_.notify();
}

std::optional<Outcome> RunControl::outcome() const {
  std::scoped_lock lock(mutex_);
  return outcome_;
}

bool RunControl::check_in(std::span<Hazards* const> own) {
  std::unique_lock lock(mutex_);
  for (Hazards* hazards : own) hazards->clear(Hazards::kStop);
  if (paused_ && !outcome_) {
    ++parked_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return !paused_ || outcome_; });
    --parked_;
    changed_.notify_all();
  }
  return !outcome_;
}

void RunControl::leave() {
  std::scoped_lock lock(mutex_);
  if (++left_ == threads_) ended_.notify();
}

bool RunControl::all_left() const {
  std::scoped_lock lock(mutex_);
  return left_ == threads_;
}

void RunControl::pause() {
  std::unique_lock lock(mutex_);
  paused_ = true;
  stop_all();
  changed_.wait(lock, [this] { return parked_ == threads_ || outcome_; });
}

void RunControl::resume() {
  std::unique_lock lock(mutex_);
  paused_ = false;
  changed_.notify_all();
  // Whoever pauses again must not count a thread that has not yet left the last pause.
  changed_.wait(lock, [this] { return parked_ == 0 || outcome_; });
}

}  // namespace vellum
