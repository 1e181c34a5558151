// One thread per vCPU, for the real clock.
#include <fmt/format.h>
#include <pthread.h>

#include <chrono>

#include "machine/host_time.hpp"
#include "machine/vcpu_runner.hpp"

namespace vellum {
void ThreadedRunner::start() {
  for (const auto& slot : slots_) {
    threads_.emplace_back([this, &slot = *slot] { run_vcpu(slot); });
    ::pthread_setname_np(threads_.back().native_handle(), fmt::format("vcpu{}", slot->index).c_str());
  }
}

void ThreadedRunner::join() {
  for (auto& thread : threads_) thread.join();
  threads_.clear();
}

void ThreadedRunner::run_vcpu(VcpuSlot& slot) {
  Hazards* const own[] = {&slot.hazards};
  for (;;) {
    const u64 retired_before = slot.engine->retired();
    const Exit exit = slot.run(Budget{});

    if (auto outcome = outcome_of(slot, exit)) control_.request(std::move(*outcome));
    if (slot.hazards.test(Hazards::kStop) && !control_.check_in(own)) return;
    if (!std::holds_alternative<exit::Halted>(exit)) continue;

    // A hazard may have come between the engine's last look and now: then run again. If even so it halts at
    // once without retiring anything, what is pending can't wake it (IF is clear): look again now and then,
    // so that no wake-up is lost between two looks at a word that was not 0.
    if (slot.hazards.load() == 0) {
      sleep_halted(slot);
    } else if (slot.engine->retired() == retired_before) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
}

void ThreadedRunner::sleep_halted(VcpuSlot& slot) {
  const u64 begin = host_ns();
  const bool deaf = slot.deaf();
  if (deaf) note_deaf();
  slot.hazards.wait();
  if (deaf) deaf_.fetch_sub(1);
  slot.halted_ns.add(host_ns() - begin);
}

void ThreadedRunner::note_deaf() {
  if (deaf_.fetch_add(1) + 1 != slots_.size()) return;
  // The last one to fall asleep sees the others' words: one with a bit set (an NMI, INIT or SIPI sent to it
  // before its sender slept) is about to wake. Devices send maskable interrupts only.
  for (const auto& slot : slots_)
    if (slot->hazards.load() != 0) return;
  control_.request({Outcome::Kind::kStuck, 0, "every vCPU halted with interrupts disabled"});
}

}  // namespace vellum
