// One side of a lockstep comparison: a board with its kernel, run instruction-exactly on the calling thread
// under the virtual clock.
//
// A position counts steps of rounds, those in which the virtual clock always runs vCPUs (virtual_rounds.hpp).
// Stopping in the middle of one changes nothing in what the guest sees, so that the way to a position does
// not depend on the stops before it.
#pragma once

#include <memory>
#include <string>

#include "devices/legacy/machine_control.hpp"
#include "machine/board.hpp"
#include "machine/outcome.hpp"
#include "machine/uefi_vars.hpp"
#include "machine/virtual_rounds.hpp"

namespace vellum {

class Twin {
 public:
  /// `config`'s clock is taken as virtual and its debug console is ignored. Nobody types at the guest's
  /// console.
  static Result<std::unique_ptr<Twin>> create(const MachineConfig& config);
  ~Twin();

  /// Steps so far (VirtualRounds::position()).
  u64 position() const { return rounds_->position(); }
  /// Runs until position() is `target` or the guest has ended.
  void run_to(u64 target);
  /// How the guest ended, if it has.
  const std::optional<Outcome>& outcome() const { return outcome_; }

  Board& board() { return *board_; }
  /// The vCPU that runs next.
  unsigned turn() const { return rounds_->turn(); }
  /// What the guest's serial port has sent.
  const std::string& output() const { return output_; }

 private:
  class Control;
  class Sink;
  Twin();

  std::unique_ptr<Control> control_;
  std::unique_ptr<Sink> sink_;
  std::unique_ptr<EventLoop> loop_;      ///< without a thread: devices' work is done by whoever asks for it
  std::unique_ptr<UefiVars> uefi_vars_;  ///< or null
  std::unique_ptr<Board> board_;
  std::optional<VirtualRounds> rounds_;  // runs board_'s vCPUs
  std::optional<Outcome> outcome_;
  std::string output_;
};

}  // namespace vellum
