// A local APIC's state as a register page and back.
#include "irq/apic_image.hpp"

#include "fixture.hpp"

namespace vellum::test {
namespace {

LocalApic::State busy_state() {
  LocalApic::State s = LocalApic::State::power_up(true);
  s.tpr = 0x25;
  s.ldr = 0x0200'0000;
  s.svr = 0x1f0;
  s.isr[1] = 1u << 17;
  s.tmr[1] = 1u << 17;
  s.irr[7] = 1u << 12;
  s.esr = 0x40;
  s.icr = u64{0x0300'0000} << 32 | 0x4030;
  LocalApic::set_virtual_wire_mode(s);
  s.lint[0] = true;
  return s;
}

TEST(ApicImage, RegistersStandWhereTheManualHasThem) {
  const ApicImage image = image_of(busy_state(), 5, 0);

  EXPECT_EQ(image.base, 0xfee0'0900u);
  EXPECT_EQ(image.registers[reg::kId / 16], 5u << 24);
  EXPECT_EQ(image.registers[reg::kVersion / 16], 0x0005'0014u);
  EXPECT_EQ(image.registers[reg::kTpr / 16], 0x25u);
  EXPECT_EQ(image.registers[reg::kLdr / 16], 0x0200'0000u);
  EXPECT_EQ(image.registers[reg::kSvr / 16], 0x1ffu);
  EXPECT_EQ(image.registers[reg::kIsr / 16 + 1], 1u << 17);
  EXPECT_EQ(image.registers[reg::kTmr / 16 + 1], 1u << 17);
  EXPECT_EQ(image.registers[reg::kIrr / 16 + 7], 1u << 12);
  EXPECT_EQ(image.registers[reg::kIcrHigh / 16], 0x0300'0000u);
  EXPECT_EQ(image.registers[reg::kLvtLint0 / 16], 0x700u);
  EXPECT_EQ(image.registers[reg::kLvtLint1 / 16], 0x400u);
  EXPECT_EQ(image.registers[reg::kLvtTimer / 16], 0x1'0000u);
}

TEST(ApicImage, ComesBackAsTheSameState) {
  const LocalApic::State state = busy_state();
  LocalApic::State pins;
  pins.lint = state.lint;

  EXPECT_EQ(state_of(image_of(state, 5, 1000), pins, 1000), state);
}

TEST(ApicImage, X2apicModeHasTheWholeIdAndAnLdrThatFollowsFromIt) {
  LocalApic::State state = busy_state();
  state.base = 0xfee0'0c00;
  state.ldr = 0;

  const ApicImage image = image_of(state, 0x13, 0);

  EXPECT_EQ(image.registers[reg::kId / 16], 0x13u);
  EXPECT_EQ(image.registers[reg::kLdr / 16], 0x0001'0008u);
  EXPECT_EQ(state_of(image, {}, 0).ldr, 0u);
}

TEST(ApicImage, APeriodicCountGoesOnFromWhereItIs) {
  LocalApic::State state;
  state.lvt[0] = 0x2'0030;
  state.timer = {.initial_count = 1000, .divide_config = 0, .counting = true, .start_count = 1000};

  const ApicImage image = image_of(state, 0, 800);  // divided by 2: 400 gone
  const LocalApic::State back = state_of(image, {}, 5000);

  EXPECT_EQ(image.registers[reg::kInitialCount / 16], 1000u);
  EXPECT_EQ(image.registers[reg::kCurrentCount / 16], 600u);
  EXPECT_TRUE(back.timer.counting);
  EXPECT_EQ(back.timer.start_count, 600u);
  EXPECT_EQ(back.timer.start_ns, 5000u);
}

TEST(ApicImage, AnOneShotThatIsOverDoesNotStartAgain) {
  LocalApic::State state;
  state.lvt[0] = 0x30;
  state.timer = {.initial_count = 1000, .counting = false};

  const ApicImage image = image_of(state, 0, 0);

  EXPECT_EQ(image.registers[reg::kInitialCount / 16], 0u);
  EXPECT_FALSE(state_of(image, {}, 0).timer.counting);
}

TEST(ApicImage, ADueOneShotStillExpires) {
  LocalApic::State state;
  state.lvt[0] = 0x30;
  state.timer = {.initial_count = 1000, .divide_config = 0, .counting = true, .start_count = 1000};

  EXPECT_EQ(image_of(state, 0, 1'000'000).registers[reg::kCurrentCount / 16], 1u);
}

TEST(ApicImage, ADeadlineIsCarriedInDeadlineModeOnly) {
  LocalApic::State state;
  state.timer.tsc_deadline = 12345;
  state.lvt[0] = 0x4'0030;
  const ApicImage armed = image_of(state, 0, 0);
  state.lvt[0] = 0x30;

  EXPECT_EQ(armed.tsc_deadline, 12345u);
  EXPECT_EQ(state_of(armed, {}, 0).timer.tsc_deadline, 12345u);
  EXPECT_EQ(image_of(state, 0, 0).tsc_deadline, 0u);
}

TEST(ApicImage, BitsThatTheModelLacksAreDropped) {
  ApicImage image = image_of(busy_state(), 0, 0);
  image.registers[reg::kSvr / 16] |= 1u << 12;     // suppression of EOI broadcasts
  image.registers[reg::kIcrLow / 16] |= 1u << 12;  // delivery status
  image.registers[reg::kLvtTimer / 16] |= 1u << 31;

  const LocalApic::State state = state_of(image, {}, 0);

  EXPECT_EQ(state.svr, 0x1ffu);
  EXPECT_EQ(state.icr & 0x1000, 0u);
  EXPECT_EQ(state.lvt[0], 0x1'0000u);
}

struct Elsewhere final : RemoteApics {
  bool post(const ApicMessage& message) override { return messages.push_back(message), true; }
  void pin_programmed(unsigned pin, const ApicMessage& message) override {
    programmed.push_back({pin, message});
  }
  void set_lint0(bool asserted) override { lint0 = asserted; }
  std::vector<ApicMessage> messages;
  std::vector<std::pair<unsigned, ApicMessage>> programmed;
  bool lint0 = false;
};

TEST(RemoteApics, TakeAllMessagesAndTheIntrPin) {
  ApicBus bus;
  Elsewhere remote;
  bus.attach(remote);

  bus.deliver({0xfee0'3000, 0x41});
  bus.lint0().set(true);

  ASSERT_EQ(remote.messages.size(), 1u);
  EXPECT_EQ(remote.messages[0].destination, 3u);
  EXPECT_EQ(remote.messages[0].vector, 0x41);
  EXPECT_TRUE(remote.lint0);
}

}  // namespace
}  // namespace vellum::test
