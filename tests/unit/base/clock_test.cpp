// The clocks, and timers on the virtual one, where time is exact.
#include "base/clock.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace vellum {
namespace {

TEST(VirtualClock, TimeIsRetiredInstructions) {
  VirtualClock clock(1000);
  EXPECT_EQ(clock.now_ns(), 0u);
  clock.retire(5);
  EXPECT_EQ(clock.now_ns(), 5u);
  EXPECT_EQ(clock.tsc(), 5u);
  clock.skip_to(2'500'000'000);
  EXPECT_EQ(clock.now_ns(), 2'500'000'000u);
  clock.skip_to(7);
  EXPECT_EQ(clock.now_ns(), 2'500'000'000u);
  EXPECT_EQ(clock.wall_time(), (WallTime{1002, 500'000'000}));
  EXPECT_TRUE(clock.is_virtual());
}

TEST(VirtualClock, TscConvertsWithoutOverflow) {
  VirtualClock clock;
  EXPECT_EQ(clock.ns_of_tsc(12345), 12345u);
  EXPECT_EQ(clock.ns_of_tsc(~u64{0}), ~u64{0});
}

TEST(RealClock, RunsForwardFromZero) {
  RealClock clock;
  u64 ns = 0, tsc = 0;
  for (int i = 0; i < 1000; ++i) {
    EXPECT_GE(clock.now_ns(), ns);
    EXPECT_GE(clock.tsc(), tsc);
    ns = clock.now_ns();
    tsc = clock.tsc();
  }
  EXPECT_GT(ns, 0u);
  EXPECT_GT(clock.tsc_hz(), 100'000'000u);
  EXPECT_FALSE(clock.is_virtual());
}

TEST(RealClock, DeadlineOfATscIsNeverEarly) {
  RealClock clock;
  for (u64 tsc = 1; tsc < u64{1} << 62; tsc = tsc * 3 + 1) {
    const auto reached =
        static_cast<u64>(static_cast<u128>(clock.ns_of_tsc(tsc)) * clock.tsc_hz() / 1'000'000'000);
    EXPECT_GE(reached, tsc);
    EXPECT_LE(reached - tsc, clock.tsc_hz() / 1'000'000'000 + 1);
  }
}

struct Timers : testing::Test {
  VirtualClock clock;
  std::vector<int> fired;
  Timer one{clock, [this] { fired.push_back(1); }};
  Timer two{clock, [this] { fired.push_back(2); }};
};

TEST_F(Timers, FireOnceWhenDueEarliestFirst) {
  one.arm(200);
  two.arm(100);
  EXPECT_EQ(clock.next_deadline(), 100u);
  clock.retire(99);
  EXPECT_EQ(clock.run_expired(), 0u);
  clock.retire(1);
  EXPECT_EQ(clock.run_expired(), 1u);
  EXPECT_EQ(fired, (std::vector<int>{2}));
  clock.skip_to(1000);
  EXPECT_EQ(clock.run_expired(), 1u);
  EXPECT_EQ(clock.run_expired(), 0u);
  EXPECT_EQ(fired, (std::vector<int>{2, 1}));
  EXPECT_EQ(clock.next_deadline(), std::nullopt);
}

TEST_F(Timers, AllDueRunInOrder) {
  one.arm(20);
  two.arm(10);
  clock.skip_to(30);
  EXPECT_EQ(clock.run_expired(), 2u);
  EXPECT_EQ(fired, (std::vector<int>{2, 1}));
}

TEST_F(Timers, ArmingAgainForgetsTheEarlierDeadline) {
  one.arm(10);
  one.arm(50);
  EXPECT_EQ(clock.next_deadline(), 50u);
  clock.skip_to(20);
  EXPECT_EQ(clock.run_expired(), 0u);
  clock.skip_to(50);
  EXPECT_EQ(clock.run_expired(), 1u);
}

TEST_F(Timers, DisarmedOnesStaySilent) {
  one.arm(10);
  two.arm(10);
  one.disarm();
  one.disarm();
  clock.skip_to(20);
  EXPECT_EQ(clock.run_expired(), 1u);
  EXPECT_EQ(fired, (std::vector<int>{2}));
}

TEST_F(Timers, DeadlineInThePastIsDueAtOnce) {
  clock.skip_to(100);
  one.arm(5);
  EXPECT_EQ(clock.run_expired(), 1u);
}

TEST_F(Timers, DeadlineBeyondTheEndOfTimeNeverComes) {
  one.arm(5);
  one.arm(Clock::kEndNs + 1);
  two.arm(Clock::kEndNs);
  clock.skip_to(~u64{0});
  EXPECT_EQ(clock.now_ns(), Clock::kEndNs);
  EXPECT_EQ(clock.run_expired(), 1u);
  EXPECT_EQ(fired, (std::vector<int>{2}));
  EXPECT_EQ(clock.next_deadline(), std::nullopt);
}

TEST_F(Timers, SameDeadlineKeepsBoth) {
  one.arm(10);
  two.arm(10);
  clock.skip_to(10);
  EXPECT_EQ(clock.run_expired(), 2u);
}

TEST_F(Timers, CallbackMayArmItself) {
  int left = 3;
  Timer periodic(clock, [&] {
    if (--left > 0) periodic.arm(clock.now_ns() + 10);
  });
  periodic.arm(10);
  for (u64 now = 10; now <= 100; now += 10) {
    clock.skip_to(now);
    clock.run_expired();
  }
  EXPECT_EQ(left, 0);
  EXPECT_EQ(clock.next_deadline(), std::nullopt);
}

TEST_F(Timers, CallbackMayDisarmAnother) {
  Timer killer(clock, [this] { two.disarm(); });
  killer.arm(5);
  two.arm(6);
  clock.skip_to(10);
  EXPECT_EQ(clock.run_expired(), 1u);
  EXPECT_TRUE(fired.empty());
}

TEST_F(Timers, DestroyedTimerIsGone) {
  {
    Timer brief(clock, [this] { fired.push_back(3); });
    brief.arm(1);
  }
  clock.skip_to(10);
  EXPECT_EQ(clock.run_expired(), 0u);
}

TEST_F(Timers, AHeldOneIsLeftToItsHolder) {
  one.arm(10);
  two.arm(20);
  one.hold();
  EXPECT_EQ(clock.next_deadline(), 20u);
  clock.skip_to(30);
  EXPECT_EQ(clock.run_expired(), 1u);
  EXPECT_EQ(fired, (std::vector<int>{2}));
  one.release();
  EXPECT_EQ(fired, (std::vector<int>{2, 1}));
  EXPECT_EQ(clock.next_deadline(), std::nullopt);
}

TEST_F(Timers, ReleasedBeforeItIsDueOneIsTheDriversAgain) {
  one.arm(10);
  one.hold();
  clock.skip_to(9);
  one.release();
  EXPECT_TRUE(fired.empty());
  EXPECT_EQ(clock.next_deadline(), 10u);
  clock.skip_to(10);
  EXPECT_EQ(clock.run_expired(), 1u);
}

TEST_F(Timers, ArmedAnewAHeldOneIsTheDrivers) {
  one.arm(50);
  one.hold();
  one.arm(10);
  EXPECT_EQ(clock.next_deadline(), 10u);
  clock.skip_to(10);
  EXPECT_EQ(clock.run_expired(), 1u);
  one.release();
  EXPECT_EQ(fired, (std::vector<int>{1}));
}

TEST_F(Timers, DisarmedAHeldOneStaysSilent) {
  one.arm(10);
  one.hold();
  one.disarm();
  clock.skip_to(20);
  one.release();
  EXPECT_EQ(clock.run_expired(), 0u);
  EXPECT_TRUE(fired.empty());
}

TEST_F(Timers, OneThatIsNotArmedCannotBeHeld) {
  EXPECT_EQ(one.hold(), std::nullopt);
  one.release();
  EXPECT_TRUE(fired.empty());
}

TEST(RealClock, DeadlinesAreMomentsOfTheHostsAndThePastIsNow) {
  RealClock clock(1'000'000'000'000'000);  // a saved machine's, older than this host may be
  const u64 later = clock.now_ns() + 1'000'000'000;
  const auto past = clock.host_monotonic(1);
  ASSERT_TRUE(past);
  EXPECT_LE(*past, *clock.host_monotonic(clock.now_ns()));
  EXPECT_GT(*clock.host_monotonic(later), *past);
  EXPECT_LE(*clock.host_monotonic(later) - *past, 1'000'000'000u);
  Timer timer(clock, [] {});
  timer.arm(later);
  EXPECT_EQ(timer.hold(), clock.host_monotonic(later));
}

TEST_F(Timers, DriverHearsOfHeldOnes) {
  int notified = 0;
  one.arm(100);
  clock.on_deadline_moved([&] { ++notified; });
  one.hold();
  EXPECT_EQ(notified, 1);
  one.release();  // too early: it is the driver's, and the earliest
  EXPECT_EQ(notified, 2);
}

TEST_F(Timers, DriverHearsOfEarlierDeadlinesOnly) {
  int notified = 0;
  clock.on_deadline_moved([&] { ++notified; });
  one.arm(100);
  EXPECT_EQ(notified, 1);
  two.arm(200);
  EXPECT_EQ(notified, 1);
  two.arm(50);
  EXPECT_EQ(notified, 2);
  two.arm(300);
  EXPECT_EQ(notified, 2);
}

}  // namespace
}  // namespace vellum
