#include "devices/pci/msix.hpp"

#include "pci_board.hpp"

namespace vellum {
namespace {

struct MsixTable : ::testing::Test {
  void program(unsigned vector, u32 control = 0) {
    msix.write(vector * 16, 4, 0xfee0'0000 + (vector << 12));
    msix.write(vector * 16 + 4, 4, 0);
    msix.write(vector * 16 + 8, 4, 0x40 + vector);
    msix.write(vector * 16 + 12, 4, control);
  }
  test::MessageLog log;
  pci::Msix msix{log, 66};
};

TEST_F(MsixTable, SendsWhatTheTableSays) {
  program(2);
  msix.set_control(true, false, true);
  msix.raise(2);
  ASSERT_EQ(log.messages.size(), 1u);
  EXPECT_EQ(log.messages[0].address, 0xfee0'2000u);
  EXPECT_EQ(log.messages[0].data, 0x42u);
}

TEST_F(MsixTable, EveryVectorIsMaskedAtFirst) {
  msix.set_control(true, false, true);
  msix.raise(0);
  EXPECT_TRUE(log.messages.empty());
  EXPECT_EQ(msix.read(12, 4), 1u);
  EXPECT_EQ(msix.read(msix.pba_offset(), 8), 1u);
}

TEST_F(MsixTable, AMaskedVectorWaitsForItsMask) {
  program(65, 1);
  msix.set_control(true, false, true);
  msix.raise(65);
  msix.raise(65);
  EXPECT_EQ(msix.read(msix.pba_offset() + 8, 4), 2u);
  msix.write(65 * 16 + 12, 4, 0);
  EXPECT_EQ(log.messages.size(), 1u);
  EXPECT_EQ(msix.read(msix.pba_offset() + 8, 4), 0u);
}

TEST_F(MsixTable, AMaskedFunctionWaitsForItsMask) {
  program(0);
  program(1);
  msix.set_control(true, true, true);
  msix.raise(0);
  msix.raise(1);
  EXPECT_TRUE(log.messages.empty());
  msix.set_control(true, false, true);
  EXPECT_EQ(log.messages.size(), 2u);
}

TEST_F(MsixTable, ANonMasterSendsNothing) {
  program(0);
  msix.set_control(true, false, false);
  msix.raise(0);
  EXPECT_TRUE(log.messages.empty());
  msix.set_control(true, false, true);
  EXPECT_EQ(log.messages.size(), 1u);
}

TEST_F(MsixTable, DisabledOrOutOfRangeIsNothing) {
  program(0);
  msix.raise(0);
  msix.set_control(true, false, true);
  msix.raise(66);
  msix.raise(0xffff);
  EXPECT_TRUE(log.messages.empty());
}

TEST_F(MsixTable, TakesQuadwordsAndIgnoresNarrowWrites) {
  msix.write(16, 8, 0x1'fee0'1003);
  EXPECT_EQ(msix.read(16, 8), 0x1'fee0'1000u);
  EXPECT_EQ(msix.read(17, 2), 0xe010u);
  msix.write(24, 1, 0xff);
  msix.write(26, 4, 0xff);
  EXPECT_EQ(msix.read(24, 4), 0u);
  msix.write(msix.pba_offset(), 4, ~0u);
  EXPECT_EQ(msix.read(msix.pba_offset(), 4), 0u);
}

TEST_F(MsixTable, PendingBitsAndTableAreState) {
  program(3, 1);
  msix.set_control(true, false, true);
  msix.raise(3);
  pci::Msix restored(log, 66, msix.state());
  restored.set_control(true, false, true);
  restored.write(3 * 16 + 12, 4, 0);
  ASSERT_EQ(log.messages.size(), 1u);
  EXPECT_EQ(log.messages[0].data, 0x43u);
}

}  // namespace
}  // namespace vellum
