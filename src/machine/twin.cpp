#include "machine/twin.hpp"

#include <algorithm>

#include "machine/load_guest.hpp"
#include "machine/vcpu_runner.hpp"

namespace vellum {

class Twin::Control final : public MachineControl {
 public:
  explicit Control(Twin& twin) : twin_(twin) {}
  void power_off() override { end({Outcome::Kind::kPowerOff, 0, {}}); }
  void reset() override { end({Outcome::Kind::kReset, 0, {}}); }
  void debug_exit(u32 value) override {
    end({Outcome::Kind::kDebugExit, static_cast<int>(value & 0xff), {}});
  }

 private:
  void end(Outcome outcome) {
    if (!twin_.outcome_) twin_.outcome_ = std::move(outcome);
    for (Hazards* hazards : twin_.board_->hazards()) hazards->set(Hazards::kStop);
  }
  Twin& twin_;
};

class Twin::Sink final : public ByteSink {
 public:
  explicit Sink(std::string& text) : text_(text) {}
  void write(std::span<const u8> bytes) override { text_.append(bytes.begin(), bytes.end()); }

 private:
  std::string& text_;
};

Twin::Twin() : control_(std::make_unique<Control>(*this)), sink_(std::make_unique<Sink>(output_)) {}
Twin::~Twin() = default;

Result<std::unique_ptr<Twin>> Twin::create(const MachineConfig& config) {
  MachineConfig own = config;
  own.clock = ClockKind::kVirtual;
  own.debugcon.clear();
  std::unique_ptr<Twin> twin(new Twin);
  VELLUM_TRY_ASSIGN(
      board, Board::create(own, {*twin->control_, *twin->sink_, nullptr, VirtualClock::kEpochSeconds}));
  twin->board_ = std::move(board);
  VELLUM_TRY(load_guest(*twin->board_, own, {}));
  return twin;
}

void Twin::begin_round() {
  VirtualClock& clock = *board_->virtual_clock();
  clock.run_expired();
  budget_ = LockstepRunner::kQuantum;
  if (const auto deadline = clock.next_deadline()) budget_ = std::min(budget_, *deadline - clock.now_ns());
  in_round_ = true;
  anything_ran_ = false;
  turn_ = 0;
  done_ = furthest_ = 0;
}

void Twin::end_round() {
  VirtualClock& clock = *board_->virtual_clock();
  in_round_ = false;
  turn_ = 0;
  clock.retire(furthest_);
  if (anything_ran_) return;
  const bool all_deaf = std::ranges::all_of(board_->vcpus(), [](const auto& slot) { return slot->deaf(); });
  const auto deadline = clock.next_deadline();
  if (all_deaf || !deadline) {
    outcome_ = {Outcome::Kind::kStuck, 0, "every vCPU halted and nothing can wake one"};
    return;
  }
  clock.skip_to(*deadline);
}

void Twin::run_to(u64 target) {
  while (!outcome_ && position_ < target) {
    if (!in_round_) begin_round();
    VcpuSlot& slot = *board_->vcpus()[turn_];
    // A vCPU that is behind the furthest may catch up without moving the position.
    const u64 until_target = furthest_ - std::min(furthest_, done_) + (target - position_);
    const u64 before = slot.engine->retired();
    const Exit exit = slot.run(Budget{std::min(budget_ - done_, until_target)});
    const u64 ran = slot.engine->retired() - before;
    done_ += ran;
    anything_ran_ = anything_ran_ || ran != 0;
    if (done_ > furthest_) {
      position_ += done_ - furthest_;
      furthest_ = done_;
    }
    if (auto outcome = outcome_of(slot, exit); outcome && !outcome_) outcome_ = std::move(*outcome);
    if (outcome_) return;
    if (done_ == budget_ || std::holds_alternative<exit::Halted>(exit)) {
      done_ = 0;
      if (++turn_ == board_->vcpus().size()) end_round();
    }
  }
}

}  // namespace vellum
