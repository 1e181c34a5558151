// Resets, seeks, and what else moves no data.
#include "fixture.hpp"

namespace vellum::test {
namespace {

using FloppyCommands = Floppy;

TEST_F(FloppyCommands, ResetEndsWithAnInterruptAndFourDrivesToSense) {
  out(floppy::kDigitalOutput, 0x18);
  EXPECT_EQ(status(), 0);
  EXPECT_FALSE(line.level);

  out(floppy::kDigitalOutput, 0x1c);

  EXPECT_EQ(status(), 0x80);
  EXPECT_TRUE(line.level);
  EXPECT_EQ(command({0x08}), (Bytes{0xc0, 0}));
  EXPECT_FALSE(line.level);
  EXPECT_EQ(command({0x08}), (Bytes{0xc1, 0}));
  EXPECT_EQ(command({0x08}), (Bytes{0xc2, 0}));
  EXPECT_EQ(command({0x08}), (Bytes{0xc3, 0}));
  EXPECT_EQ(command({0x08}), (Bytes{0x80})) << "nothing is left";
}

TEST_F(FloppyCommands, ResetByTheDataRateRegisterClearsItself) {
  out(floppy::kDataRate, 0x80);

  EXPECT_TRUE(line.level);
  EXPECT_EQ(status(), 0x80);
  EXPECT_EQ(command({0x08}), (Bytes{0xc0, 0}));
}

TEST_F(FloppyCommands, AResetForgetsACommandThatWasBegun) {
  give({0xe6, 0, 0});
  EXPECT_EQ(status(), 0x90);

  out(floppy::kDataRate, 0x80);

  EXPECT_EQ(status(), 0x80);
  EXPECT_EQ(command({0x10}), (Bytes{0x90}));
}

TEST_F(FloppyCommands, InterruptsPassTheGateOnly) {
  out(floppy::kDigitalOutput, 0x14);
  give({0x07, 0});
  EXPECT_FALSE(line.level);

  out(floppy::kDigitalOutput, 0x1c);

  EXPECT_TRUE(line.level);
}

TEST_F(FloppyCommands, SeeksEndWithAnInterrupt) {
  give({0x0f, 0x04, 12});

  EXPECT_TRUE(line.level);
  EXPECT_EQ(status(), 0x80);
  EXPECT_EQ(command({0x08}), (Bytes{0x24, 12}));
  EXPECT_FALSE(line.level);
  EXPECT_EQ(command({0x04, 0}), (Bytes{0x28}));
}

TEST_F(FloppyCommands, RecalibratingGoesToTrack0) {
  seek(40);

  give({0x07, 0});

  EXPECT_EQ(command({0x08}), (Bytes{0x20, 0}));
  EXPECT_EQ(command({0x04, 0}), (Bytes{0x38})) << "at track 0";
}

TEST_F(FloppyCommands, RecalibratingGivesUpAfter79Steps) {
  seek(83);

  give({0x07, 0});
  EXPECT_EQ(command({0x08}), (Bytes{0x70, 0}));
  give({0x07, 0});

  EXPECT_EQ(command({0x08}), (Bytes{0x20, 0}));
}

TEST_F(FloppyCommands, ADriveThatIsNotThereHasNoTrack0) {
  out(floppy::kDigitalOutput, 0x4e);

  give({0x07, 2});

  EXPECT_EQ(command({0x08}), (Bytes{0x72, 0}));
  EXPECT_EQ(command({0x04, 2}), (Bytes{0x2a}));
}

TEST_F(FloppyCommands, RelativeSeeks) {
  seek(10);

  give({0xcf, 0, 5});
  EXPECT_EQ(command({0x08}), (Bytes{0x20, 15}));
  give({0x8f, 0, 3});

  EXPECT_EQ(command({0x08}), (Bytes{0x20, 12}));
  EXPECT_EQ(command({0x4a, 0}), (Bytes{0, 0, 0, 12, 0, 1, 2}));
}

TEST_F(FloppyCommands, TwoSeeksAreSensedOneByOne) {
  give({0x0f, 0, 3});
  out(floppy::kDigitalOutput, 0x3d);
  give({0x0f, 1, 4});

  EXPECT_EQ(command({0x08}), (Bytes{0x20, 3}));
  EXPECT_TRUE(line.level);
  EXPECT_EQ(command({0x08}), (Bytes{0x21, 4}));
  EXPECT_FALSE(line.level);
}

TEST_F(FloppyCommands, TheDiskWasChangedUntilTheHeadsStep) {
  EXPECT_EQ(in(floppy::kDigitalInput), 0xff);
  give({0x07, 0}), command({0x08});
  EXPECT_EQ(in(floppy::kDigitalInput), 0xff) << "they were at track 0";

  seek(1);

  EXPECT_EQ(in(floppy::kDigitalInput), 0x7f);
  out(floppy::kDigitalOutput, 0x2d);
  EXPECT_EQ(in(floppy::kDigitalInput), 0xff) << "the other drive's";
}

TEST_F(FloppyCommands, WriteProtectionCanBeSensed) {
  disk->is_read_only = true;

  EXPECT_EQ(command({0x04, 0x04}), (Bytes{0x7c}));
}

TEST_F(FloppyCommands, SectorsPassUnderTheHead) {
  seek(7);
  line.edges = 0;

  give({0x4a, 0x04});

  EXPECT_EQ(line.edges, 1u);
  EXPECT_EQ(status(), 0xd0);
  EXPECT_EQ(take(), (Bytes{0x04, 0, 0, 7, 1, 1, 2}));
  EXPECT_FALSE(line.level);
  EXPECT_EQ(command({0x4a, 0x04}), (Bytes{0x04, 0, 0, 7, 1, 2, 2}));
}

struct Unreadable {
  const char* why;
  u8 output, rate, command, cylinder;
};
struct FloppyUnreadable : Floppy, testing::WithParamInterface<Unreadable> {};

TEST_P(FloppyUnreadable, HasNoSectors) {
  seek(GetParam().cylinder);
  out(floppy::kDigitalOutput, GetParam().output);
  out(floppy::kConfigurationControl, GetParam().rate);

  const Bytes result = command({GetParam().command, 0});

  EXPECT_EQ(part(result, 0, 3), (Bytes{0x40, 0x01, 0}));
}
INSTANTIATE_TEST_SUITE_P(All, FloppyUnreadable,
                         testing::Values(Unreadable{"the motor is off", 0x0c, floppy::k500, 0x4a, 0},
                                         Unreadable{"another rate", 0x1c, floppy::k250, 0x4a, 0},
                                         Unreadable{"FM", 0x1c, floppy::k500, 0x0a, 0},
                                         Unreadable{"no such track", 0x1c, floppy::k500, 0x4a, 80},
                                         Unreadable{"no drive", 0x4e, floppy::k500, 0x4a, 0}),
                         [](const auto& test) {
                           std::string name = test.param.why;
                           std::erase(name, ' ');
                           return name;
                         });

TEST_F(FloppyCommands, RegistersAreDumped) {
  command({0x03, 0xdf, 0x03});
  command({0x13, 0, 0x57, 0x22});
  command({0x12, 0x8f});
  seek(9);

  EXPECT_EQ(command({0x0e}), (Bytes{9, 0, 0, 0, 0xdf, 0x03, 0, 0x0f, 0x57, 0x22}));
}

TEST_F(FloppyCommands, LockedParametersOutliveAReset) {
  command({0x13, 0, 0x57, 0x22});
  command({0x12, 0x8f});
  EXPECT_EQ(command({0x94}), (Bytes{0x10}));

  out(floppy::kDataRate, 0x80);

  EXPECT_EQ(command({0x0e}), (Bytes{0, 0, 0, 0, 0, 0, 0, 0x8c, 0x07, 0x22}));
  EXPECT_EQ(command({0x14}), (Bytes{0}));
  out(floppy::kDataRate, 0x80);
  EXPECT_EQ(command({0x0e}), (Bytes{0, 0, 0, 0, 0, 0, 0, 0x0c, 0x20, 0}));
}

TEST_F(FloppyCommands, PerpendicularDrivesNeedTheOverwriteBit) {
  command({0x12, 0x84});
  command({0x12, 0x3b});

  EXPECT_EQ(command({0x0e}).at(7), 0x07);
}

TEST_F(FloppyCommands, UnknownOnesAreInvalid) {
  for (const u8 first : {0x00, 0x01, 0x11, 0x18, 0x19, 0x1d, 0x1f, 0x2e, 0x33})
    EXPECT_EQ(command({first}), (Bytes{0x80})) << int{first};
  EXPECT_EQ(status(), 0x80);
}

TEST_F(FloppyCommands, RegistersThatAreReadBack) {
  out(floppy::kTapeDrive, 0x02);
  EXPECT_EQ(in(floppy::kTapeDrive), 0xfe);
  EXPECT_EQ(in(floppy::kDigitalOutput), 0x1c);
  EXPECT_EQ(in(floppy::kData), 0) << "nothing to tell";
}

TEST(FloppyFormats, GoByTheSize) {
  EXPECT_EQ(floppy::format_of(1440 << 10)->sectors, 18);
  EXPECT_EQ(floppy::format_of(720 << 10)->drive_type, 4);
  EXPECT_EQ(floppy::format_of(1200 << 10)->drive_type, 2);
  EXPECT_EQ(floppy::format_of(2880 << 10)->rate, floppy::k1000);
  EXPECT_EQ(floppy::format_of(1 << 20), nullptr);
}

}  // namespace
}  // namespace vellum::test
