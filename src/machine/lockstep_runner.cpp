// All vCPUs on one thread, for the virtual clock.
#include <pthread.h>

#include <chrono>

#include "machine/vcpu_runner.hpp"

namespace vellum {

LockstepRunner::LockstepRunner(std::span<const std::unique_ptr<VcpuSlot>> slots, RunControl& control,
                               VirtualClock& clock, std::function<bool()> input_possible)
    : slots_(slots), control_(control), rounds_(slots, clock), input_possible_(std::move(input_possible)) {
  for (const auto& slot : slots_) hazards_.push_back(&slot->hazards);
}

void LockstepRunner::start() {
  thread_ = std::thread([this] {
    run();
    control_.leave();
  });
  ::pthread_setname_np(thread_.native_handle(), "vcpus");
}

void LockstepRunner::join() {
  if (thread_.joinable()) thread_.join();
}

void LockstepRunner::run() {
  for (;;) {
    const VcpuSlot& slot = *slots_[rounds_.turn()];
    const Exit exit = rounds_.run();
    if (auto outcome = outcome_of(slot, exit)) control_.request(std::move(*outcome));
    // Stop hazards are set on all vCPUs at once and cleared with one's.
    if (slot.hazards.test(Hazards::kStop) && !control_.check_in(hazards_)) return;
    if (rounds_.idle() && !wake()) return;
  }
}

bool LockstepRunner::wake() {
  switch (rounds_.wake()) {
    case VirtualRounds::Wake::kTimer:
      return true;
    case VirtualRounds::Wake::kInput:
      if (!input_possible_()) return stuck("every vCPU halted, no timer is armed and no input can come");
      // Only input can wake it now; that need not be fast.
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      return true;
    case VirtualRounds::Wake::kNever:
      break;
  }
  return stuck("every vCPU halted with interrupts disabled");
}

bool LockstepRunner::stuck(std::string why) {
  control_.request({Outcome::Kind::kStuck, 0, std::move(why)});
  return control_.check_in(hazards_);
}

}  // namespace vellum
