// MOV to and from debug registers (SDM vol. 3B §17.2).
#include "fixture.hpp"

namespace vellum::test {
namespace {

class DebugRegisters : public ControlTest {};

TEST_F(DebugRegisters, ReservedBitsReadAsTheyMust) {
  ASSERT_TRUE(write_dr(*v, 6, 0));
  EXPECT_EQ(v->state.dr6, 0xffff0ff0u);
  ASSERT_TRUE(write_dr(*v, 6, 0xffffffff));
  EXPECT_EQ(v->state.dr6, 0xffffeffful);
  ASSERT_TRUE(write_dr(*v, 7, 0));
  EXPECT_EQ(v->state.dr7, 0x400u);
  ASSERT_TRUE(write_dr(*v, 7, 0xffffdfff));  // all but GD
  EXPECT_EQ(v->state.dr7, 0xffff07ffu);
}

TEST_F(DebugRegisters, AddressesHold64Bits) {
  for (unsigned n = 0; n < 4; ++n) {
    u64 value = 0;
    ASSERT_TRUE(write_dr(*v, n, 0xffff800000001000 + n));
    ASSERT_TRUE(read_dr(*v, n, value));
    EXPECT_EQ(value, 0xffff800000001000 + n);
  }
}

TEST_F(DebugRegisters, UpperHalvesOfDr6AndDr7MustBeZero) {
  for (const unsigned n : {4u, 5u, 6u, 7u}) expect_gp(write_dr(*v, n, bit(32)));
}

TEST_F(DebugRegisters, Dr4AndDr5AreAliasesUnlessDe) {
  u64 value = 0;
  ASSERT_TRUE(write_dr(*v, 5, 1));
  EXPECT_EQ(v->state.dr7, 0x401u);
  ASSERT_TRUE(read_dr(*v, 4, value));
  EXPECT_EQ(value, v->state.dr6);
  v->state.cr4 |= cr4::kDe;
  for (const unsigned n : {4u, 5u}) {
    expect_ud(write_dr(*v, n, 0));
    expect_ud(read_dr(*v, n, value));
  }
}

TEST_F(DebugRegisters, NumbersAbove7DoNotExist) {
  u64 value;
  expect_ud(write_dr(*v, 8, 0));
  expect_ud(read_dr(*v, 15, value));
}

TEST_F(DebugRegisters, GeneralDetectReportsBd) {
  ASSERT_TRUE(write_dr(*v, 7, dr7::kGd));
  u64 value;
  for (const unsigned n : {0u, 3u, 6u, 7u}) {
    expect_fault(write_dr(*v, n, 0), kDb);
    EXPECT_EQ(v->fault.address, dr6::kBd);
    expect_fault(read_dr(*v, n, value), kDb);
  }
  EXPECT_EQ(v->state.dr7, dr7::kGd | dr7::kFixed1);  // cleared on entry to the handler, not here
}

TEST_F(DebugRegisters, PrivilegeComesBeforeGeneralDetect) {
  enter_protected();
  ASSERT_TRUE(write_dr(*v, 7, dr7::kGd));
  set_cpl(3);
  u64 value;
  expect_gp(read_dr(*v, 0, value));
  expect_gp(write_dr(*v, 7, 0));
  v->state.cr4 |= cr4::kDe;
  expect_ud(read_dr(*v, 4, value));
}

TEST_F(DebugRegisters, ArmingADataBreakpointReachesTheMmu) {
  enter_long();
  load(kPageA);
  ASSERT_TRUE(write_dr(*v, 0, kPageA));
  ASSERT_TRUE(write_dr(*v, 7, 1 | (u64{3} << 16) | (u64{3} << 18)));  // L0, read or write, four bytes
  u32 value = 0;
  ASSERT_TRUE(v->mmu.read<u32>(kPageA, value));
  EXPECT_EQ(v->mmu.breakpoint_hits, 1u);
}

}  // namespace
}  // namespace vellum::test
