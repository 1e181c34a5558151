// The local APIC's LINT pins, its base register, RESET and INIT (SDM vol. 3A §11.4, §11.5.1).
#include "fixture.hpp"

namespace vellum::test {
namespace {

using LocalApicPinsTest = ApicTest;

// ---- LINT pins ----

TEST_F(LocalApicPinsTest, Lint0AsExtIntFollowsThePin) {
  enable();
  write(reg::kLvtLint0, 0x700);

  bus.lint0().set(true);
  EXPECT_TRUE(core().pending);
  bus.lint0().set(false);
  EXPECT_FALSE(core().pending);
  bus.lint0().set(true);

  EXPECT_EQ(apic().acknowledge(), 0x27);
  EXPECT_EQ(ext_int.acknowledged, 1);
  EXPECT_FALSE(isr(0x27)) << "ExtINT passes by IRR and ISR";
}

TEST_F(LocalApicPinsTest, ExtIntIsNotHeldBackByPriority) {
  enable();
  write(reg::kLvtLint0, 0x700);
  write(reg::kTpr, 0xff);

  bus.lint0().set(true);

  EXPECT_TRUE(core().pending);
}

TEST_F(LocalApicPinsTest, UnmaskingLint0SeesAnAssertedExtInt) {
  enable();
  bus.lint0().set(true);
  EXPECT_FALSE(core().pending);

  write(reg::kLvtLint0, 0x700);

  EXPECT_TRUE(core().pending);
}

TEST_F(LocalApicPinsTest, Lint1DeliversNmiOncePerEdge) {
  enable();
  write(reg::kLvtLint1, 0x400);

  bus.lint1().set(true);
  bus.lint1().set(true);
  EXPECT_EQ(core().nmis, 1);
  bus.lint1().set(false);
  bus.lint1().set(true);
  EXPECT_EQ(core().nmis, 2);
  write(reg::kLvtLint1, 0x1'0400);
  bus.lint1().set(false);
  bus.lint1().set(true);
  EXPECT_EQ(core().nmis, 2) << "masked";
}

TEST_F(LocalApicPinsTest, LevelTriggeredLint0RepeatsUntilReleased) {
  enable();
  write(reg::kLvtLint0, 0x8042);

  bus.lint0().set(true);
  EXPECT_EQ(read(reg::kLvtLint0), 0xc042u) << "remote IRR";
  ASSERT_EQ(apic().acknowledge(), 0x42);
  EXPECT_EQ(apic().acknowledge(), -1);
  write(reg::kEoi, 0);
  ASSERT_EQ(apic().acknowledge(), 0x42) << "still asserted";
  bus.lint0().set(false);
  write(reg::kEoi, 0);

  EXPECT_EQ(apic().acknowledge(), -1);
  EXPECT_EQ(read(reg::kLvtLint0), 0x8042u);
}

TEST_F(LocalApicPinsTest, VirtualWireModePassesThe8259Through) {
  apic().enter_virtual_wire_mode();

  bus.lint0().set(true);
  bus.lint1().set(true);

  EXPECT_EQ(read(reg::kSvr), 0x1ffu);
  EXPECT_TRUE(core().pending);
  EXPECT_EQ(core().nmis, 1);
}

TEST_F(LocalApicPinsTest, GloballyDisabledThePinsAreIntrAndNmi) {
  ASSERT_TRUE(apic().write_msr(kMsrApicBase, 0xfee0'0100));

  bus.lint0().set(true);
  bus.lint1().set(true);

  EXPECT_EQ(apic().page(), ~u64{0});
  EXPECT_TRUE(core().pending);
  EXPECT_EQ(core().nmis, 1);
  EXPECT_EQ(apic().acknowledge(), 0x27);
}

// ---- IA32_APIC_BASE, reset, INIT ----

TEST_F(LocalApicPinsTest, MovesItsPage) {
  ASSERT_TRUE(apic().write_msr(kMsrApicBase, 0x12'3450'0900));

  EXPECT_EQ(apic().page(), 0x12'3450'0000u);
}

TEST_F(LocalApicPinsTest, RefusesReservedBaseBits) {
  EXPECT_FALSE(apic().write_msr(kMsrApicBase, 0xfee0'0901));
  EXPECT_FALSE(apic().write_msr(kMsrApicBase, 0xfee0'0a00));
  EXPECT_FALSE(apic().write_msr(kMsrApicBase, u64{1} << 40 | 0xfee0'0900)) << "beyond MAXPHYADDR";

  EXPECT_EQ(msr(kMsrApicBase), 0xfee0'0900u);
}

TEST_F(LocalApicPinsTest, DisablingForgetsTheState) {
  enable();
  send_fixed(0x44);

  ASSERT_TRUE(apic().write_msr(kMsrApicBase, 0xfee0'0100));
  EXPECT_FALSE(core().pending);
  EXPECT_FALSE(bus.post({.destination = 0, .mode = DeliveryMode::kNmi}));
  ASSERT_TRUE(apic().write_msr(kMsrApicBase, 0xfee0'0900));

  EXPECT_EQ(read(reg::kSvr), 0xffu);
  EXPECT_FALSE(irr(0x44));
}

TEST_F(LocalApicPinsTest, InitResetsAllButIdAndBase) {
  add_processor(5);
  ASSERT_TRUE(apic(1).write_msr(kMsrApicBase, 0xfed0'0800));
  enable(1);
  write(reg::kTpr, 0x30, 1);
  send_fixed(0x88, 5);

  bus.post({.destination = 5, .mode = DeliveryMode::kInit});

  EXPECT_EQ(core(1).inits, 1);
  EXPECT_FALSE(core(1).pending);
  EXPECT_EQ(read(reg::kTpr, 1), 0u);
  EXPECT_EQ(read(reg::kSvr, 1), 0xffu);
  EXPECT_EQ(read(reg::kId, 1), 5u << 24);
  EXPECT_EQ(apic(1).page(), 0xfed0'0000u);
}

TEST_F(LocalApicPinsTest, ResetRestoresTheBaseToo) {
  ASSERT_TRUE(apic().write_msr(kMsrApicBase, 0xfed0'0900));
  enter_x2apic();

  apic().reset();

  EXPECT_EQ(msr(kMsrApicBase), 0xfee0'0900u);
  EXPECT_EQ(read(reg::kSvr), 0xffu);
}

}  // namespace
}  // namespace vellum::test
