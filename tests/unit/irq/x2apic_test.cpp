// x2APIC mode: transitions, MSR access rules, destinations (SDM vol. 3A §11.12).
#include "fixture.hpp"

namespace vellum::test {
namespace {

class X2apicTest : public ApicTest {
 protected:
  X2apicTest() {
    enable();
    enter_x2apic();
  }
  bool write_msr(u32 index, u64 value, std::size_t i = 0) { return apic(i).write_msr(index, value); }
  bool readable(u32 index) {
    u64 value = 0;
    return apic().read_msr(index, value);
  }
};

struct Transition {
  u64 from, to;  // EXTD and EN bits
  bool legal;
};
class Transitions : public ApicTest, public ::testing::WithParamInterface<Transition> {};

TEST_P(Transitions, AreThoseOfFigure11_27) {
  constexpr u64 kBase = 0xfee0'0100;
  if (GetParam().from == 0x000) {
    ASSERT_TRUE(apic().write_msr(kMsrApicBase, kBase));
  }
  if (GetParam().from == 0xc00) {
    ASSERT_TRUE(apic().write_msr(kMsrApicBase, kBase | 0xc00));
  }

  EXPECT_EQ(apic().write_msr(kMsrApicBase, kBase | GetParam().to), GetParam().legal);

  EXPECT_EQ(msr(kMsrApicBase) & 0xc00, GetParam().legal ? GetParam().to : GetParam().from);
}
INSTANTIATE_TEST_SUITE_P(All, Transitions,
                         ::testing::Values(Transition{0x800, 0x800, true}, Transition{0x800, 0xc00, true},
                                           Transition{0x800, 0x000, true}, Transition{0x800, 0x400, false},
                                           Transition{0xc00, 0xc00, true}, Transition{0xc00, 0x800, false},
                                           Transition{0xc00, 0x000, true}, Transition{0xc00, 0x400, false},
                                           Transition{0x000, 0x000, true}, Transition{0x000, 0x800, true},
                                           Transition{0x000, 0xc00, false}, Transition{0x000, 0x400, false}));

TEST_F(ApicTest, X2apicMsrsFaultInXapicMode) {
  u64 value = 0;
  EXPECT_FALSE(apic().read_msr(x2(reg::kId), value));
  EXPECT_FALSE(apic().write_msr(x2(reg::kTpr), 0));
}

TEST_F(X2apicTest, ThePageIsGone) {
  EXPECT_EQ(apic().page(), ~u64{0});
}

TEST_F(X2apicTest, KeepsTheStateOfXapicMode) {
  EXPECT_EQ(msr(x2(reg::kSvr)), 0x1ffu);
}

TEST_F(X2apicTest, HasWideIdsAndDerivedLogicalIds) {
  add_processor(0x25);
  enter_x2apic(1);

  EXPECT_EQ(msr(x2(reg::kId), 1), 0x25u);
  EXPECT_EQ(msr(x2(reg::kLdr), 1), 0x0002'0020u);
}

TEST_F(X2apicTest, ReadsFaultWhereTheTableSaysSo) {
  for (u32 offset : {reg::kId,       reg::kVersion,  reg::kTpr,          reg::kPpr,          reg::kLdr,
                     reg::kSvr,      reg::kIsr,      reg::kTmr,          reg::kIrr + 0x70,   reg::kEsr,
                     reg::kIcrLow,   reg::kLvtTimer, reg::kLvtThermal,   reg::kLvtPmc,       reg::kLvtLint0,
                     reg::kLvtLint1, reg::kLvtError, reg::kInitialCount, reg::kCurrentCount, reg::kDivide})
    EXPECT_TRUE(readable(x2(offset))) << std::hex << offset;
  for (u32 offset : {0x00u, 0x10u, 0x40u, 0x90u, reg::kEoi, 0xc0u, reg::kDfr, 0x290u, 0x2f0u, reg::kIcrHigh,
                     0x3a0u, reg::kSelfIpi, 0x400u, 0xff0u})
    EXPECT_FALSE(readable(x2(offset))) << std::hex << offset;
}

TEST_F(X2apicTest, WritesFaultOnReadOnlyRegistersAndReservedBits) {
  EXPECT_FALSE(write_msr(x2(reg::kId), 0));
  EXPECT_FALSE(write_msr(x2(reg::kVersion), 0));
  EXPECT_FALSE(write_msr(x2(reg::kPpr), 0));
  EXPECT_FALSE(write_msr(x2(reg::kLdr), 0));
  EXPECT_FALSE(write_msr(x2(reg::kDfr), 0));
  EXPECT_FALSE(write_msr(x2(reg::kIsr), 0));
  EXPECT_FALSE(write_msr(x2(reg::kIcrHigh), 0));
  EXPECT_FALSE(write_msr(x2(reg::kCurrentCount), 0));
  EXPECT_FALSE(write_msr(x2(reg::kEoi), 1));
  EXPECT_FALSE(write_msr(x2(reg::kEsr), 1));
  EXPECT_FALSE(write_msr(x2(reg::kTpr), 0x100));
  EXPECT_FALSE(write_msr(x2(reg::kTpr), u64{1} << 32));
  EXPECT_FALSE(write_msr(x2(reg::kSvr), 0x1000));
  EXPECT_FALSE(write_msr(x2(reg::kLvtTimer), 0x100));
  EXPECT_FALSE(write_msr(x2(reg::kDivide), 4));
  EXPECT_FALSE(write_msr(x2(reg::kSelfIpi), 0x100));
  EXPECT_FALSE(write_msr(x2(reg::kIcrLow), 0x1'0000));
  EXPECT_FALSE(write_msr(x2(reg::kIcrLow), 0x2000));

  EXPECT_TRUE(write_msr(x2(reg::kEoi), 0));
  EXPECT_TRUE(write_msr(x2(reg::kEsr), 0));
  EXPECT_TRUE(write_msr(x2(reg::kTpr), 0xff));
  EXPECT_TRUE(write_msr(x2(reg::kLvtTimer), 0x4'00ff));
  EXPECT_TRUE(write_msr(x2(reg::kInitialCount), 0xffff'ffff));
}

TEST_F(X2apicTest, SelfIpiIsAnEdge) {
  EXPECT_TRUE(write_msr(x2(reg::kSelfIpi), 0x66));

  EXPECT_EQ(apic().acknowledge(), 0x66);
  EXPECT_EQ(msr(x2(reg::kTmr + 0x30)), 0u);
}

TEST_F(X2apicTest, AnIllegalSelfIpiIsAnError) {
  EXPECT_TRUE(write_msr(x2(reg::kSelfIpi), 0x6));

  write_msr(x2(reg::kEsr), 0);
  EXPECT_EQ(msr(x2(reg::kEsr)), 0x20u);
}

TEST_F(X2apicTest, IcrIsOneRegister) {
  add_processor(300);
  enable(1);
  enter_x2apic(1);

  EXPECT_TRUE(write_msr(x2(reg::kIcrLow), u64{300} << 32 | 0x4077));

  EXPECT_EQ(msr(x2(reg::kIcrLow)), u64{300} << 32 | 0x4077);
  EXPECT_EQ(apic(1).acknowledge(), 0x77);
  EXPECT_EQ(apic(0).acknowledge(), -1);
}

TEST_F(X2apicTest, LogicalDestinationsNameAClusterAndASetOfItsMembers) {
  for (u32 id : {0x11u, 0x12u, 0x21u}) {
    add_processor(id);
    enable(apics.size() - 1);
    enter_x2apic(apics.size() - 1);
  }

  write_msr(x2(reg::kIcrLow), u64{0x0001'0006} << 32 | 0x4855);

  EXPECT_EQ(apic(0).acknowledge(), -1);
  EXPECT_EQ(apic(1).acknowledge(), 0x55);
  EXPECT_EQ(apic(2).acknowledge(), 0x55);
  EXPECT_EQ(apic(3).acknowledge(), -1) << "another cluster";
}

TEST_F(X2apicTest, AllOnesIsABroadcastAnd0xffIsNot) {
  add_processor(1);
  enable(1);
  enter_x2apic(1);

  write_msr(x2(reg::kIcrLow), u64{0xff} << 32 | 0x4055);
  EXPECT_EQ(apic(1).acknowledge(), -1);
  write_msr(x2(reg::kIcrLow), u64{0xffff'ffff} << 32 | 0x4055);

  EXPECT_EQ(apic(0).acknowledge(), 0x55);
  EXPECT_EQ(apic(1).acknowledge(), 0x55);
}

TEST_F(X2apicTest, InitStaysInX2apicMode) {
  add_processor(7);
  enter_x2apic(1);

  bus.post({.destination = 7, .mode = DeliveryMode::kInit});

  EXPECT_EQ(msr(kMsrApicBase, 1), 0xfee0'0c00u);
  EXPECT_EQ(msr(x2(reg::kId), 1), 7u);
  EXPECT_EQ(msr(x2(reg::kSvr), 1), 0xffu);
}

}  // namespace
}  // namespace vellum::test
