// xAPIC registers, priorities, EOI and errors (SDM vol. 3A ch. 11).
#include "fixture.hpp"

namespace vellum::test {
namespace {

using LocalApicTest = ApicTest;

TEST_F(LocalApicTest, HasThePowerUpStateOfTheManual) {
  add_processor(3);

  EXPECT_EQ(msr(kMsrApicBase, 0), 0xfee0'0900u);  // bootstrap processor
  EXPECT_EQ(msr(kMsrApicBase, 1), 0xfee0'0800u);
  EXPECT_EQ(apic().page(), 0xfee0'0000u);
  EXPECT_EQ(read(reg::kId, 1), 3u << 24);
  EXPECT_EQ(read(reg::kVersion), 0x0005'0014u);
  EXPECT_EQ(read(reg::kTpr), 0u);
  EXPECT_EQ(read(reg::kDfr), 0xffff'ffffu);
  EXPECT_EQ(read(reg::kLdr), 0u);
  EXPECT_EQ(read(reg::kSvr), 0xffu);
  EXPECT_EQ(read(reg::kInitialCount), 0u);
  EXPECT_EQ(read(reg::kCurrentCount), 0u);
  EXPECT_EQ(read(reg::kDivide), 0u);
  for (u32 lvt = reg::kLvtTimer; lvt <= reg::kLvtError; lvt += 16) EXPECT_EQ(read(lvt), 0x1'0000u) << lvt;
}

TEST_F(LocalApicTest, KeepsOnlyTheDefinedBits) {
  enable();

  write(reg::kSvr, 0xffff'ffff);
  write(reg::kTpr, 0xffff'ff5a);
  write(reg::kLdr, 0xffff'ffff);
  write(reg::kDfr, 0x0000'0000);
  write(reg::kDivide, 0xffff'ffff);
  write(reg::kLvtTimer, 0xffff'ffff);
  write(reg::kLvtThermal, 0xffff'ffff);
  write(reg::kLvtLint0, 0xffff'ffff);
  write(reg::kLvtError, 0xffff'ffff);
  write(reg::kId, 0xffff'ffff);
  write(reg::kVersion, 0xffff'ffff);

  EXPECT_EQ(read(reg::kSvr), 0x3ffu);
  EXPECT_EQ(read(reg::kTpr), 0x5au);
  EXPECT_EQ(read(reg::kLdr), 0xff00'0000u);
  EXPECT_EQ(read(reg::kDfr), 0x0fff'ffffu);
  EXPECT_EQ(read(reg::kDivide), 0xbu);
  EXPECT_EQ(read(reg::kLvtTimer), 0x7'00ffu);
  EXPECT_EQ(read(reg::kLvtThermal), 0x1'07ffu);
  EXPECT_EQ(read(reg::kLvtLint0), 0x1'a7ffu);
  EXPECT_EQ(read(reg::kLvtError), 0x1'00ffu);
  EXPECT_EQ(read(reg::kId), 0u);
  EXPECT_EQ(read(reg::kVersion), 0x0005'0014u);
}

TEST_F(LocalApicTest, ReadsNarrowAccessesAsBytesOfTheRegister) {
  enable();
  write(reg::kLdr, 0x1200'0000);

  EXPECT_EQ(apic().read_page(reg::kLdr + 3, 1), 0x12u);
  EXPECT_EQ(apic().read_page(reg::kLdr + 2, 2), 0x1200u);
  EXPECT_EQ(apic().read_page(reg::kLdr, 8), 0x1200'0000u);
  EXPECT_EQ(apic().read_page(reg::kLdr + 4, 4), 0u);
}

TEST_F(LocalApicTest, IgnoresNarrowAndMisplacedWrites) {
  enable();

  apic().write_page(reg::kTpr, 1, 0x55);
  apic().write_page(reg::kTpr, 2, 0x55);
  apic().write_page(reg::kTpr + 4, 4, 0x55);

  EXPECT_EQ(read(reg::kTpr), 0u);
}

TEST_F(LocalApicTest, DeliversTheHighestVectorFirst) {
  enable();

  send_fixed(0x31);
  send_fixed(0x85);
  send_fixed(0x32);

  EXPECT_TRUE(core().pending);
  EXPECT_EQ(apic().acknowledge(), 0x85);
  EXPECT_TRUE(isr(0x85));
  EXPECT_FALSE(irr(0x85));
  EXPECT_FALSE(core().pending) << "lower classes wait";
  EXPECT_EQ(apic().acknowledge(), -1);
  write(reg::kEoi, 0);
  EXPECT_TRUE(core().pending);
  EXPECT_EQ(apic().acknowledge(), 0x32);
  write(reg::kEoi, 0);
  EXPECT_EQ(apic().acknowledge(), 0x31);
  write(reg::kEoi, 0);
  EXPECT_EQ(apic().acknowledge(), -1);
}

TEST_F(LocalApicTest, NestsHigherClassesOnly) {
  enable();
  send_fixed(0x50);
  ASSERT_EQ(apic().acknowledge(), 0x50);

  send_fixed(0x5f);  // the same class waits
  EXPECT_FALSE(core().pending);
  send_fixed(0x60);
  EXPECT_TRUE(core().pending);
  EXPECT_EQ(apic().acknowledge(), 0x60);

  write(reg::kEoi, 0);  // ends 0x60, the highest in service
  EXPECT_FALSE(isr(0x60));
  EXPECT_TRUE(isr(0x50));
  EXPECT_FALSE(core().pending);
  write(reg::kEoi, 0);
  EXPECT_EQ(apic().acknowledge(), 0x5f);
}

TEST_F(LocalApicTest, HoldsOneMoreRequestOfAVectorInService) {
  enable();
  send_fixed(0x40);
  ASSERT_EQ(apic().acknowledge(), 0x40);

  send_fixed(0x40);
  send_fixed(0x40);

  write(reg::kEoi, 0);
  EXPECT_EQ(apic().acknowledge(), 0x40);
  write(reg::kEoi, 0);
  EXPECT_EQ(apic().acknowledge(), -1);
}

struct PprCase {
  u8 tpr;
  u8 in_service;  // 0: none
  u8 ppr;
};
class Ppr : public ApicTest, public ::testing::WithParamInterface<PprCase> {};

TEST_P(Ppr, IsTheHigherOfTprAndTheServiceClass) {
  enable();
  if (GetParam().in_service != 0) {
    send_fixed(GetParam().in_service);
    ASSERT_EQ(apic().acknowledge(), GetParam().in_service);
  }

  write(reg::kTpr, GetParam().tpr);

  EXPECT_EQ(read(reg::kPpr), GetParam().ppr);
}
INSTANTIATE_TEST_SUITE_P(Section11_8_3_1, Ppr,
                         ::testing::Values(PprCase{0x00, 0, 0x00}, PprCase{0x2a, 0, 0x2a},
                                           PprCase{0x00, 0x3c, 0x30}, PprCase{0x2f, 0x35, 0x30},
                                           PprCase{0x35, 0x3f, 0x35}, PprCase{0x45, 0x3f, 0x45},
                                           PprCase{0xff, 0x20, 0xff}));

TEST_F(LocalApicTest, TprHoldsBackItsClassAndBelow) {
  enable();
  write(reg::kTpr, 0x50);

  send_fixed(0x5f);
  EXPECT_FALSE(core().pending);
  EXPECT_EQ(apic().acknowledge(), -1);
  send_fixed(0x60);
  EXPECT_TRUE(core().pending);

  EXPECT_EQ(apic().acknowledge(), 0x60);
  write(reg::kEoi, 0);
  write(reg::kTpr, 0x4f);
  EXPECT_TRUE(core().pending);
  EXPECT_EQ(apic().acknowledge(), 0x5f);
}

TEST_F(LocalApicTest, Cr8IsTheTprClass) {
  apic().set_cr8(9);
  EXPECT_EQ(read(reg::kTpr), 0x90u);

  write(reg::kTpr, 0x5c);
  EXPECT_EQ(apic().cr8(), 5);
}

TEST_F(LocalApicTest, RaisingTprWithdrawsThePendingSignal) {
  enable();
  send_fixed(0x45);
  ASSERT_TRUE(core().pending);

  apic().set_cr8(4);

  EXPECT_FALSE(core().pending);
  EXPECT_TRUE(irr(0x45));
}

TEST_F(LocalApicTest, BroadcastsTheEoiOfLevelInterruptsOnly) {
  RecordingListener listener;
  bus.attach(listener);
  enable();
  send_fixed(0x71);
  send_level(0x61);
  EXPECT_TRUE(tmr(0x61));
  EXPECT_FALSE(tmr(0x71));

  ASSERT_EQ(apic().acknowledge(), 0x71);
  write(reg::kEoi, 0);
  EXPECT_TRUE(listener.eois.empty());
  ASSERT_EQ(apic().acknowledge(), 0x61);
  write(reg::kEoi, 0);
  EXPECT_EQ(listener.eois, std::vector<u8>{0x61});
}

TEST_F(LocalApicTest, AnEdgeAfterALevelClearsTheTriggerMode) {
  enable();
  send_level(0x61);
  send_fixed(0x61);

  EXPECT_FALSE(tmr(0x61));
}

TEST_F(LocalApicTest, AnEoiWithNothingInServiceDoesNothing) {
  RecordingListener listener;
  bus.attach(listener);
  enable();

  write(reg::kEoi, 0);

  EXPECT_TRUE(listener.eois.empty());
}

TEST_F(LocalApicTest, SoftwareDisabledTakesNoFixedInterrupts) {
  write(reg::kSvr, 0xff);

  EXPECT_FALSE(bus.post({.destination = 0, .vector = 0x40}));
  EXPECT_TRUE(bus.post({.destination = 0, .mode = DeliveryMode::kNmi}));
  EXPECT_TRUE(bus.post({.destination = 0, .mode = DeliveryMode::kStartup, .vector = 0x9a}));

  EXPECT_FALSE(irr(0x40));
  EXPECT_EQ(core().nmis, 1);
  EXPECT_EQ(core().sipis, std::vector<u8>{0x9a});
}

TEST_F(LocalApicTest, SoftwareDisablingMasksTheLvtAndKeepsWhatWaits) {
  enable();
  write(reg::kLvtTimer, 0x40);
  send_fixed(0x55);

  write(reg::kSvr, 0xff);

  EXPECT_EQ(read(reg::kLvtTimer), 0x1'0040u);
  write(reg::kLvtTimer, 0x41);
  EXPECT_EQ(read(reg::kLvtTimer), 0x1'0041u) << "the mask can't be cleared while disabled";
  EXPECT_TRUE(core().pending);
  EXPECT_EQ(apic().acknowledge(), 0x55);
}

// ---- Errors ----

TEST_F(LocalApicTest, ShowsErrorsAfterAWriteToEsr) {
  enable();

  send_fixed(0x0f);             // received illegal vector
  write(reg::kIcrLow, 0x4005);  // sent illegal vector
  (void)read(0x40);             // reserved register

  EXPECT_EQ(read(reg::kEsr), 0u);
  write(reg::kEsr, 0);
  EXPECT_EQ(read(reg::kEsr), 0xe0u);
  write(reg::kEsr, 0);
  EXPECT_EQ(read(reg::kEsr), 0u);
}

TEST_F(LocalApicTest, InterruptsOnErrors) {
  enable();
  write(reg::kLvtError, 0xfe);

  send_fixed(0x01);

  EXPECT_EQ(apic().acknowledge(), 0xfe);
}

TEST_F(LocalApicTest, AnIllegalErrorVectorDoesNotRecurse) {
  enable();
  write(reg::kLvtError, 0x03);

  send_fixed(0x01);

  write(reg::kEsr, 0);
  EXPECT_EQ(read(reg::kEsr), 0x40u);
  EXPECT_EQ(apic().acknowledge(), -1);
}

// ---- State ----

TEST_F(LocalApicTest, RoundTripsInMidOperation) {
  enable();
  write(reg::kTpr, 0x20);
  write(reg::kLvtLint0, 0x8042);
  write(reg::kLvtTimer, 0x2'0050);
  write(reg::kDivide, 3);
  write(reg::kInitialCount, 1000);
  bus.lint0().set(true);
  send_level(0x90);
  send_fixed(0xa0);
  ASSERT_EQ(apic().acknowledge(), 0xa0);
  advance_to(20'000);

  const auto state = decode_state<LocalApic::State>(apic().save());
  ASSERT_TRUE(state) << state.error().message;
  ApicBus other_bus;
  Core other_core;
  LocalApic other(0, clock, other_bus, other_core, &ext_int, 40, *state);

  EXPECT_EQ(other.save().bytes, apic().save().bytes);
  EXPECT_FALSE(other_core.pending);
  other.write_page(reg::kEoi, 4, 0);
  EXPECT_TRUE(other_core.pending);
  EXPECT_EQ(other.acknowledge(), 0x90);
  EXPECT_EQ(other.read_page(reg::kCurrentCount, 4), read(reg::kCurrentCount));
}

}  // namespace
}  // namespace vellum::test
