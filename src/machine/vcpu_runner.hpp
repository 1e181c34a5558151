// The vCPU run loops: what stands between Engine::run() and the rest of the machine.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <thread>
#include <vector>

#include "machine/run_control.hpp"
#include "machine/vcpu_slot.hpp"
#include "machine/virtual_rounds.hpp"

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
  void sleep_until_timer(VcpuSlot& slot);
  void note_deaf();

  std::span<const std::unique_ptr<VcpuSlot>> slots_;
  RunControl& control_;
  std::atomic<unsigned> deaf_{0};  ///< vCPUs asleep that no maskable interrupt wakes
  std::vector<std::thread> threads_;
};

/// Under a virtual clock: one thread runs all vCPUs in rounds (virtual_rounds.hpp) and drives the timers.
/// When all are halted, time skips to the next deadline.
class LockstepRunner final : public VcpuRunner {
 public:
  /// `input_possible`: whether the outside world may still wake a machine with no timer armed.
  LockstepRunner(std::span<const std::unique_ptr<VcpuSlot>> slots, RunControl& control, VirtualClock& clock,
                 std::function<bool()> input_possible);
  ~LockstepRunner() override { join(); }
  void start() override;
  void join() override;

 private:
  void run();
  /// All are halted. Returns whether to go on, as stuck() does.
  bool wake();
  bool stuck(std::string why);

  std::span<const std::unique_ptr<VcpuSlot>> slots_;
  RunControl& control_;
  VirtualRounds rounds_;
  std::function<bool()> input_possible_;
  std::vector<Hazards*> hazards_;
  std::thread thread_;
};

}  // namespace vellum
