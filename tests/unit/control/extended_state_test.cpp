// XSETBV, XGETBV, INVLPG, INVPCID.
#include "fixture.hpp"

namespace vellum::test {
namespace {

class ExtendedState : public ControlTest {
 protected:
  ExtendedState() {
    enter_long();
    v->state.cr4 |= cr4::kOsxsave;
  }
};

struct Xcr0Case {
  u64 value;
  bool valid;
};
class Xcr0Values : public ExtendedState, public testing::WithParamInterface<Xcr0Case> {};

TEST_P(Xcr0Values, AreChecked) {
  EXPECT_EQ(set_xcr(*v, 0, GetParam().value), GetParam().valid);
  u64 value = 0;
  ASSERT_TRUE(get_xcr(*v, 0, value));
  EXPECT_EQ(value, GetParam().valid ? GetParam().value : 1);
}

INSTANTIATE_TEST_SUITE_P(Values, Xcr0Values,
                         testing::Values(Xcr0Case{1, true}, Xcr0Case{3, true}, Xcr0Case{7, true},
                                         Xcr0Case{0, false}, Xcr0Case{2, false}, Xcr0Case{5, false},
                                         Xcr0Case{6, false}, Xcr0Case{0xe7, false}, Xcr0Case{0x1f, false},
                                         Xcr0Case{0x207, false}, Xcr0Case{bit(63) | 1, false}));

TEST_F(ExtendedState, OsxsaveAndPrivilege) {
  u64 value = 0;
  set_cpl(3);
  expect_gp(set_xcr(*v, 0, 7));
  EXPECT_TRUE(get_xcr(*v, 0, value));  // user code may read
  v->state.cr4 &= ~cr4::kOsxsave;
  expect_ud(set_xcr(*v, 0, 7));
  expect_ud(get_xcr(*v, 0, value));
}

TEST_F(ExtendedState, OtherIndices) {
  u64 value = 0;
  expect_gp(set_xcr(*v, 1, 1));
  expect_gp(get_xcr(*v, 2, value));
  expect_gp(get_xcr(*v, 0x80000000, value));
}

TEST_F(ExtendedState, Xgetbv1SaysWhatIsInUse) {
  ASSERT_TRUE(set_xcr(*v, 0, 7));
  v->state.xsave = {};
  v->state.xsave.fcw() = 0x37f;
  v->state.xsave.mxcsr() = 0x1f80;
  u64 value = ~u64{0};
  ASSERT_TRUE(get_xcr(*v, 1, value));
  EXPECT_EQ(value, 0u);
  v->state.xsave.xmm(15)[15] = 1;
  ASSERT_TRUE(get_xcr(*v, 1, value));
  EXPECT_EQ(value, xcr0::kSse);
  v->state.xsave.ymm_hi(0)[0] = 1;
  v->state.xsave.fcw() = 0x27f;
  ASSERT_TRUE(get_xcr(*v, 1, value));
  EXPECT_EQ(value, 7u);
  ASSERT_TRUE(set_xcr(*v, 0, 3));
  ASSERT_TRUE(get_xcr(*v, 1, value));
  EXPECT_EQ(value, 3u);
}

TEST_F(ExtendedState, InvlpgDropsThePageGlobalOrNot) {
  make_stale();
  ASSERT_TRUE(invlpg(*v, kLinear + 0x123));
  EXPECT_TRUE(flushed());
  EXPECT_FALSE(global_flushed());
  ASSERT_TRUE(invlpg(*v, kGlobalLinear));
  EXPECT_TRUE(global_flushed());
}

TEST_F(ExtendedState, InvlpgOfANonCanonicalAddressDoesNothing) {
  make_stale();
  EXPECT_TRUE(invlpg(*v, kLinear | bit(60)));
  EXPECT_FALSE(flushed());
}

TEST_F(ExtendedState, InvlpgIsPrivileged) {
  set_cpl(3);
  expect_gp(invlpg(*v, kLinear));
}

class InvpcidTest : public ExtendedState {
 protected:
  static constexpr u64 kPcid = 5;
  InvpcidTest() {
    EXPECT_TRUE(write_cr(*v, 4, v->state.cr4 | cr4::kPcide));
    EXPECT_TRUE(write_cr(*v, 3, kPml4 | kPcid));
    make_stale();
  }
};

struct InvpcidCase {
  u64 type, pcid, address;
  bool flushes, flushes_global;
};
class InvpcidTypes : public InvpcidTest, public testing::WithParamInterface<InvpcidCase> {};

TEST_P(InvpcidTypes, DropWhatTheyName) {
  const InvpcidCase c = GetParam();
  ASSERT_TRUE(invpcid(*v, c.type, c.pcid, c.address));
  EXPECT_EQ(flushed(), c.flushes);
  EXPECT_EQ(global_flushed(), c.flushes_global);
}

INSTANTIATE_TEST_SUITE_P(Types, InvpcidTypes,
                         testing::Values(InvpcidCase{0, 5, 0x40000fff, true, false},
                                         InvpcidCase{0, 5, 0x40001000, false, false},
                                         InvpcidCase{0, 6, 0x40000000, false, false},
                                         InvpcidCase{1, 5, bit(60), true, false},
                                         InvpcidCase{1, 6, 0, false, false}, InvpcidCase{2, 9, 0, true, true},
                                         InvpcidCase{3, 9, 0, true, false}));

TEST_F(InvpcidTest, ChecksItsOperands) {
  expect_gp(invpcid(*v, 4, kPcid, kLinear));
  expect_gp(invpcid(*v, ~u64{0}, kPcid, kLinear));
  expect_gp(invpcid(*v, 0, kPcid, bit(60)));
  for (const u64 type : {0, 1, 2, 3}) expect_gp(invpcid(*v, type, kPcid | bit(12), kLinear));
  set_cpl(3);
  expect_gp(invpcid(*v, 2, 0, 0));
}

TEST_F(ExtendedState, InvpcidWithoutPcideTakesPcidZeroOnly) {
  EXPECT_TRUE(invpcid(*v, 0, 0, kLinear));
  EXPECT_TRUE(invpcid(*v, 1, 0, 0));
  expect_gp(invpcid(*v, 0, 1, kLinear));
  expect_gp(invpcid(*v, 1, 1, 0));
  EXPECT_TRUE(invpcid(*v, 2, 1, 0));
}

}  // namespace
}  // namespace vellum::test
