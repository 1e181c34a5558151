// The 8259A pair (Intel 8259A data sheet).
#include "irq/pic.hpp"

#include <gtest/gtest.h>

namespace vellum::test {
namespace {

struct Wire final : InterruptLine {
  bool level = false;
  void set(bool asserted) override { level = asserted; }
};

class PicTest : public ::testing::Test {
 protected:
  static constexpr u64 kMasterCommand = 0, kMasterData = 1, kSlaveCommand = 2, kSlaveData = 3, kElcr = 4;

  PicTest() {
    pic.connect(intr);
    initialise(pic);
  }
  static void initialise(Pic& p, u8 master_icw4 = 1, u8 slave_icw4 = 1) {
    p.write(kMasterCommand, 1, 0x11);
    p.write(kMasterData, 1, 0x20);
    p.write(kMasterData, 1, 0x04);
    p.write(kMasterData, 1, master_icw4);
    p.write(kSlaveCommand, 1, 0x11);
    p.write(kSlaveData, 1, 0x28);
    p.write(kSlaveData, 1, 0x02);
    p.write(kSlaveData, 1, slave_icw4);
  }
  u8 read_irr(u64 command) {
    pic.write(command, 1, 0x0a);
    return static_cast<u8>(pic.read(command, 1));
  }
  u8 read_isr(u64 command) {
    pic.write(command, 1, 0x0b);
    return static_cast<u8>(pic.read(command, 1));
  }
  void pulse(unsigned irq) {
    pic.set_irq(irq, true);
    pic.set_irq(irq, false);
  }
  void eoi_master() { pic.write(kMasterCommand, 1, 0x20); }
  void eoi_slave() { pic.write(kSlaveCommand, 1, 0x20); }

