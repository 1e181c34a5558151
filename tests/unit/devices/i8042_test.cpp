// The keyboard controller and its keyboard, as drivers and firmware talk to them.
#include "devices/legacy/i8042.hpp"

#include "fixture.hpp"

namespace vellum::test {
namespace {

class I8042Test : public ::testing::Test {
 protected:
  static constexpr u64 kData = 0, kCommand = 1;
  static constexpr u8 kFull = 0x01;

  void command(u8 value) { out(kbc, kCommand, value); }
  void data(u8 value) { out(kbc, kData, value); }
  u8 status() { return in(kbc, kCommand); }
  std::vector<u8> drain() {
    std::vector<u8> bytes;
    while ((status() & kFull) != 0) bytes.push_back(in(kbc, kData));
    return bytes;
  }
  void set_command_byte(u8 value) {
    command(0x60);
    data(value);
  }

  Wire irq;
  Machine machine;
  I8042 kbc{irq, machine};
};

using Bytes = std::vector<u8>;

TEST_F(I8042Test, IsIdleAtPowerOn) {
  EXPECT_EQ(status(), 0x14);
}

TEST_F(I8042Test, TestsItself) {
  command(0xaa);
  EXPECT_EQ(drain(), Bytes{0x55});
  command(0xab);
  EXPECT_EQ(drain(), Bytes{0x00});
}

TEST_F(I8042Test, ReadsAndWritesTheCommandByteAndItsRam) {
  set_command_byte(0x43);
  command(0x20);
  EXPECT_EQ(drain(), Bytes{0x43});
  command(0x6a);
  data(0x77);
  command(0x2a);

  EXPECT_EQ(drain(), Bytes{0x77});
}

TEST_F(I8042Test, EnablesAndDisablesPorts) {
  command(0xad);
  command(0xa7);
  command(0x20);
  EXPECT_EQ(drain().at(0) & 0x30, 0x30);
  command(0xae);
  command(0xa8);
  command(0x20);

  EXPECT_EQ(drain().at(0) & 0x30, 0x00);
}

TEST_F(I8042Test, HasNoAuxiliaryPort) {
  command(0xa9);
  EXPECT_EQ(drain(), Bytes{0x02});
  command(0xd3);
  data(0x5a);
  EXPECT_EQ(status() & 0x20, 0) << "what comes back is not from an auxiliary device";
  EXPECT_EQ(drain(), Bytes{0x5a});
  command(0xd4);
  data(0xf2);
  EXPECT_EQ(drain(), Bytes{});
}

TEST_F(I8042Test, PulsingLineZeroResets) {
  command(0xff);
  EXPECT_EQ(machine.resets, 0);

  command(0xfe);

  EXPECT_EQ(machine.resets, 1);
}

TEST_F(I8042Test, TheOutputPortResetsAndKeepsA20) {
  command(0xd1);
  data(0xdd);
  command(0xd0);
  EXPECT_EQ(drain().at(0) & 0x03, 0x01);
  EXPECT_EQ(machine.resets, 0);
  command(0xd1);
  data(0xde);

  EXPECT_EQ(machine.resets, 1);
}

TEST_F(I8042Test, TheKeyboardResetsAndIdentifies) {
  set_command_byte(0x00);  // no translation
  data(0xff);
  EXPECT_EQ(drain(), (Bytes{0xfa, 0xaa}));
  data(0xf2);
  EXPECT_EQ(drain(), (Bytes{0xfa, 0xab, 0x83}));
  data(0xee);
  EXPECT_EQ(drain(), Bytes{0xee});
}

TEST_F(I8042Test, TheKeyboardTakesParameters) {
  set_command_byte(0x00);
  data(0xed);
  data(0x07);
  EXPECT_EQ(drain(), (Bytes{0xfa, 0xfa}));
  data(0xf0);
  data(0x00);
  EXPECT_EQ(drain(), (Bytes{0xfa, 0xfa, 0x02}));
  data(0xf0);
  data(0xf4);  // a command instead of a parameter
  EXPECT_EQ(drain().back(), 0xfa);
}

TEST_F(I8042Test, TheKeyboardAsksAgainForWhatItDoesNotKnow) {
  data(0x12);

  EXPECT_EQ(drain(), Bytes{0xfe});
}

TEST_F(I8042Test, KeysInterrupt) {
  set_command_byte(0x01);

  kbc.type(Bytes{0x1c});

  EXPECT_TRUE(irq.level);
  EXPECT_EQ(status() & kFull, kFull);
  EXPECT_EQ(in(kbc, kData), 0x1c);
  EXPECT_FALSE(irq.level);
}

TEST_F(I8042Test, EveryByteIsAnEdge) {
  set_command_byte(0x01);
  kbc.type(Bytes{0xe0, 0x75});

  in(kbc, kData);

  EXPECT_TRUE(irq.level);
  EXPECT_EQ(irq.rises, 2);
}

TEST_F(I8042Test, TranslatesToSetOne) {
  set_command_byte(0x40);

  kbc.type(Bytes{0x1c, 0xf0, 0x1c, 0xe0, 0x75, 0xe0, 0xf0, 0x75});

  EXPECT_EQ(drain(), (Bytes{0x1e, 0x9e, 0xe0, 0x48, 0xe0, 0xc8}));
}

TEST_F(I8042Test, TheTranslatedIdIsThatOfATranslatedKeyboard) {
  set_command_byte(0x40);
  data(0xf2);

  EXPECT_EQ(drain(), (Bytes{0xfa, 0xab, 0x41}));
}

TEST_F(I8042Test, KeysWaitWhileTheClockIsOff) {
  set_command_byte(0x10);
  kbc.type(Bytes{0x1c});
  EXPECT_EQ(status() & kFull, 0);

  command(0xae);

  EXPECT_EQ(drain(), Bytes{0x1c});
}

TEST_F(I8042Test, WithoutScanningKeysAreLost) {
  set_command_byte(0x00);
  data(0xf5);
  drain();

  kbc.type(Bytes{0x1c});

  EXPECT_EQ(drain(), Bytes{});
}

TEST_F(I8042Test, EnablingScanningForgetsEarlierKeys) {
  set_command_byte(0x10);
  kbc.type(Bytes{0x1c, 0x32});

  data(0xf4);

  EXPECT_EQ(drain(), Bytes{0xfa});
}

TEST_F(I8042Test, KeysLeaveRoomForAnswers) {
  set_command_byte(0x10);
  for (unsigned i = 0; i < 100; ++i) kbc.type(Bytes{0x1c});

  data(0xf2);

  const Bytes all = drain();
  ASSERT_GE(all.size(), 3u);
  EXPECT_EQ(Bytes(all.end() - 3, all.end()), (Bytes{0xfa, 0xab, 0x83}));
}

TEST_F(I8042Test, AHostileGuestGainsNoMemory) {
  for (unsigned i = 0; i < 100'000; ++i) command(0xaa);
  for (unsigned i = 0; i < 1000; ++i) kbc.type(Bytes{0x1c});

  EXPECT_LE(drain().size(), 64u);
}

TEST_F(I8042Test, AnyCommandWithAnyByteIsSurvived) {
  for (unsigned c = 0; c < 256; ++c) {
    for (unsigned d = 0; d < 256; ++d) {
      command(static_cast<u8>(c));
      data(static_cast<u8>(d));
      in(kbc, kData);
    }
  }
  drain();
  set_command_byte(0x00);
  command(0xaa);
  EXPECT_EQ(drain().back(), 0x55);
}

TEST_F(I8042Test, RoundTripsInMidSequence) {
  set_command_byte(0x41);
  kbc.type(Bytes{0xf0});
  kbc.type(Bytes{0x1c, 0x32});
  command(0xd1);
  const auto state = decode_state<I8042::State>(kbc.save());
  ASSERT_TRUE(state) << state.error().message;

  Wire other_irq;
  I8042 other(other_irq, machine, *state);

  EXPECT_TRUE(other_irq.level);
  EXPECT_EQ(in(other, kData), 0x9e);
  EXPECT_EQ(in(other, kData), 0x30);
  out(other, kData, 0xfe);
  EXPECT_EQ(machine.resets, 1) << "the parameter of the output-port command";
}

}  // namespace
}  // namespace vellum::test
