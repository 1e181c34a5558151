// One thread per vCPU, for the real clock.
#include <fmt/format.h>
#include <pthread.h>
#include <sys/prctl.h>

#include <chrono>

#include "machine/host_time.hpp"
#include "machine/vcpu_runner.hpp"

namespace vellum {
namespace {

/// What wakes a vCPU that halted with interrupts disabled.
constexpr u32 kWakesDeaf = ~u32{Hazards::kInterrupt};

/// For the rare state in which what is pending ends the halt and yet wakes nothing.
void nap() {
  std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

}  // namespace

void ThreadedRunner::start() {
  for (const auto& slot : slots_) {
    threads_.emplace_back([this, &slot = *slot] {
      // The kernel lets a thread sleep up to 50 us longer than it asked for, unless told otherwise; guests'
      // timers are to be on time.
      ::prctl(PR_SET_TIMERSLACK, 1);
      run_vcpu(slot);
      control_.leave();
    });
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
    const u64 steps_before = slot.engine->steps();
    const Exit exit = slot.run(Budget{});

    if (auto outcome = outcome_of(slot, exit)) control_.request(std::move(*outcome));
    if (slot.hazards.test(Hazards::kStop) && !control_.check_in(own)) return;
    if (!std::holds_alternative<exit::Halted>(exit)) continue;

    // A hazard that came between the engine's last look and now: run again. If even so it halts at once
    // without a step, what is pending can't wake it: don't spin.
    if (slot.hazards.load() != 0 && slot.engine->steps() == steps_before) nap();
    sleep_halted(slot);
  }
}

void ThreadedRunner::sleep_halted(VcpuSlot& slot) {
  const u64 begin = host_ns();
  if (!slot.deaf()) {
    while (slot.hazards.load() == 0) sleep_until_timer(slot);
  } else {
    note_deaf();
    // A maskable interrupt may be pending all the while; anything else wakes it.
    for (u32 seen = slot.hazards.load(); (seen & kWakesDeaf) == 0; seen = slot.hazards.load())
      slot.hazards.wait(seen);
    deaf_.fetch_sub(1);
  }
  slot.halted_ns.add(host_ns() - begin);
}

// The timer of its own local APIC is what wakes an idle vCPU most often. It wakes for it by itself, so that
// no other thread wakes first (docs/benchmarks.md, "Idle", has what that saves).
void ThreadedRunner::sleep_until_timer(VcpuSlot& slot) {
  if (slot.timer == nullptr) return slot.hazards.wait(0);
  slot.hazards.wait(0, slot.timer->hold());
  slot.timer->release();
}

void ThreadedRunner::note_deaf() {
  if (deaf_.fetch_add(1) + 1 != slots_.size()) return;
  // The last one to fall asleep sees the others' words: one with such a bit (an NMI, INIT or SIPI sent to it
  // before its sender slept) is about to wake. Devices send maskable interrupts only.
  for (const auto& slot : slots_)
    if ((slot->hazards.load() & kWakesDeaf) != 0) return;
  control_.request({Outcome::Kind::kStuck, 0, "every vCPU halted with interrupts disabled"});
}

}  // namespace vellum
