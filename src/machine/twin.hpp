// One side of a lockstep comparison: a board with its kernel, run instruction-exactly on the calling thread
// under the virtual clock.
//
// A position counts instructions: the sum over rounds of the most that any vCPU retired (with one vCPU: its
// retired instructions). Rounds are those of LockstepRunner (vcpu_runner.hpp); stopping in the middle of one
// changes nothing in what the guest sees, so that the way to a position does not depend on the stops before
// it.
#pragma once

#include <memory>
#include <string>

#include "devices/legacy/machine_control.hpp"
#include "machine/board.hpp"
#include "machine/outcome.hpp"

namespace vellum {

class Twin {
 public:
  /// `config`'s clock is taken as virtual and its debug console is ignored. Nobody types at the guest's
  /// console.
  static Result<std::unique_ptr<Twin>> create(const MachineConfig& config);
  ~Twin();

  /// Instructions retired so far, by the vCPU whose turn it is or that ran furthest in this round.
  u64 position() const { return position_; }
  /// Runs until position() is `target` or the guest has ended.
  void run_to(u64 target);
  /// How the guest ended, if it has.
  const std::optional<Outcome>& outcome() const { return outcome_; }

  Board& board() { return *board_; }
  /// The vCPU that runs next.
  unsigned turn() const { return turn_; }
  /// What the guest's serial port has sent.
  const std::string& output() const { return output_; }

 private:
  class Control;
  class Sink;
  Twin();
  void begin_round();
  void end_round();

  std::unique_ptr<Control> control_;
  std::unique_ptr<Sink> sink_;
  std::unique_ptr<Board> board_;
  std::optional<Outcome> outcome_;
  std::string output_;

  u64 position_ = 0;
  // The round that runs: whose turn, what each may retire, what this vCPU and the furthest have.
  unsigned turn_ = 0;
  bool in_round_ = false;
  bool anything_ran_ = false;
  u64 budget_ = 0, done_ = 0, furthest_ = 0;
};

}  // namespace vellum
