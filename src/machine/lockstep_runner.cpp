// All vCPUs on one thread, for the virtual clock.
#include <pthread.h>

#include <algorithm>
#include <chrono>

#include "machine/vcpu_runner.hpp"

namespace vellum {

LockstepRunner::LockstepRunner(std::span<const std::unique_ptr<VcpuSlot>> slots, RunControl& control,
                               VirtualClock& clock, std::function<bool()> input_possible)
    : slots_(slots), control_(control), clock_(clock), input_possible_(std::move(input_possible)) {
  for (const auto& slot : slots_) hazards_.push_back(&slot->hazards);
}

void LockstepRunner::start() {
  thread_ = std::thread([this] { run(); });
  ::pthread_setname_np(thread_.native_handle(), "vcpus");
}

void LockstepRunner::join() {
  if (thread_.joinable()) thread_.join();
}

void LockstepRunner::run() {
  for (;;) {
    clock_.run_expired();
    u64 budget = kQuantum;
    if (const auto deadline = clock_.next_deadline()) budget = std::min(budget, *deadline - clock_.now_ns());
    const Round round = run_round(budget);
    if (round.ended) return;
    clock_.retire(round.most_retired);
    if (round.all_halted && round.most_retired == 0 && !idle()) return;
  }
}

LockstepRunner::Round LockstepRunner::run_round(u64 budget) {
  Round round;
  for (const auto& slot : slots_) {
    const u64 before = slot->engine->retired();
    const Exit exit = slot->run(Budget{budget});
    round.most_retired = std::max(round.most_retired, slot->engine->retired() - before);
    round.all_halted = round.all_halted && std::holds_alternative<exit::Halted>(exit);
    if (auto outcome = outcome_of(*slot, exit)) control_.request(std::move(*outcome));
    // Stop hazards are set on all vCPUs at once; the whole round ends, so that a stop leaves them at one
    // time.
    if (slot->hazards.test(Hazards::kStop) && !control_.check_in(hazards_)) {
      round.ended = true;
      return round;
    }
  }
  return round;
}

bool LockstepRunner::idle() {
  const bool all_deaf = std::ranges::all_of(slots_, [](const auto& slot) { return slot->deaf(); });
  const auto deadline = clock_.next_deadline();
  if (all_deaf || (!deadline && !input_possible_())) {
    control_.request({Outcome::Kind::kStuck, 0,
                      all_deaf ? "every vCPU halted with interrupts disabled"
                               : "every vCPU halted, no timer is armed and no input can come"});
    return control_.check_in(hazards_);
  }
  if (deadline) {
    clock_.skip_to(*deadline);
    return true;
  }
  // Only input can wake it now; that need not be fast.
  std::this_thread::sleep_for(std::chrono::milliseconds(1));
  return true;
}

}  // namespace vellum
