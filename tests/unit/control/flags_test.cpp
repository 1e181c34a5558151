// POPF, PUSHF, CLI, STI at every privilege (SDM vol. 2; vol. 3B §20.3-20.4).
#include "fixture.hpp"

namespace vellum::test {
namespace {

enum class Where { kReal, kProtected, kV86 };

constexpr u64 kIopl3 = rflags::kIopl;
constexpr u64 kAlways = rflags::kArithmetic | rflags::kTf | rflags::kDf | rflags::kNt;  // in the low 16 bits
constexpr u64 kAlways32 = kAlways | rflags::kAc | rflags::kId;

class FlagsTest : public ControlTest {
 protected:
  void enter(Where where, u8 cpl, u64 flags, u64 cr4_bits) {
    if (where == Where::kProtected) enter_protected();
    if (where == Where::kV86) enter_v86();
    if (where == Where::kProtected) set_cpl(cpl);
    v->state.rflags = rflags::kFixed1 | flags | (where == Where::kV86 ? rflags::kVm : 0);
    v->state.cr4 |= cr4_bits;
  }
};

// --- POPF: which flags change, from all clear to all set and back
// ------------------------------------------------

struct PopCase {
  Where where;
  u8 cpl;
  u64 iopl;
  unsigned size;
  u64 changeable;
};
class PopFlags : public FlagsTest, public testing::WithParamInterface<PopCase> {};

TEST_P(PopFlags, SetsWhatItMay) {
  const PopCase c = GetParam();
  enter(c.where, c.cpl, c.iopl, 0);
  const u64 fixed = v->state.rflags;
  ASSERT_TRUE(pop_flags(*v, ~u64{0}, c.size));
  EXPECT_EQ(v->state.rflags, fixed | c.changeable);
}

TEST_P(PopFlags, ClearsWhatItMay) {
  const PopCase c = GetParam();
  const u64 all = rflags::kAll & ~rflags::kIopl & ~rflags::kVm;
  enter(c.where, c.cpl, all | c.iopl, 0);
  const u64 before = v->state.rflags;
  ASSERT_TRUE(pop_flags(*v, 0, c.size));
  const u64 rf = c.size == 2 ? 0 : rflags::kRf;
  EXPECT_EQ(v->state.rflags, before & ~(c.changeable | rf));
}

INSTANTIATE_TEST_SUITE_P(
    Privileges, PopFlags,
    testing::Values(PopCase{Where::kReal, 0, 0, 2, kAlways | rflags::kIf | kIopl3},
                    PopCase{Where::kReal, 0, 0, 4, kAlways32 | rflags::kIf | kIopl3},
                    PopCase{Where::kProtected, 0, 0, 2, kAlways | rflags::kIf | kIopl3},
                    PopCase{Where::kProtected, 0, 0, 4, kAlways32 | rflags::kIf | kIopl3},
                    PopCase{Where::kProtected, 0, 0, 8, kAlways32 | rflags::kIf | kIopl3},
                    PopCase{Where::kProtected, 3, 0, 2, kAlways},
                    PopCase{Where::kProtected, 3, 0, 4, kAlways32},
                    PopCase{Where::kProtected, 3, 0, 8, kAlways32},
                    PopCase{Where::kProtected, 1, 0, 4, kAlways32},
                    PopCase{Where::kProtected, 3, kIopl3, 2, kAlways | rflags::kIf},
                    PopCase{Where::kProtected, 3, kIopl3, 4, kAlways32 | rflags::kIf},
                    PopCase{Where::kProtected, 1, bit(12), 4, kAlways32 | rflags::kIf},
                    PopCase{Where::kProtected, 2, bit(12), 4, kAlways32},
                    PopCase{Where::kV86, 3, kIopl3, 2, kAlways | rflags::kIf},
                    PopCase{Where::kV86, 3, kIopl3, 4, kAlways32 | rflags::kIf}));

TEST_F(FlagsTest, PvisBitDoesNotChangePopf) {
  enter(Where::kProtected, 3, rflags::kVif, cr4::kPvi);
  ASSERT_TRUE(pop_flags(*v, 0, 4));
  EXPECT_EQ(v->state.rflags, rflags::kFixed1 | rflags::kVif);
}

TEST_F(FlagsTest, V86PopfWithoutVmeIsGp) {
  enter(Where::kV86, 3, 0, 0);
  expect_gp(pop_flags(*v, 0, 2));
  expect_gp(pop_flags(*v, 0, 4));
  u64 value;
  expect_gp(push_flags_value(*v, 2, value));
}

TEST_F(FlagsTest, V86PopfUnderVmeMovesIfToVif) {
  enter(Where::kV86, 3, rflags::kIf, cr4::kVme);
  ASSERT_TRUE(pop_flags(*v, rflags::kIf | rflags::kCf | kIopl3, 2));
  EXPECT_EQ(v->state.rflags, rflags::kFixed1 | rflags::kVm | rflags::kIf | rflags::kVif | rflags::kCf);
  ASSERT_TRUE(pop_flags(*v, 0, 2));
  EXPECT_EQ(v->state.rflags, rflags::kFixed1 | rflags::kVm | rflags::kIf);
  expect_gp(pop_flags(*v, 0, 4));
  expect_gp(pop_flags(*v, rflags::kTf, 2));
  v->state.rflags |= rflags::kVip;
  expect_gp(pop_flags(*v, rflags::kIf, 2));
  EXPECT_TRUE(pop_flags(*v, 0, 2));
}

TEST_F(FlagsTest, AcReachesTheMmu) {
  enter_long();
  v->state.cr0 |= cr0::kAm;
  put64(kPd, 0x87);
  set_cpl(3);
  u32 value;
  EXPECT_TRUE(v->mmu.read<u32>(kPageA + 1, value));
  ASSERT_TRUE(pop_flags(*v, rflags::kAc, 8));
  EXPECT_FALSE(v->mmu.read<u32>(kPageA + 1, value));
  EXPECT_EQ(v->fault.vector, kAc);
}

// --- PUSHF
// -----------------------------------------------------------------------------------------------------------

TEST_F(FlagsTest, PushfHidesVmAndRf) {
  enter(Where::kV86, 3, kIopl3 | rflags::kRf | rflags::kAc | rflags::kIf, 0);
  u64 value = 0;
  ASSERT_TRUE(push_flags_value(*v, 4, value));
  EXPECT_EQ(value, rflags::kFixed1 | kIopl3 | rflags::kAc | rflags::kIf);
  ASSERT_TRUE(push_flags_value(*v, 2, value));
  EXPECT_EQ(value, rflags::kFixed1 | kIopl3 | rflags::kIf);
}

TEST_F(FlagsTest, V86PushfUnderVmeShowsVifAndIopl3) {
  enter(Where::kV86, 3, rflags::kIf, cr4::kVme);
  u64 value = 0;
  ASSERT_TRUE(push_flags_value(*v, 2, value));
  EXPECT_EQ(value, rflags::kFixed1 | kIopl3);
  v->state.rflags |= rflags::kVif;
  ASSERT_TRUE(push_flags_value(*v, 2, value));
  EXPECT_EQ(value, rflags::kFixed1 | kIopl3 | rflags::kIf);
  expect_gp(push_flags_value(*v, 4, value));
}

// --- CLI, STI: tables 3-7 and 4-19 of vol. 2
// --------------------------------------------------------------------

enum class Effect { kIf, kVif, kGp };
struct ClearCase {
  Where where;
  u8 cpl;
  u64 iopl, cr4;
  bool vip;
  Effect cli, sti;
};
class ClearSet : public FlagsTest, public testing::WithParamInterface<ClearCase> {};

TEST_P(ClearSet, Cli) {
  const ClearCase c = GetParam();
  enter(c.where, c.cpl, c.iopl | rflags::kIf | rflags::kVif | (c.vip ? rflags::kVip : 0), c.cr4);
  const u64 before = v->state.rflags;
  EXPECT_EQ(cli(*v), c.cli != Effect::kGp);
  const u64 cleared = c.cli == Effect::kIf ? rflags::kIf : c.cli == Effect::kVif ? rflags::kVif : 0;
  EXPECT_EQ(v->state.rflags, before & ~cleared);
}

TEST_P(ClearSet, Sti) {
  const ClearCase c = GetParam();
  enter(c.where, c.cpl, c.iopl | (c.vip ? rflags::kVip : 0), c.cr4);
  const u64 before = v->state.rflags;
  EXPECT_EQ(sti(*v), c.sti != Effect::kGp);
  const u64 set = c.sti == Effect::kIf ? rflags::kIf : c.sti == Effect::kVif ? rflags::kVif : 0;
  EXPECT_EQ(v->state.rflags, before | set);
  EXPECT_EQ(v->state.shadow_sti, c.sti == Effect::kIf);
}

INSTANTIATE_TEST_SUITE_P(
    Decision, ClearSet,
    testing::Values(ClearCase{Where::kReal, 0, 0, 0, false, Effect::kIf, Effect::kIf},
                    ClearCase{Where::kReal, 0, 0, cr4::kVme | cr4::kPvi, true, Effect::kIf, Effect::kIf},
                    ClearCase{Where::kProtected, 0, 0, cr4::kPvi, true, Effect::kIf, Effect::kIf},
                    ClearCase{Where::kProtected, 3, kIopl3, cr4::kPvi, true, Effect::kIf, Effect::kIf},
                    ClearCase{Where::kProtected, 3, 0, 0, false, Effect::kGp, Effect::kGp},
                    ClearCase{Where::kProtected, 3, 0, cr4::kVme, false, Effect::kGp, Effect::kGp},
                    ClearCase{Where::kProtected, 3, bit(13), cr4::kPvi, false, Effect::kVif, Effect::kVif},
                    ClearCase{Where::kProtected, 3, 0, cr4::kPvi, true, Effect::kVif, Effect::kGp},
                    ClearCase{Where::kProtected, 1, 0, cr4::kPvi, false, Effect::kGp, Effect::kGp},
                    ClearCase{Where::kProtected, 2, bit(13), cr4::kPvi, false, Effect::kIf, Effect::kIf},
                    ClearCase{Where::kV86, 3, kIopl3, 0, false, Effect::kIf, Effect::kIf},
                    ClearCase{Where::kV86, 3, kIopl3, cr4::kVme, true, Effect::kIf, Effect::kIf},
                    ClearCase{Where::kV86, 3, 0, 0, false, Effect::kGp, Effect::kGp},
                    ClearCase{Where::kV86, 3, 0, cr4::kPvi, false, Effect::kGp, Effect::kGp},
                    ClearCase{Where::kV86, 3, bit(13), cr4::kVme, false, Effect::kVif, Effect::kVif},
                    ClearCase{Where::kV86, 3, 0, cr4::kVme, true, Effect::kVif, Effect::kGp}));

TEST_F(FlagsTest, StiWithInterruptsOnCastsNoShadow) {
  v->state.rflags |= rflags::kIf;
  ASSERT_TRUE(sti(*v));
  EXPECT_FALSE(v->state.shadow_sti);
}

}  // namespace
}  // namespace vellum::test
