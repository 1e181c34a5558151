// How vCPUs share the virtual clock: in rounds, one after the other, in the order of their index.
//
// In a round each vCPU may take the same number of steps (Budget), up to the quantum or the next timer's
// deadline. Then time moves on by the most that any of them took, as if they had run side by side. Nothing in
// this depends on the host's speed, so two runs of one guest without outside input are the same, instruction
// by instruction; nor on where a round is interrupted and taken up again.
#pragma once

#include <memory>
#include <span>

#include "base/clock.hpp"
#include "machine/vcpu_slot.hpp"

namespace vellum {

class VirtualRounds {
 public:
  /// 10 us of guest time: how late a timer may fire that was armed within a round, and the grain of time
  /// between vCPUs. A prime: a loop whose length divides it would stand at the same instruction after each
  /// round, such as with a lock taken that it gives up for three instructions out of eight, and no other vCPU
  /// would ever find it free (SeaBIOS waits so for processors that it has started).
  static constexpr u64 kQuantum = 9'973;

  /// Both outlive this. One thread at a time calls run() and wake().
  VirtualRounds(std::span<const std::unique_ptr<VcpuSlot>> slots, VirtualClock& clock)
      : slots_(slots), clock_(clock) {}

  /// Runs the vCPU whose turn it is to the end of its turn or an exit before that, position() advancing by no
  /// more than `limit` (at least 1). Timers run before a round, time moves after it.
  Exit run(u64 limit = ~u64{0});
  /// The vCPU that runs next.
  unsigned turn() const { return turn_; }
  /// The sum over rounds of the most steps that any vCPU took; with one vCPU, its steps.
  u64 position() const { return position_; }

  /// Whether a round has just ended in which all vCPUs were halted and none ran. wake() comes next.
  bool idle() const { return idle_; }
  enum class Wake {
    kTimer,  ///< time has skipped to the next deadline
    kInput,  ///< no timer is armed
    kNever,  ///< nothing that can come wakes one: interrupts are disabled everywhere
  };
  Wake wake();

 private:
  void begin_round();
  void end_round();

  std::span<const std::unique_ptr<VcpuSlot>> slots_;
  VirtualClock& clock_;
  u64 position_ = 0;
  // The round that runs: whose turn, what each may take, what this vCPU and the furthest have.
  unsigned turn_ = 0;
  bool in_round_ = false;
  bool anything_ran_ = false;
  bool idle_ = false;
  u64 budget_ = 0, done_ = 0, furthest_ = 0;
};

}  // namespace vellum