  Wire intr;
  Pic pic;
};

TEST_F(PicTest, PowersUpMaskedAndSilent) {
  Pic fresh;
  Wire line;
  fresh.connect(line);

  fresh.set_irq(0, true);

  EXPECT_FALSE(line.level);
  EXPECT_EQ(fresh.read(kMasterData, 1), 0xffu);
}

TEST_F(PicTest, InitialisationClearsMasksAndEdges) {
  pulse(3);
  pic.write(kMasterData, 1, 0xff);

  initialise(pic);

  EXPECT_EQ(pic.read(kMasterData, 1), 0u);
  EXPECT_EQ(read_irr(kMasterCommand), 0u);
  EXPECT_FALSE(intr.level);
}

TEST_F(PicTest, DeliversOneInterruptForAnEdge) {
  pic.set_irq(1, true);
  EXPECT_TRUE(intr.level);
  EXPECT_EQ(read_irr(kMasterCommand), 0x02);

  EXPECT_EQ(pic.acknowledge(), 0x21);
  EXPECT_FALSE(intr.level);
  EXPECT_EQ(read_irr(kMasterCommand), 0u);
  EXPECT_EQ(read_isr(kMasterCommand), 0x02);
  eoi_master();
  EXPECT_FALSE(intr.level) << "still high, but no new edge";
  EXPECT_EQ(read_isr(kMasterCommand), 0u);
  pic.set_irq(1, false);
  pic.set_irq(1, true);

  EXPECT_TRUE(intr.level);
}

TEST_F(PicTest, ServesByPriority) {
  pulse(5);
  pulse(1);
  pulse(3);

  EXPECT_EQ(pic.acknowledge(), 0x21);
  EXPECT_FALSE(intr.level);
  eoi_master();
  EXPECT_EQ(pic.acknowledge(), 0x23);
  pulse(0);  // higher: nests
  EXPECT_TRUE(intr.level);
  EXPECT_EQ(pic.acknowledge(), 0x20);
  EXPECT_EQ(read_isr(kMasterCommand), 0x09);
  eoi_master();
  EXPECT_EQ(read_isr(kMasterCommand), 0x08) << "the non-specific EOI ends the highest";
  eoi_master();
  EXPECT_EQ(pic.acknowledge(), 0x25);
}

TEST_F(PicTest, MasksHoldBackAndKeepTheRequest) {
  pic.write(kMasterData, 1, 0x08);
  pulse(3);
  EXPECT_FALSE(intr.level);

  pic.write(kMasterData, 1, 0x00);

  EXPECT_TRUE(intr.level);
  EXPECT_EQ(pic.acknowledge(), 0x23);
}

TEST_F(PicTest, TheSlaveInterruptsThroughInput2) {
  pulse(8);
  EXPECT_EQ(read_irr(kMasterCommand), 0x04);

  EXPECT_EQ(pic.acknowledge(), 0x28);

  EXPECT_EQ(read_isr(kMasterCommand), 0x04);
  EXPECT_EQ(read_isr(kSlaveCommand), 0x01);
  pulse(3);
  EXPECT_FALSE(intr.level) << "input 2 is in service";
  eoi_slave();
  eoi_master();
  EXPECT_TRUE(intr.level);
}

TEST_F(PicTest, TheSlavesNextRequestFollowsBothEois) {
  pulse(9);
  pulse(12);

  EXPECT_EQ(pic.acknowledge(), 0x29);
  eoi_slave();
  EXPECT_FALSE(intr.level);
  eoi_master();
  EXPECT_TRUE(intr.level);
  EXPECT_EQ(pic.acknowledge(), 0x2c);
}

TEST_F(PicTest, SpecialFullyNestedModeLetsTheSlaveNest) {
  initialise(pic, 0x11, 0x01);
  pulse(12);
  ASSERT_EQ(pic.acknowledge(), 0x2c);

  pulse(8);

  EXPECT_TRUE(intr.level);
  EXPECT_EQ(pic.acknowledge(), 0x28);
}

TEST_F(PicTest, WithoutItTheSlaveWaits) {
  pulse(12);
  ASSERT_EQ(pic.acknowledge(), 0x2c);

  pulse(8);

  EXPECT_FALSE(intr.level);
}

TEST_F(PicTest, ARequestThatVanishedIsSpurious) {
  pulse(3);
  pic.write(kMasterData, 1, 0xff);

  EXPECT_EQ(pic.acknowledge(), 0x27);
  EXPECT_EQ(read_isr(kMasterCommand), 0u);
}

TEST_F(PicTest, TheSlavesSpuriousInterruptIsInServiceAtTheMasterOnly) {
  pic.set_irq(12, true);
  pic.write(kElcr + 1, 1, 0x10);  // a level,
  pic.set_irq(12, false);         // gone before the acknowledge; input 2 latched its edge

  EXPECT_EQ(pic.acknowledge(), 0x2f);
  EXPECT_EQ(read_isr(kMasterCommand), 0x04);
  EXPECT_EQ(read_isr(kSlaveCommand), 0u);
}

TEST_F(PicTest, SpecificEoi) {
  pulse(5);
  ASSERT_EQ(pic.acknowledge(), 0x25);
  pulse(1);
  ASSERT_EQ(pic.acknowledge(), 0x21);

  pic.write(kMasterCommand, 1, 0x65);

  EXPECT_EQ(read_isr(kMasterCommand), 0x02);
}

TEST_F(PicTest, AutomaticEoi) {
  initialise(pic, 0x03);
  pulse(5);

  EXPECT_EQ(pic.acknowledge(), 0x25);

  EXPECT_EQ(read_isr(kMasterCommand), 0u);
}

TEST_F(PicTest, RotationOnEoiMakesTheServedOneLast) {
  pulse(3);
  ASSERT_EQ(pic.acknowledge(), 0x23);
  pic.write(kMasterCommand, 1, 0xa0);  // rotate on non-specific EOI

  pulse(3);
  pulse(7);

  EXPECT_EQ(pic.acknowledge(), 0x27);
}

TEST_F(PicTest, RotationOnAutomaticEoi) {
  initialise(pic, 0x03);
  pic.write(kMasterCommand, 1, 0x80);
  pulse(1);
  ASSERT_EQ(pic.acknowledge(), 0x21);

  pulse(1);
  pulse(6);
  EXPECT_EQ(pic.acknowledge(), 0x26);
  EXPECT_EQ(pic.acknowledge(), 0x21);
  pic.write(kMasterCommand, 1, 0x00);
  pulse(1);
  EXPECT_EQ(pic.acknowledge(), 0x21) << "no rotation any more";
}

TEST_F(PicTest, SetPriorityCommand) {
  pic.write(kMasterCommand, 1, 0xc4);  // input 4 lowest, so 5 highest

  pulse(0);
  pulse(5);

  EXPECT_EQ(pic.acknowledge(), 0x25);
}

TEST_F(PicTest, RotateOnSpecificEoi) {
  pulse(4);
  ASSERT_EQ(pic.acknowledge(), 0x24);

  pic.write(kMasterCommand, 1, 0xe4);
  pulse(4);
  pulse(6);

  EXPECT_EQ(pic.acknowledge(), 0x26);
}

TEST_F(PicTest, SpecialMaskModeLetsLowerInputsThrough) {
  pulse(3);
  ASSERT_EQ(pic.acknowledge(), 0x23);
  pulse(6);
  EXPECT_FALSE(intr.level);

  pic.write(kMasterData, 1, 0x08);
  EXPECT_FALSE(intr.level);
  pic.write(kMasterCommand, 1, 0x68);

  EXPECT_TRUE(intr.level);
  EXPECT_EQ(pic.acknowledge(), 0x26);
}

TEST_F(PicTest, PollAcknowledgesByReading) {
  pulse(5);

  pic.write(kMasterCommand, 1, 0x0c);
  EXPECT_EQ(pic.read(kMasterCommand, 1), 0x85u);
  EXPECT_EQ(read_isr(kMasterCommand), 0x20);
  EXPECT_FALSE(intr.level);
  pic.write(kMasterCommand, 1, 0x0c);
  EXPECT_EQ(pic.read(kMasterCommand, 1), 0u) << "nothing pending";
}

TEST_F(PicTest, ElcrMakesInputsLevelTriggered) {
  pic.write(kElcr, 1, 0xff);
  pic.write(kElcr + 1, 1, 0xff);
  EXPECT_EQ(pic.read(kElcr, 1), 0xf8u) << "inputs 0 to 2 are edges for ever";
  EXPECT_EQ(pic.read(kElcr + 1, 1), 0xdeu);

  pic.set_irq(5, true);
  ASSERT_EQ(pic.acknowledge(), 0x25);
  eoi_master();
  EXPECT_TRUE(intr.level) << "still asserted";
  pic.set_irq(5, false);

  EXPECT_FALSE(intr.level);
}

TEST_F(PicTest, LevelModeOfIcw1) {
  pic.write(kMasterCommand, 1, 0x19);
  pic.write(kMasterData, 1, 0x20);
  pic.write(kMasterData, 1, 0x04);
  pic.write(kMasterData, 1, 0x01);

  pic.set_irq(1, true);
  ASSERT_EQ(pic.acknowledge(), 0x21);
  eoi_master();

  EXPECT_TRUE(intr.level);
}

TEST_F(PicTest, SingleModeSkipsIcw3AndIcw4CanBeLeftOut) {
  pic.write(kMasterCommand, 1, 0x12);
  pic.write(kMasterData, 1, 0x40);
  pic.write(kMasterData, 1, 0xfe);  // already OCW1

  EXPECT_EQ(pic.read(kMasterData, 1), 0xfeu);
  pulse(0);
  EXPECT_EQ(pic.acknowledge(), 0x40);
}

TEST_F(PicTest, RoundTripsInService) {
  pulse(12);
  ASSERT_EQ(pic.acknowledge(), 0x2c);
  pulse(1);
  pic.write(kMasterData, 1, 0x80);

  const auto state = decode_state<Pic::State>(pic.save());
  ASSERT_TRUE(state) << state.error().message;
  Pic other(*state);
  Wire line;
  other.connect(line);

  EXPECT_TRUE(line.level);
  EXPECT_EQ(*decode_state<Pic::State>(other.save()), *state);
  EXPECT_EQ(other.acknowledge(), 0x21);
}

TEST_F(PicTest, RestoredHalfInitialisedItGoesOn) {
  pic.write(kMasterCommand, 1, 0x11);
  pic.write(kMasterData, 1, 0x50);
  Pic other(*decode_state<Pic::State>(pic.save()));

  other.write(kMasterData, 1, 0x04);
  other.write(kMasterData, 1, 0x01);
  other.set_irq(0, true);

  EXPECT_EQ(other.acknowledge(), 0x50);
}

}  // namespace
}  // namespace vellum::test
