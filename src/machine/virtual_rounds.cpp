#include "machine/virtual_rounds.hpp"

#include <algorithm>

namespace vellum {

void VirtualRounds::begin_round() {
  clock_.run_expired();
  budget_ = kQuantum;
  if (const auto deadline = clock_.next_deadline()) budget_ = std::min(budget_, *deadline - clock_.now_ns());
  in_round_ = true;
  anything_ran_ = idle_ = false;
  turn_ = 0;
  done_ = furthest_ = 0;
}

void VirtualRounds::end_round() {
  in_round_ = false;
  turn_ = 0;
  clock_.retire(furthest_);
  idle_ = !anything_ran_;
}

Exit VirtualRounds::run(u64 limit) {
  if (!in_round_) begin_round();
  VcpuSlot& slot = *slots_[turn_];
  // A vCPU that is behind the furthest may catch up without moving the position.
  const u64 behind = furthest_ - std::min(furthest_, done_);
  const u64 before = slot.engine->steps();
  Exit exit = slot.run(Budget{limit < budget_ ? std::min(budget_ - done_, behind + limit) : budget_ - done_});
  const u64 ran = slot.engine->steps() - before;
  done_ += ran;
  anything_ran_ = anything_ran_ || ran != 0;
  if (done_ > furthest_) {
    position_ += done_ - furthest_;
    furthest_ = done_;
  }
  if (done_ == budget_ || std::holds_alternative<exit::Halted>(exit)) {
    done_ = 0;
    if (++turn_ == slots_.size()) end_round();
  }
  return exit;
}

VirtualRounds::Wake VirtualRounds::wake() {
  if (std::ranges::all_of(slots_, [](const auto& slot) { return slot->deaf(); })) return Wake::kNever;
  const auto deadline = clock_.next_deadline();
  if (!deadline) return Wake::kInput;
  clock_.skip_to(*deadline);
  return Wake::kTimer;
}

}  // namespace vellum
