// The 8254's six modes, pulse by pulse, against the timing diagrams of the 82C54 data sheet (figures 15 to
// 20). OUT is drawn from the pulse after the last write on: '-' high, '_' low.
#include "devices/legacy/pit_channel.hpp"

#include <gtest/gtest.h>

#include <string>

namespace vellum::test {
namespace {

class PitChannelTest : public ::testing::Test {
 protected:
  void program(u8 mode, u16 count, bool bcd = false) {
    c.write_control(3, mode, bcd);
    write_count(count);
  }
  void write_count(u16 count) {
    c.write_count(static_cast<u8>(count));
    c.write_count(static_cast<u8>(count >> 8));
  }
  std::string draw(unsigned pulses) {
    std::string wave;
    for (unsigned i = 0; i < pulses; ++i) {
      c.advance(c.pulse + 1);
      wave += c.out ? '-' : '_';
    }
    return wave;
  }
  unsigned count() {
    c.latch_count();
    const unsigned low = c.read_count();
    return low | static_cast<unsigned>(c.read_count()) << 8;
  }
  void trigger() {
    c.set_gate(false);
    c.set_gate(true);
  }
  PitChannel c;
};

// ---- Mode 0 ----

TEST_F(PitChannelTest, Mode0RisesNPlus1PulsesAfterTheWrite) {
  program(0, 4);
  EXPECT_FALSE(c.out);

  EXPECT_EQ(draw(7), "____---");
}

TEST_F(PitChannelTest, Mode0CountsDownAndWraps) {
  program(0, 4);

  c.advance(c.pulse + 1);
  EXPECT_EQ(count(), 4u);
  c.advance(c.pulse + 4);
  EXPECT_EQ(count(), 0u);
  c.advance(c.pulse + 1);
  EXPECT_EQ(count(), 0xffffu);
}

TEST_F(PitChannelTest, Mode0GateHoldsTheCount) {
  program(0, 4);
  c.advance(c.pulse + 3);

  c.set_gate(false);
  EXPECT_EQ(draw(3), "___");
  EXPECT_EQ(count(), 2u);
  c.set_gate(true);

  EXPECT_EQ(draw(3), "_--");
}

TEST_F(PitChannelTest, Mode0LoadsWithTheGateLow) {
  c.set_gate(false);
  program(0, 3);
  c.advance(c.pulse + 5);
  EXPECT_EQ(count(), 3u);

  c.set_gate(true);

  EXPECT_EQ(draw(4), "__--") << "no pulse is needed to load";
}

TEST_F(PitChannelTest, Mode0FirstByteStopsTheCountSecondRestartsIt) {
  program(0, 4);
  c.advance(c.pulse + 10);
  ASSERT_TRUE(c.out);

  c.write_count(2);
  EXPECT_FALSE(c.out);
  EXPECT_EQ(draw(3), "___");
  c.write_count(0);

  EXPECT_EQ(draw(4), "__--");
}

// ---- Mode 1 ----

TEST_F(PitChannelTest, Mode1IsAOneShotOfNPulses) {
  program(1, 3);
  EXPECT_EQ(draw(4), "----") << "armed, not triggered";

  trigger();

  EXPECT_EQ(draw(6), "___---");
}

TEST_F(PitChannelTest, Mode1Retriggers) {
  program(1, 3);
  trigger();
  EXPECT_EQ(draw(2), "__");

  trigger();

  EXPECT_EQ(draw(5), "___--");
}

TEST_F(PitChannelTest, Mode1NewCountWaitsForTheTrigger) {
  program(1, 2);
  trigger();
  EXPECT_EQ(draw(1), "_");
  write_count(4);
  EXPECT_EQ(draw(4), "_---");

  trigger();

  EXPECT_EQ(draw(6), "____--");
}

TEST_F(PitChannelTest, Mode1IgnoresTheGateLevel) {
  program(1, 3);
  trigger();
  c.set_gate(false);

  EXPECT_EQ(draw(4), "___-");
}

// ---- Mode 2 ----

TEST_F(PitChannelTest, Mode2IsLowForOnePulseInN) {
  program(2, 4);

  EXPECT_EQ(draw(13), "---_---_---_-");
}

TEST_F(PitChannelTest, Mode2GateLowRaisesOutAndTheTriggerRestarts) {
  program(2, 3);
  EXPECT_EQ(draw(3), "--_");

  c.set_gate(false);
  EXPECT_TRUE(c.out);
  EXPECT_EQ(draw(4), "----");
  c.set_gate(true);

  EXPECT_EQ(draw(5), "--_--");
}

TEST_F(PitChannelTest, Mode2NewCountTakesEffectAtTheEndOfThePeriod) {
  program(2, 4);
  EXPECT_EQ(draw(2), "--");

  write_count(2);

  EXPECT_EQ(draw(8), "-_-_-_-_");
}

// ---- Mode 3 ----

TEST_F(PitChannelTest, Mode3EvenIsASquareWave) {
  program(3, 4);

  EXPECT_EQ(draw(12), "--__--__--__");
}

TEST_F(PitChannelTest, Mode3OddIsHighOnePulseLonger) {
  program(3, 5);

  EXPECT_EQ(draw(15), "---__---__---__");
}

TEST_F(PitChannelTest, Mode3CountsByTwos) {
  program(3, 6);

  c.advance(c.pulse + 1);
  EXPECT_EQ(count(), 6u);
  c.advance(c.pulse + 1);
  EXPECT_EQ(count(), 4u);
  c.advance(c.pulse + 1);
  EXPECT_EQ(count(), 2u);
  c.advance(c.pulse + 1);
  EXPECT_EQ(count(), 6u);
}

TEST_F(PitChannelTest, Mode3GateLowRaisesOutAndTheTriggerRestarts) {
  program(3, 4);
  EXPECT_EQ(draw(3), "--_");

  c.set_gate(false);
  EXPECT_EQ(draw(3), "---");
  c.set_gate(true);

  EXPECT_EQ(draw(5), "--__-");
}

TEST_F(PitChannelTest, Mode3NewCountTakesEffectAtTheEndOfTheHalf) {
  program(3, 8);
  EXPECT_EQ(draw(2), "--");

  write_count(4);

  EXPECT_EQ(draw(8), "--__--__");
}

// ---- Modes 4 and 5 ----

TEST_F(PitChannelTest, Mode4StrobesNPlus1PulsesAfterTheWrite) {
  program(4, 3);

  EXPECT_EQ(draw(7), "---_---");
}

TEST_F(PitChannelTest, Mode4StrobesOnlyOnce) {
  program(4, 3);
  c.advance(c.pulse + 4);
  ASSERT_FALSE(c.out);

  EXPECT_EQ(c.advance(c.pulse + 200'000), 1u);
}

TEST_F(PitChannelTest, Mode4GateHoldsTheCount) {
  program(4, 3);
  EXPECT_EQ(draw(2), "--");
  c.set_gate(false);
  EXPECT_EQ(draw(5), "-----");
  c.set_gate(true);

  EXPECT_EQ(draw(4), "-_--");
}

TEST_F(PitChannelTest, Mode4NewCountIsLoadedAtOnce) {
  program(4, 4);
  EXPECT_EQ(draw(3), "---");

  write_count(2);

  EXPECT_EQ(draw(5), "--_--");
}

TEST_F(PitChannelTest, Mode5StrobesAfterTheTrigger) {
  program(5, 3);
  EXPECT_EQ(draw(6), "------");

  trigger();

  EXPECT_EQ(draw(6), "---_--");
}

TEST_F(PitChannelTest, Mode5Retriggers) {
  program(5, 3);
  trigger();
  EXPECT_EQ(draw(2), "--");

  trigger();

  EXPECT_EQ(draw(6), "---_--");
}

// ---- Counts ----

TEST_F(PitChannelTest, ZeroIsTheLargestCount) {
  program(2, 0);

  EXPECT_EQ(c.pulses_to_rise(), 65'537u);  // one to load
}

TEST_F(PitChannelTest, BcdCountsInDecimal) {
  program(2, 0x0100, true);

  c.advance(c.pulse + 2);
  EXPECT_EQ(count(), 0x0099u);
  EXPECT_EQ(c.pulses_to_rise(), 99u);
}

TEST_F(PitChannelTest, BcdZeroIsTenThousand) {
  program(2, 0, true);

  EXPECT_EQ(c.pulses_to_rise(), 10'001u);
  c.advance(c.pulse + 2);
  EXPECT_EQ(count(), 0x9999u);
}

TEST_F(PitChannelTest, ACountOfOneWhereItIsIllegalDoesNoHarm) {
  program(2, 1);
  EXPECT_GT(c.advance(c.pulse + 1000), 0u);
  program(3, 1);
  EXPECT_GT(c.advance(c.pulse + 1000), 0u);
}

TEST_F(PitChannelTest, LowOrHighByteOnly) {
  c.write_control(1, 2, false);
  c.write_count(7);
  EXPECT_EQ(c.pulses_to_rise(), 8u);
  c.write_control(2, 2, false);
  c.write_count(7);
  EXPECT_EQ(c.pulses_to_rise(), 0x701u);
  c.advance(c.pulse + 1);
  EXPECT_EQ(c.read_count(), 7u);
}

// ---- Latches and status ----

TEST_F(PitChannelTest, ALatchedCountHoldsUntilReadWhole) {
  program(2, 1000);
  c.advance(c.pulse + 1);
  c.latch_count();
  c.advance(c.pulse + 10);
  c.latch_count();  // ignored

  EXPECT_EQ(c.read_count(), 1000 & 0xff);
  c.advance(c.pulse + 10);
  EXPECT_EQ(c.read_count(), 1000 >> 8);
  EXPECT_EQ(count(), 980u);
}

TEST_F(PitChannelTest, UnlatchedReadsAlternate) {
  program(2, 0x0210);
  c.advance(c.pulse + 1);

  EXPECT_EQ(c.read_count(), 0x10u);
  EXPECT_EQ(c.read_count(), 0x02u);
  EXPECT_EQ(c.read_count(), 0x10u);
}

TEST_F(PitChannelTest, StatusShowsOutModeAndNullCount) {
  c.write_control(3, 2, true);
  c.latch_status();
  EXPECT_EQ(c.read_count(), 0x80 | 0x40 | 0x30 | 2 << 1 | 1);
  write_count(0x10);
  c.latch_status();
  EXPECT_EQ(c.read_count() & 0x40, 0x40) << "written, not loaded";
  c.advance(c.pulse + 1);
  c.latch_status();
  EXPECT_EQ(c.read_count() & 0x40, 0);
}

TEST_F(PitChannelTest, StatusIsReadBeforeALatchedCount) {
  program(0, 0x1234);
  c.advance(c.pulse + 1);
  c.latch_count();
  c.latch_status();

  EXPECT_EQ(c.read_count(), 0x30);
  EXPECT_EQ(c.read_count(), 0x34);
  EXPECT_EQ(c.read_count(), 0x12);
}

}  // namespace
}  // namespace vellum::test
