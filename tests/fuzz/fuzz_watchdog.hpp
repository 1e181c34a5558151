// Ends guests that never retire an instruction: a fault handler that faults at its first instruction is
// delivered for ever, outside of any budget. One thread for the whole process looks every few milliseconds.
#pragma once

#include <chrono>
#include <mutex>
#include <thread>

#include "machine/board.hpp"

namespace vellum::fuzz {

class Watchdog {
 public:
  /// Never destroyed: its thread ends with the process.
  static Watchdog& instance() {
    static Watchdog& one = *new Watchdog();
    return one;
  }

  /// Runs `board`'s vCPU `index` for `instructions`, and not much longer than 10 ms. False: it had to be
  /// stopped.
  bool run(Board& board, unsigned index, u64 instructions) {
    VcpuSlot& slot = *board.vcpus()[index];
    {
      std::scoped_lock lock(mutex_);
      running_ = &slot.hazards;
      ticks_ = 0;
    }
    slot.run({instructions});
    {
      std::scoped_lock lock(mutex_);
      running_ = nullptr;
    }
    return !slot.hazards.clear(Hazards::kStop);
  }

 private:
  Watchdog() {
    std::thread([this] {
      for (;;) {
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
        std::scoped_lock lock(mutex_);
        if (running_ != nullptr && ++ticks_ >= 5) running_->set(Hazards::kStop);
      }
    }).detach();
  }

  std::mutex mutex_;
  Hazards* running_ = nullptr;
  unsigned ticks_ = 0;
};

}  // namespace vellum::fuzz
