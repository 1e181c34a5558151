#include <gtest/gtest.h>
#include <poll.h>

#include <future>

#include "fake_engine.hpp"
#include "machine/vcpu_runner.hpp"

namespace vellum {
namespace {

class RunnerTest : public ::testing::Test {
 protected:
  VcpuSlot& add_vcpu(FakeEngine::Script script) {
    auto& slot = *slots.emplace_back(std::make_unique<VcpuSlot>(static_cast<unsigned>(slots.size())));
    slot.engine = std::make_unique<FakeEngine>(std::move(script));
    return slot;
  }
  RunControl& make_control(unsigned threads) {
    std::vector<Hazards*> hazards;
    for (const auto& slot : slots) hazards.push_back(&slot->hazards);
    control.emplace(std::move(hazards), threads, ended);
    return *control;
  }
  LockstepRunner make_lockstep(bool input_possible = false) {
    return LockstepRunner(slots, make_control(1), clock, [input_possible] { return input_possible; });
  }

  EventFd ended = std::move(EventFd::create()).value();
  VirtualClock clock;
  std::vector<std::unique_ptr<VcpuSlot>> slots;
  std::optional<RunControl> control;
};

Exit power_off(RunControl& control) {
  control.request({Outcome::Kind::kPowerOff, 0, {}});
  return exit::Interrupted{};
}

TEST_F(RunnerTest, LockstepBudgetsEndAtTheNextDeadline) {
  std::vector<u64> budgets;
  u64 fired_at = 0;
  Timer timer(clock, [&] { fired_at = clock.now_ns(); });
  timer.arm(VirtualRounds::kQuantum + 2500);
  add_vcpu([&](FakeEngine& engine, Budget budget) -> Exit {
    if (budgets.size() == 3) return power_off(*control);
    budgets.push_back(budget.steps);
    return engine.spend(budget);
  });
  LockstepRunner runner = make_lockstep();
  runner.start();
  runner.join();
  EXPECT_EQ(budgets, (std::vector<u64>{VirtualRounds::kQuantum, 2500, VirtualRounds::kQuantum}));
  EXPECT_EQ(fired_at, VirtualRounds::kQuantum + 2500);
  EXPECT_EQ(control->outcome()->kind, Outcome::Kind::kPowerOff);
}

TEST_F(RunnerTest, LockstepTimeMovesByTheMostStepsOfAnyVcpu) {
  std::vector<std::pair<int, u64>> turns;  // who, when
  add_vcpu([&](FakeEngine& engine, Budget) -> Exit {
    if (turns.size() == 4) return power_off(*control);
    turns.emplace_back(0, clock.now_ns());
    engine.step_count += 100;
    return exit::Halted{};
  });
  add_vcpu([&](FakeEngine& engine, Budget budget) -> Exit {
    turns.emplace_back(1, clock.now_ns());
    return engine.spend(budget);
  });
  LockstepRunner runner = make_lockstep();
  runner.start();
  runner.join();
  using Turns = std::vector<std::pair<int, u64>>;
  EXPECT_EQ(turns, (Turns{{0, 0}, {1, 0}, {0, VirtualRounds::kQuantum}, {1, VirtualRounds::kQuantum}}));
}

TEST_F(RunnerTest, LockstepSkipsToTheDeadlineWhenAllAreHalted) {
  constexpr u64 kLater = 3'600'000'000'000;
  bool fired = false;
  Timer timer(clock, [&] { fired = true; });
  timer.arm(kLater);
  add_vcpu([&](FakeEngine&, Budget) -> Exit {
    if (fired) return power_off(*control);
    return exit::Halted{};
  });
  LockstepRunner runner = make_lockstep();
  runner.start();
  runner.join();
  EXPECT_EQ(clock.now_ns(), kLater);
}

TEST_F(RunnerTest, LockstepGoesOnWhereAStopInterruptedARound) {
  std::vector<std::pair<int, u64>> budgets;  // whose, what
  add_vcpu([&](FakeEngine& engine, Budget budget) -> Exit {
    if (budgets.size() == 3) return power_off(*control);
    budgets.emplace_back(0, budget.steps);
    if (budgets.size() > 1) return engine.spend(budget);
    engine.step_count += 100;
    slots[0]->hazards.set(Hazards::kStop);  // a pause that is over before the vCPU parks
    return exit::Interrupted{};
  });
  add_vcpu([&](FakeEngine& engine, Budget budget) -> Exit {
    budgets.emplace_back(1, budget.steps);
    return engine.spend(budget);
  });
  LockstepRunner runner = make_lockstep();
  runner.start();
  runner.join();
  constexpr u64 kAll = VirtualRounds::kQuantum;
  EXPECT_EQ(budgets, (std::vector<std::pair<int, u64>>{{0, kAll}, {0, kAll - 100}, {1, kAll}}));
  EXPECT_EQ(clock.now_ns(), kAll);
}

TEST_F(RunnerTest, LockstepReportsAGuestThatNothingCanWake) {
  add_vcpu([](FakeEngine&, Budget) -> Exit { return exit::Halted{}; });
  LockstepRunner runner = make_lockstep();
  runner.start();
  runner.join();
  EXPECT_EQ(control->outcome()->kind, Outcome::Kind::kStuck);
}

TEST_F(RunnerTest, LockstepReportsInterruptsOffEvenWithATimerArmed) {
  Timer timer(clock, [] {});
  timer.arm(1'000'000'000);
  auto& slot = add_vcpu([](FakeEngine&, Budget) -> Exit { return exit::Halted{}; });
  static_cast<FakeEngine&>(*slot.engine).rflags = 2;
  LockstepRunner runner = make_lockstep(true);
  runner.start();
  runner.join();
  EXPECT_EQ(control->outcome()->kind, Outcome::Kind::kStuck);
}

TEST_F(RunnerTest, LockstepWaitsWhileInputMayCome) {
  std::atomic<int> runs{0};
  add_vcpu([&](FakeEngine&, Budget) -> Exit {
    if (++runs == 5) return power_off(*control);
    return exit::Halted{};
  });
  LockstepRunner runner = make_lockstep(true);
  runner.start();
  runner.join();
  EXPECT_EQ(control->outcome()->kind, Outcome::Kind::kPowerOff);
}

TEST_F(RunnerTest, ATripleFaultEndsTheRunWithItsReason) {
  add_vcpu([](FakeEngine&, Budget) -> Exit { return exit::Shutdown{"#PF while delivering #DF"}; });
  LockstepRunner runner = make_lockstep();
  runner.start();
  runner.join();
  EXPECT_EQ(control->outcome()->kind, Outcome::Kind::kTripleFault);
  EXPECT_EQ(control->outcome()->text, "vCPU 0: #PF while delivering #DF");
}

// Until then the one that waits for the end has other things to look at.
TEST_F(RunnerTest, TheEndIsKnownWhenTheLastThreadHasLeft) {
  std::promise<void> blocked, release;
  add_vcpu([&](FakeEngine&, Budget) -> Exit {
    blocked.set_value();
    release.get_future().wait();  // as a device that waits for the reader of its output
    return exit::Interrupted{};
  });
  add_vcpu([&](FakeEngine&, Budget) -> Exit {
    blocked.get_future().wait();
    return power_off(*control);
  });
  ThreadedRunner runner(slots, make_control(2));
  runner.start();
  const auto wait_for_end = [this] {
    pollfd wait{ended.fd(), POLLIN, 0};
    EXPECT_EQ(::poll(&wait, 1, -1), 1);
    ended.clear();
  };
  wait_for_end();
  EXPECT_FALSE(control->all_left());
  release.set_value();
  wait_for_end();
  EXPECT_TRUE(control->all_left());
  runner.join();
}

TEST_F(RunnerTest, ThreadsSleepInHaltUntilAHazard) {
  std::promise<void> halted;
  auto& slot = add_vcpu([&](FakeEngine&, Budget) -> Exit {
    if (slots[0]->hazards.clear(Hazards::kInterrupt)) return power_off(*control);
    halted.set_value();
    return exit::Halted{};
  });
  ThreadedRunner runner(slots, make_control(1));
  runner.start();
  halted.get_future().wait();
  slot.hazards.set(Hazards::kInterrupt);
  runner.join();
  EXPECT_EQ(slot.exits_halted.get(), 1u);
  EXPECT_EQ(control->outcome()->kind, Outcome::Kind::kPowerOff);
}

// Nobody drives the clock here.
TEST_F(RunnerTest, AHaltedVcpuWakesForItsOwnTimer) {
  RealClock real;
  u64 deadline = 0, woken = 0;
  Timer timer(real, [this] { slots[0]->hazards.set(Hazards::kInterrupt); });
  auto& slot = add_vcpu([&](FakeEngine&, Budget) -> Exit {
    if (slots[0]->hazards.clear(Hazards::kInterrupt)) {
      woken = real.now_ns();
      return power_off(*control);
    }
    deadline = real.now_ns() + 2'000'000;
    timer.arm(deadline);
    return exit::Halted{};
  });
  slot.timer = &timer;
  ThreadedRunner runner(slots, make_control(1));
  runner.start();
  runner.join();
  EXPECT_GE(woken, deadline);
  EXPECT_EQ(slot.exits_halted.get(), 1u);
}

TEST_F(RunnerTest, AVcpuThatSomethingElseWakesGivesItsTimerBack) {
  RealClock real;
  std::atomic<bool> fired{false};
  Timer timer(real, [&] { fired = true; });
  auto& slot = add_vcpu([&](FakeEngine&, Budget) -> Exit {
    if (slots[0]->hazards.clear(Hazards::kInterrupt)) return power_off(*control);
    return exit::Halted{};
  });
  slot.timer = &timer;
  const u64 deadline = real.now_ns() + 3'600'000'000'000;
  timer.arm(deadline);
  ThreadedRunner runner(slots, make_control(1));
  runner.start();
  while (real.next_deadline()) std::this_thread::yield();  // until it holds it
  slot.hazards.set(Hazards::kInterrupt);
  runner.join();
  EXPECT_EQ(real.next_deadline(), deadline);
  EXPECT_FALSE(fired);
}

// As INIT does to the timer of a processor that sleeps: what it then waits for is the driver's.
TEST_F(RunnerTest, ATimerThatAnotherThreadArmsDuringTheSleepIsNotLost) {
  RealClock real;
  Timer timer(real, [this] { slots[0]->hazards.set(Hazards::kInterrupt); });
  auto& slot = add_vcpu([&](FakeEngine&, Budget) -> Exit {
    if (slots[0]->hazards.clear(Hazards::kInterrupt)) return power_off(*control);
    return exit::Halted{};
  });
  slot.timer = &timer;
  timer.arm(real.now_ns() + 3'600'000'000'000);
  ThreadedRunner runner(slots, make_control(1));
  runner.start();
  while (real.next_deadline()) std::this_thread::yield();
  timer.arm(real.now_ns());
  EXPECT_EQ(real.run_expired(), 1u);
  runner.join();
  EXPECT_EQ(control->outcome()->kind, Outcome::Kind::kPowerOff);
}

TEST_F(RunnerTest, ThreadsReportWhenAllAreHaltedWithInterruptsOff) {
  for (int i = 0; i < 3; ++i) {
    auto& slot = add_vcpu([](FakeEngine&, Budget) -> Exit { return exit::Halted{}; });
    static_cast<FakeEngine&>(*slot.engine).rflags = 2;
  }
  static_cast<FakeEngine&>(*slots[2]->engine).activity = Activity::kWaitForSipi;
  ThreadedRunner runner(slots, make_control(3));
  runner.start();
  runner.join();
  EXPECT_EQ(control->outcome()->kind, Outcome::Kind::kStuck);
}

TEST_F(RunnerTest, ThreadsReportItThoughAMaskedInterruptIsPending) {
  auto& slot = add_vcpu([](FakeEngine&, Budget) -> Exit { return exit::Halted{}; });
  static_cast<FakeEngine&>(*slot.engine).rflags = 2;
  slot.hazards.set(Hazards::kInterrupt);
  ThreadedRunner runner(slots, make_control(1));
  runner.start();
  runner.join();
  EXPECT_EQ(control->outcome()->kind, Outcome::Kind::kStuck);
}

TEST_F(RunnerTest, AnNmiWakesAVcpuWhoseInterruptsAreDisabled) {
  std::promise<void> halted;
  auto& slot = add_vcpu([&](FakeEngine&, Budget) -> Exit {
    if (slots[0]->hazards.clear(Hazards::kNmi)) return power_off(*control);
    halted.set_value();
    return exit::Halted{};
  });
  static_cast<FakeEngine&>(*slot.engine).rflags = 2;
  // A second one that runs keeps the machine from being stuck.
  add_vcpu([&](FakeEngine&, Budget) -> Exit {
    while (!slots[1]->hazards.test(Hazards::kStop)) std::this_thread::yield();
    return exit::Interrupted{};
  });
  ThreadedRunner runner(slots, make_control(2));
  runner.start();
  halted.get_future().wait();
  slot.hazards.set(Hazards::kNmi);
  runner.join();
  EXPECT_EQ(control->outcome()->kind, Outcome::Kind::kPowerOff);
}

TEST_F(RunnerTest, PauseStopsEveryVcpuAndResumeLetsThemGoOn) {
  std::atomic<u64> work{0};
  for (int i = 0; i < 2; ++i) {
    add_vcpu([&, i](FakeEngine&, Budget) -> Exit {
      while (!slots[static_cast<std::size_t>(i)]->hazards.test(Hazards::kStop)) ++work;
      return exit::Interrupted{};
    });
  }
  RunControl& run = make_control(2);
  ThreadedRunner runner(slots, run);
  runner.start();
  for (int round = 0; round < 3; ++round) {
    run.pause();
    const u64 at_pause = work;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    EXPECT_EQ(work, at_pause);
    run.resume();
    while (work == at_pause) std::this_thread::yield();
  }
  run.request({Outcome::Kind::kLeft, 0, {}});
  runner.join();
}

TEST_F(RunnerTest, TheFirstOutcomeCounts) {
  RunControl& run = make_control(0);
  run.request({Outcome::Kind::kDebugExit, 3, {}});
  run.request({Outcome::Kind::kPowerOff, 0, {}});
  EXPECT_EQ(run.outcome()->kind, Outcome::Kind::kDebugExit);
}

}  // namespace
}  // namespace vellum
