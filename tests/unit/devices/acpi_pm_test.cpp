// ACPI fixed hardware.
#include "devices/legacy/acpi_pm.hpp"

#include <algorithm>

#include "devices/legacy/ticks.hpp"
#include "fixture.hpp"

namespace vellum::test {
namespace {

class AcpiPmTest : public ::testing::Test {
 protected:
  enum : u64 { kStatus = 0, kEnable = 2, kControl = 4, kTimer = 8 };
  static constexpr u64 kHalf = u64{1} << 31;
  static u64 ns(u64 ticks) { return ns_of_ticks(ticks, AcpiPm::kTimerHz); }

  VirtualClock clock;
  Wire sci;
  Machine machine;
  AcpiPm pm{clock, sci, machine};
};

TEST_F(AcpiPmTest, TheTimerRunsAt3_58MHzAndWrapsAt32Bits) {
  clock.skip_to(1'000'000'000);
  EXPECT_EQ(pm.read(kTimer, 4), 3'579'545u);

  clock.skip_to(ns((u64{1} << 32) + 7));

  EXPECT_EQ(pm.read(kTimer, 4), 7u);
}

/// Each look at it is a tick of the timer's later.
class TickingClock final : public Clock {
 public:
  u64 now_ns() const override { return now_ += 300; }
  u64 tsc() const override { return now_; }
  u64 tsc_hz() const override { return 1'000'000'000; }
  bool is_virtual() const override { return true; }
  WallTime wall_time() const override { return {}; }
  mutable u64 now_ = 0;
};

TEST(AcpiPm, TheTimerIsReadAtOneMoment) {
  TickingClock clock;
  Wire sci;
  Machine machine;
  AcpiPm pm(clock, sci, machine);
  std::vector<u64> values;
  for (int n = 0; n < 1000; ++n) values.push_back(pm.read(AcpiPm::kTimerOffset, 4));

  EXPECT_TRUE(std::ranges::is_sorted(values));
  EXPECT_LT(values.back(), 2000u);
}

TEST_F(AcpiPmTest, TheTimerCannotBeWritten) {
  pm.write(kTimer, 4, 0x1234'5678);

  EXPECT_EQ(pm.read(kTimer, 4), 0u);
}

TEST_F(AcpiPmTest, TheHighestBitsChangeSetsTheStatusAndInterrupts) {
  pm.write(kEnable, 2, 1);
  EXPECT_EQ(clock.next_deadline(), ns(kHalf));

  advance_to(clock, ns(kHalf));
  EXPECT_TRUE(sci.level);
  EXPECT_EQ(pm.read(kStatus, 2), 1u);
  pm.write(kStatus, 2, 1);
  EXPECT_FALSE(sci.level);
  EXPECT_EQ(clock.next_deadline(), ns(2 * kHalf));
}

TEST_F(AcpiPmTest, TheStatusRisesWithoutItsEnable) {
  advance_to(clock, ns(kHalf));

  EXPECT_FALSE(sci.level);
  EXPECT_EQ(pm.read(kStatus, 2), 1u);
}

TEST_F(AcpiPmTest, SciEnableIsAlwaysOn) {
  pm.write(kControl, 2, 0);

  EXPECT_EQ(pm.read(kControl, 2), 1u);
}

TEST_F(AcpiPmTest, SoftOffPowersOff) {
  pm.write(kControl, 2, 5u << 10);
  EXPECT_EQ(machine.power_offs, 0) << "SLP_EN is missing";

  pm.write(kControl, 2, 5u << 10 | 1u << 13);

  EXPECT_EQ(machine.power_offs, 1);
  EXPECT_EQ(pm.read(kControl, 2), 1u | 5u << 10) << "SLP_EN reads 0";
}

TEST_F(AcpiPmTest, SoftOffByBytes) {
  pm.write(kControl + 1, 1, 5u << 2 | 1u << 5);

  EXPECT_EQ(machine.power_offs, 1);
}

// As OVMF does it.
TEST_F(AcpiPmTest, Piix4sOwnTypePowersOff) {
  pm.write(kControl, 2, 1u << 13);

  EXPECT_EQ(machine.power_offs, 1);
}

TEST_F(AcpiPmTest, OtherSleepTypesDoNothing) {
  pm.write(kControl, 2, 3u << 10 | 1u << 13);

  EXPECT_EQ(machine.power_offs, 0);
}

TEST_F(AcpiPmTest, ThePowerButtonInterrupts) {
  pm.write(kEnable, 2, 0x100);

  pm.press_power_button();

  EXPECT_TRUE(sci.level);
  EXPECT_EQ(pm.read(kStatus, 2), 0x100u);
  pm.write(kStatus, 2, 0x001);
  EXPECT_TRUE(sci.level) << "only ones clear";
  pm.write(kStatus, 2, 0x100);
  EXPECT_FALSE(sci.level);
}

TEST_F(AcpiPmTest, OneDwordReachesStatusAndEnable) {
  pm.press_power_button();

  pm.write(kStatus, 4, 0x0100'0000);

  EXPECT_TRUE(sci.level);
  EXPECT_EQ(pm.read(kStatus, 4), 0x0100'0100u);
}

TEST_F(AcpiPmTest, KeepsOnlyDefinedEnables) {
  pm.write(kEnable, 2, 0xffff);

  EXPECT_EQ(pm.read(kEnable, 2), 0x0721u);
}

TEST_F(AcpiPmTest, RoundTripsWithTheButtonPressed) {
  pm.write(kEnable, 2, 0x101);
  pm.press_power_button();
  clock.skip_to(12'345'678);
  const auto state = decode_state<AcpiPm::State>(pm.save());
  ASSERT_TRUE(state) << state.error().message;

  Wire other_sci;
  AcpiPm other(clock, other_sci, machine, *state);

  EXPECT_TRUE(other_sci.level);
  EXPECT_EQ(other.read(kTimer, 4), pm.read(kTimer, 4));
  EXPECT_EQ(other.read(kEnable, 2), 0x101u);
}

}  // namespace
}  // namespace vellum::test
