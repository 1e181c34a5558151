// The local APIC timer in its three modes (SDM vol. 3A §11.5.4).
#include "fixture.hpp"

namespace vellum::test {
namespace {

class ApicTimerTest : public ApicTest {
 protected:
  static constexpr u32 kOneShot = 0, kPeriodic = 1u << 17, kDeadline = 2u << 17, kMasked = 1u << 16;
  static constexpr u32 kDivideBy1 = 0xb;
  ApicTimerTest() {
    enable();
    write(reg::kDivide, kDivideBy1);
  }
  int take() {
    const int vector = apic().acknowledge();
    if (vector >= 0) write(reg::kEoi, 0);
    return vector;
  }
};

TEST_F(ApicTimerTest, OneShotFiresOnceAtZero) {
  write(reg::kLvtTimer, kOneShot | 0x40);
  write(reg::kInitialCount, 5000);

  advance_to(4999);
  EXPECT_EQ(take(), -1);
  EXPECT_EQ(read(reg::kCurrentCount), 1u);
  advance_to(5000);
  EXPECT_EQ(take(), 0x40);
  EXPECT_EQ(read(reg::kCurrentCount), 0u);
  advance_to(1'000'000);
  EXPECT_EQ(take(), -1);
  EXPECT_EQ(read(reg::kInitialCount), 5000u);
  EXPECT_FALSE(clock.next_deadline().has_value());
}

struct DivideCase {
  u32 config;
  u64 divisor;
};
class Divide : public ApicTimerTest, public ::testing::WithParamInterface<DivideCase> {};

TEST_P(Divide, DividesTheBusClock) {
  write(reg::kDivide, GetParam().config);
  write(reg::kLvtTimer, kOneShot | 0x40);
  write(reg::kInitialCount, 100);

  clock.skip_to(40 * GetParam().divisor);
  EXPECT_EQ(read(reg::kCurrentCount), 60u);
  EXPECT_EQ(clock.next_deadline(), 100 * GetParam().divisor);
}
INSTANTIATE_TEST_SUITE_P(Figure11_10, Divide,
                         ::testing::Values(DivideCase{0x0, 2}, DivideCase{0x1, 4}, DivideCase{0x2, 8},
                                           DivideCase{0x3, 16}, DivideCase{0x8, 32}, DivideCase{0x9, 64},
                                           DivideCase{0xa, 128}, DivideCase{0xb, 1}));

TEST_F(ApicTimerTest, ChangingTheDividerKeepsTheCount) {
  write(reg::kLvtTimer, kOneShot | 0x40);
  write(reg::kInitialCount, 1000);
  clock.skip_to(400);

  write(reg::kDivide, 0x1);  // by 4

  EXPECT_EQ(read(reg::kCurrentCount), 600u);
  EXPECT_EQ(clock.next_deadline(), 400u + 2400u);
}

TEST_F(ApicTimerTest, PeriodicKeepsItsPhase) {
  constexpr u64 kPeriod = 1'000'000;
  write(reg::kLvtTimer, kPeriodic | 0x41);
  write(reg::kInitialCount, kPeriod);

  for (u64 i = 1; i <= 5; ++i) {
    advance_to(i * kPeriod - 1);
    EXPECT_EQ(take(), -1) << i;
    advance_to(i * kPeriod + 700);  // late by some
    EXPECT_EQ(take(), 0x41) << i;
    EXPECT_EQ(read(reg::kCurrentCount), kPeriod - 700) << i;
  }
}

TEST_F(ApicTimerTest, MissedPeriodsAreOneInterrupt) {
  write(reg::kLvtTimer, kPeriodic | 0x41);
  write(reg::kInitialCount, 100'000);

  advance_to(1'050'000);

  EXPECT_EQ(take(), 0x41);
  EXPECT_EQ(take(), -1);
  EXPECT_EQ(clock.next_deadline(), 1'100'000u);
}

TEST_F(ApicTimerTest, AShortPeriodIsNoStorm) {
  write(reg::kLvtTimer, kPeriodic | 0x41);
  write(reg::kInitialCount, 1);

  clock.skip_to(10'000);
  EXPECT_EQ(clock.run_expired(), 1u);

  EXPECT_EQ(clock.next_deadline(), 10'000 + kMinPeriodNs);
}

TEST_F(ApicTimerTest, MaskedItCountsWithoutAHostTimer) {
  write(reg::kLvtTimer, kPeriodic | kMasked | 0x41);
  write(reg::kInitialCount, 100'000);
  EXPECT_FALSE(clock.next_deadline().has_value());

  advance_to(250'000);
  EXPECT_EQ(read(reg::kCurrentCount), 50'000u);
  write(reg::kLvtTimer, kPeriodic | 0x41);

  EXPECT_EQ(take(), -1) << "what expired under the mask is gone";
  EXPECT_EQ(clock.next_deadline(), 300'000u);
}

TEST_F(ApicTimerTest, ZeroStopsTheTimer) {
  write(reg::kLvtTimer, kPeriodic | 0x41);
  write(reg::kInitialCount, 100'000);

  write(reg::kInitialCount, 0);

  EXPECT_FALSE(clock.next_deadline().has_value());
  EXPECT_EQ(read(reg::kCurrentCount), 0u);
}

TEST_F(ApicTimerTest, PeriodicMadeOneShotStopsAfterThePeriod) {
  write(reg::kLvtTimer, kPeriodic | 0x41);
  write(reg::kInitialCount, 100'000);
  clock.skip_to(30'000);

  write(reg::kLvtTimer, kOneShot | 0x42);
  advance_to(100'000);

  EXPECT_EQ(take(), 0x42);
  EXPECT_FALSE(clock.next_deadline().has_value());
}

TEST_F(ApicTimerTest, DeadlineFiresWhenTheTscReachesIt) {
  write(reg::kLvtTimer, kDeadline | 0x43);
  ASSERT_TRUE(apic().write_msr(kMsrTscDeadline, 70'000));
  EXPECT_EQ(msr(kMsrTscDeadline), 70'000u);

  advance_to(69'999);
  EXPECT_EQ(take(), -1);
  advance_to(70'000);

  EXPECT_EQ(take(), 0x43);
  EXPECT_EQ(msr(kMsrTscDeadline), 0u) << "disarmed by firing";
}

TEST_F(ApicTimerTest, ADeadlineInThePastFiresAtOnce) {
  clock.skip_to(1000);
  write(reg::kLvtTimer, kDeadline | 0x43);

  ASSERT_TRUE(apic().write_msr(kMsrTscDeadline, 1));

  EXPECT_EQ(take(), 0x43);
}

TEST_F(ApicTimerTest, WritingZeroDisarmsTheDeadline) {
  write(reg::kLvtTimer, kDeadline | 0x43);
  apic().write_msr(kMsrTscDeadline, 70'000);

  apic().write_msr(kMsrTscDeadline, 0);

  EXPECT_FALSE(clock.next_deadline().has_value());
}

TEST_F(ApicTimerTest, AFarDeadlineDoesNotOverflow) {
  clock.skip_to(1000);
  write(reg::kLvtTimer, kDeadline | 0x43);

  apic().write_msr(kMsrTscDeadline, ~u64{0});

  clock.skip_to(Clock::kEndNs);
  clock.run_expired();
  EXPECT_EQ(take(), -1);
  EXPECT_EQ(clock.next_deadline(), std::nullopt) << "beyond the end of time";
  EXPECT_EQ(msr(kMsrTscDeadline), ~u64{0}) << "it is armed all the same";
}

TEST_F(ApicTimerTest, TheModesDoNotMix) {
  write(reg::kLvtTimer, kDeadline | 0x43);
  write(reg::kInitialCount, 500);
  EXPECT_EQ(read(reg::kInitialCount), 0u) << "ignored in deadline mode";
  apic().write_msr(kMsrTscDeadline, 70'000);

  write(reg::kLvtTimer, kOneShot | 0x43);
  EXPECT_FALSE(clock.next_deadline().has_value()) << "a change of mode disarms";
  EXPECT_EQ(msr(kMsrTscDeadline), 0u);
  apic().write_msr(kMsrTscDeadline, 80'000);
  EXPECT_EQ(msr(kMsrTscDeadline), 0u) << "ignored outside deadline mode";
  write(reg::kInitialCount, 500);
  write(reg::kLvtTimer, kDeadline | 0x43);

  EXPECT_EQ(read(reg::kCurrentCount), 0u);
  EXPECT_FALSE(clock.next_deadline().has_value());
}

TEST_F(ApicTimerTest, SoftwareDisablingSilencesIt) {
  write(reg::kLvtTimer, kPeriodic | 0x41);
  write(reg::kInitialCount, 100'000);

  write(reg::kSvr, 0xff);
  advance_to(1'000'000);

  EXPECT_EQ(take(), -1);
}

TEST_F(ApicTimerTest, ARestoredPeriodOfZeroDividesNothing) {
  LocalApic::State state;
  state.svr = 0x1ff;
  state.lvt[0] = kPeriodic | 0x41;
  state.timer.counting = true;  // what no guest can bring about: an initial count of 0 stops the timer
  state.timer.start_count = 1;
  apics.clear();

  ApicBus other_bus;
  Core other_core;
  LocalApic other(0, clock, other_bus, other_core, nullptr, 40, state);
  clock.skip_to(1'000'000);
  clock.run_expired();
  EXPECT_EQ(other.read_page(reg::kCurrentCount, 4), 0u);
  EXPECT_EQ(other.acknowledge(), -1);
}

TEST_F(ApicTimerTest, ARestoredTimerFiresOnTime) {
  write(reg::kLvtTimer, kPeriodic | 0x41);
  write(reg::kInitialCount, 100'000);
  advance_to(130'000);
  const auto state = decode_state<LocalApic::State>(apic().save());
  ASSERT_TRUE(state);
  apics.clear();

  ApicBus other_bus;
  Core other_core;
  LocalApic other(0, clock, other_bus, other_core, nullptr, 40, *state);
  ASSERT_EQ(other.acknowledge(), 0x41);
  other.write_page(reg::kEoi, 4, 0);

  EXPECT_EQ(clock.next_deadline(), 200'000u);
  clock.skip_to(200'000);
  clock.run_expired();
  EXPECT_EQ(other.acknowledge(), 0x41);
}

}  // namespace
}  // namespace vellum::test
