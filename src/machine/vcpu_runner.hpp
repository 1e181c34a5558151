// The vCPU run loops: what stands between Engine::run() and the rest of the machine.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <thread>
#include <vector>

#include "base/clock.hpp"
#include "machine/run_control.hpp"
#include "machine/vcpu_slot.hpp"

namespace vellum {

class VcpuRunner {
 public:
  virtual ~VcpuRunner() = default;
  /// Starts the threads. Call once.
  virtual void start() = 0;
  /// Waits for the threads to end, which they do once the control has an outcome.
  virtual void join() = 0;
};

/// Under a real clock: one thread per vCPU; a halted one sleeps until a hazard wakes it. Takes part in
/// `control` with slots.size() threads.
class ThreadedRunner final : public VcpuRunner {
 public:
  ThreadedRunner(std::span<const std::unique_ptr<VcpuSlot>> slots, RunControl& control)
      : slots_(slots), control_(control) {}
  ~ThreadedRunner() override { join(); }
  void start() override;
  void join() override;

 private:
  void run_vcpu(VcpuSlot& slot);
  void sleep_halted(VcpuSlot& slot);
  void note_deaf();

  std::span<const std::unique_ptr<VcpuSlot>> slots_;
  RunControl& control_;
  std::atomic<unsigned> deaf_{0};  ///< vCPUs asleep that no maskable interrupt wakes
  std::vector<std::thread> threads_;
};

/// Under a virtual clock: one thread runs all vCPUs in rounds, in the order of their index, and drives the
/// timers.
///
/// In a round each vCPU may retire the same number of instructions, up to the quantum or the next timer's
/// deadline. Then time moves on by the most that any of them retired, as if they had run side by side.
/// Nothing in this depends on the host's speed, so two runs of one guest without outside input are the same,
/// instruction by instruction. When all are halted, time skips to the next deadline.
class LockstepRunner final : public VcpuRunner {
 public:
  /// 10 us of guest time: how late a timer may fire that was armed within a round, and the grain of time
  /// between vCPUs.
  static constexpr u64 kQuantum = 10'000;

  /// `input_possible`: whether the outside world may still wake a machine with no timer armed.
  LockstepRunner(std::span<const std::unique_ptr<VcpuSlot>> slots, RunControl& control, VirtualClock& clock,
                 std::function<bool()> input_possible);
  ~LockstepRunner() override { join(); }
  void start() override;
  void join() override;

 private:
  void run();
  struct Round {
    u64 most_retired = 0;
    bool all_halted = true;
    bool ended = false;
  };
  Round run_round(u64 budget);
  /// All are halted. Returns whether to go on.
  bool idle();

  std::span<const std::unique_ptr<VcpuSlot>> slots_;
  RunControl& control_;
  VirtualClock& clock_;
  std::function<bool()> input_possible_;
  std::vector<Hazards*> hazards_;
  std::thread thread_;
};

}  // namespace vellum
