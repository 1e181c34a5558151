// The 8254 in a PC: ports, IRQ 0, read-back, the speaker port, coalescing.
#include "devices/legacy/pit.hpp"

#include "devices/legacy/ticks.hpp"
#include "fixture.hpp"

namespace vellum::test {
namespace {

class PitTest : public ::testing::Test {
 protected:
  static constexpr u64 kControl = 3, kPort61 = Pit::kControlBOffset;
  void program(unsigned channel, unsigned mode, unsigned count) {
    out(pit, kControl, channel << 6 | 0x30 | mode << 1);
    out(pit, channel, count & 0xff);
    out(pit, channel, count >> 8);
  }
  static u64 ns(u64 pulses) { return ns_of_ticks(pulses, Pit::kHz); }

  VirtualClock clock;
  Wire irq;
  Pit pit{clock, irq};
};

TEST_F(PitTest, ARateGeneratorTicks) {
  program(0, 2, 11932);  // 100 Hz
  irq.rises = 0;

  for (u64 i = 1; i <= 10; ++i) advance_to(clock, ns(1 + i * 11932));

  EXPECT_EQ(irq.rises, 10);
}

TEST_F(PitTest, OneShotRaisesTheLineUntilReprogrammed) {
  program(0, 0, 1000);
  EXPECT_FALSE(irq.level);

  advance_to(clock, ns(1000));
  EXPECT_FALSE(irq.level);
  advance_to(clock, ns(1001));
  EXPECT_TRUE(irq.level);
  EXPECT_FALSE(clock.next_deadline().has_value());
  out(pit, kControl, 0x30);

  EXPECT_FALSE(irq.level);
}

TEST_F(PitTest, MissedTicksAreOneEdge) {
  program(0, 2, 1193);
  irq.rises = 0;

  advance_to(clock, 50'000'000);

  EXPECT_EQ(irq.rises, 1);
  EXPECT_LE(*clock.next_deadline(), 51'000'001u) << "and the phase is kept";
}

TEST_F(PitTest, AShortPeriodIsNoStorm) {
  program(0, 2, 2);
  advance_to(clock, 100'000);

  EXPECT_EQ(clock.run_expired(), 0u);
  EXPECT_EQ(clock.next_deadline(), 100'000 + Pit::kMinPeriodNs);
}

TEST_F(PitTest, TheControlWordCannotBeRead) {
  EXPECT_EQ(in(pit, kControl), 0xff);
}

TEST_F(PitTest, LatchCommand) {
  program(2, 2, 5000);
  out(pit, kPort61, 1);
  clock.skip_to(ns(101));

  out(pit, kControl, 0x80);
  clock.skip_to(ns(500));

  EXPECT_EQ(in(pit, 2) | in(pit, 2) << 8, 4900);
}

TEST_F(PitTest, ReadBackLatchesSeveralCounters) {
  program(0, 2, 1000);
  program(2, 3, 1000);

  out(pit, kControl, 0xc0 | 0x02 | 0x08);  // status and count of 0 and 2
  const u8 status0 = in(pit, 0), status2 = in(pit, 2);

  EXPECT_EQ(status0 & 0x3f, 0x34);
  EXPECT_EQ(status2 & 0x3f, 0x36);
  EXPECT_EQ(status0 & 0x40, 0x40) << "not loaded yet";
}

TEST_F(PitTest, ReadBackOfTheCountOnly) {
  program(0, 2, 0x1234);
  clock.skip_to(ns(1));

  out(pit, kControl, 0xd0 | 0x02);

  EXPECT_EQ(in(pit, 0), 0x34);
  EXPECT_EQ(in(pit, 0), 0x12);
}

TEST_F(PitTest, Counter2IsGatedByPort61AndSeenThere) {
  program(2, 0, 100);
  clock.skip_to(ns(1000));
  EXPECT_EQ(in(pit, kPort61) & 0x20, 0) << "the gate is low";

  out(pit, kPort61, 1);
  EXPECT_EQ(in(pit, kPort61) & 0x21, 0x01);
  clock.skip_to(clock.now_ns() + ns(101));

  EXPECT_EQ(in(pit, kPort61) & 0x21, 0x21);
}

TEST_F(PitTest, Port61KeepsFourBitsAndShowsTheRefresh) {
  out(pit, kPort61, 0xff);
  EXPECT_EQ(in(pit, kPort61) & 0xcf, 0x0f);

  unsigned changes = 0;
  u8 last = in(pit, kPort61) & 0x10;
  for (unsigned i = 0; i < 100; ++i) {
    clock.retire(1000);
    const u8 now = in(pit, kPort61) & 0x10;
    changes += now != last ? 1 : 0;
    last = now;
  }

  EXPECT_GE(changes, 6u);  // every 15.09 us
  EXPECT_LE(changes, 7u);
}

TEST_F(PitTest, IgnoresAccessesBeyondItsRegisters) {
  pit.write(2, 4, 0xffff'ffff);
  pit.write(100, 8, ~u64{0});

  EXPECT_EQ(pit.read(100, 4), 0xffff'ffffu);
}

TEST_F(PitTest, ACounterThatWasNeverLoadedRoundTrips) {
  out(pit, kControl, 0x34);  // counter 0, mode 2, and no count
  const auto state = decode_state<Pit::State>(pit.save());
  ASSERT_TRUE(state) << state.error().message;

  Wire other_irq;
  Pit other(clock, other_irq, *state);

  EXPECT_EQ(in(other, 0), in(pit, 0));
  EXPECT_EQ(*decode_state<Pit::State>(other.save()), *decode_state<Pit::State>(pit.save()));
}

TEST_F(PitTest, RoundTripsInMidCount) {
  program(0, 2, 11932);
  program(2, 3, 777);
  out(pit, kPort61, 3);
  clock.skip_to(ns(5000));
  out(pit, kControl, 0x80);
  in(pit, 2);  // half of a latched count
  const auto state = decode_state<Pit::State>(pit.save());
  ASSERT_TRUE(state) << state.error().message;

  VirtualClock other_clock;
  other_clock.skip_to(clock.now_ns());
  Wire other_irq;
  Pit other(other_clock, other_irq, *state);

  EXPECT_EQ(*decode_state<Pit::State>(other.save()), *state);
  EXPECT_EQ(in(other, 2), in(pit, 2));
  EXPECT_EQ(other_clock.next_deadline(), clock.next_deadline());
}

}  // namespace
}  // namespace vellum::test
