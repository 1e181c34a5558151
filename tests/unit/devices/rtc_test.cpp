// The MC146818 and the CMOS RAM.
#include "devices/legacy/rtc.hpp"

#include <limits>
#include <memory>

#include "devices/legacy/rtc_time.hpp"
#include "fixture.hpp"

namespace vellum::test {
namespace {

constexpr u64 kSecond = 1'000'000'000;

class RtcTest : public ::testing::Test {
 protected:
  u8 get(unsigned index) {
    out(rtc, 0, index);
    return in(rtc, 1);
  }
  void put(unsigned index, unsigned value) {
    out(rtc, 0, index);
    out(rtc, 1, value);
  }
  /// hh:mm:ss of the registers as they are.
  std::array<u8, 3> hms() { return {get(4), get(2), get(0)}; }
  void set_time(unsigned hour, unsigned minute, unsigned second) {
    put(0xb, get(0xb) | 0x80);
    put(4, hour);
    put(2, minute);
    put(0, second);
    put(0xb, get(0xb) & 0x7f);
  }

  VirtualClock clock;  // starts at 2026-01-01T00:00:00Z, a Thursday
  Wire irq;
  Rtc rtc{clock, irq, Rtc::State::power_up(u64{512} << 20, u64{1} << 30)};
};

TEST_F(RtcTest, ShowsTheWallClockInBcd) {
  clock.skip_to((12 * 3600 + 34 * 60 + 56) * kSecond);

  EXPECT_EQ(hms(), (std::array<u8, 3>{0x12, 0x34, 0x56}));
  EXPECT_EQ(get(7), 0x01);
  EXPECT_EQ(get(8), 0x01);
  EXPECT_EQ(get(9), 0x26);
  EXPECT_EQ(get(0x32), 0x20);
  EXPECT_EQ(get(6), 5) << "Thursday";
}

TEST_F(RtcTest, ShowsItInBinary) {
  clock.skip_to((23 * 3600 + 59 * 60 + 58) * kSecond);
  put(0xb, 0x06);

  EXPECT_EQ(hms(), (std::array<u8, 3>{23, 59, 58}));
  EXPECT_EQ(get(9), 26);
  EXPECT_EQ(get(0x32), 20);
}

struct TwelveHour {
  unsigned hour;
  u8 bcd;
};
class TwelveHours : public RtcTest, public ::testing::WithParamInterface<TwelveHour> {};

TEST_P(TwelveHours, ShowsAndTakesThem) {
  put(0xb, 0x00);
  clock.skip_to(GetParam().hour * 3600 * kSecond);
  EXPECT_EQ(get(4), GetParam().bcd);

  put(4, GetParam().bcd);

  put(0xb, 0x06);
  EXPECT_EQ(get(4), GetParam().hour);
}
INSTANTIATE_TEST_SUITE_P(Clock, TwelveHours,
                         ::testing::Values(TwelveHour{0, 0x12}, TwelveHour{1, 0x01}, TwelveHour{11, 0x11},
                                           TwelveHour{12, 0x92}, TwelveHour{13, 0x81}, TwelveHour{23, 0x91}));

TEST_F(RtcTest, RollsOverADay) {
  put(0xb, 0x82);  // SET, BCD
  put(0x32, 0x20);
  put(9, 0x24);
  put(8, 0x02);
  put(7, 0x28);
  put(4, 0x23);
  put(2, 0x59);
  put(0, 0x59);
  put(6, 4);
  put(0xb, 0x02);

  clock.skip_to(clock.now_ns() + kSecond);

  EXPECT_EQ(hms(), (std::array<u8, 3>{0, 0, 0}));
  EXPECT_EQ(get(7), 0x29) << "2024 is a leap year";
  EXPECT_EQ(get(8), 0x02);
  EXPECT_EQ(get(6), 5);
}

TEST_F(RtcTest, SetFreezesTheRegisters) {
  put(0xb, 0x82);
  const auto before = hms();

  clock.skip_to(10 * kSecond);

  EXPECT_EQ(hms(), before);
  EXPECT_EQ(get(0xa) & 0x80, 0);
  set_time(0x10, 0x20, 0x30);
  clock.skip_to(clock.now_ns() + 5 * kSecond);
  EXPECT_EQ(hms(), (std::array<u8, 3>{0x10, 0x20, 0x35}));
}

TEST_F(RtcTest, TheDividerOutOfResetUpdatesAfterHalfASecond) {
  put(0xb, 0x82);
  put(0xa, 0x76);
  put(0, 0x10);
  clock.skip_to(10 * kSecond + 123);
  put(0xb, 0x02);
  put(0xa, 0x26);

  clock.skip_to(10 * kSecond + 123 + kSecond / 2 - 1);
  EXPECT_EQ(get(0), 0x10);
  clock.skip_to(10 * kSecond + 123 + kSecond / 2);

  EXPECT_EQ(get(0), 0x11);
}

TEST_F(RtcTest, UipCoversTheEndOfTheSecond) {
  clock.skip_to(5 * kSecond - 2'228'001);
  EXPECT_EQ(get(0xa), 0x26);
  clock.skip_to(5 * kSecond - 2'228'000);
  EXPECT_EQ(get(0xa), 0xa6);
  clock.skip_to(5 * kSecond - 1);
  EXPECT_EQ(get(0xa), 0xa6);
  EXPECT_EQ(get(0), 0x04);
  clock.skip_to(5 * kSecond);
  EXPECT_EQ(get(0xa), 0x26);
  EXPECT_EQ(get(0), 0x05);
}

TEST_F(RtcTest, RegisterDSaysTheBatteryIsGood) {
  put(0xd, 0);
  EXPECT_EQ(get(0xd), 0x80);
}

// ---- Interrupts ----

TEST_F(RtcTest, UpdateInterruptEverySecond) {
  put(0xb, 0x12);

  advance_to(clock, kSecond - 1);
  EXPECT_FALSE(irq.level);
  advance_to(clock, kSecond);
  EXPECT_TRUE(irq.level);
  EXPECT_EQ(get(0xc) & 0x90, 0x90);
  EXPECT_FALSE(irq.level);
  EXPECT_EQ(get(0xc), 0) << "reading clears";
  advance_to(clock, 2 * kSecond);
  EXPECT_TRUE(irq.level);
}

TEST_F(RtcTest, FlagsRiseWithoutTheirEnables) {
  advance_to(clock, kSecond);

  EXPECT_FALSE(irq.level);
  EXPECT_EQ(get(0xc), 0x50) << "periodic and update, and no IRQF";
}

TEST_F(RtcTest, AlarmAtATime) {
  put(5, 0x01);
  put(3, 0x02);
  put(1, 0x03);
  get(0xc);
  put(0xb, 0x22);
  const u64 at = (3600 + 2 * 60 + 3) * kSecond;
  EXPECT_EQ(clock.next_deadline(), at);

  advance_to(clock, at - 1);
  EXPECT_FALSE(irq.level);
  advance_to(clock, at);

  EXPECT_TRUE(irq.level);
  EXPECT_EQ(get(0xc) & 0xa0, 0xa0);
  EXPECT_EQ(clock.next_deadline(), at + 86'400 * kSecond);
}

TEST_F(RtcTest, AlarmDontCareBytes) {
  put(5, 0xff);
  put(3, 0xc0);
  put(1, 0x30);
  put(0xb, 0x22);

  EXPECT_EQ(clock.next_deadline(), 30 * kSecond);
  advance_to(clock, 30 * kSecond);
  get(0xc);
  EXPECT_EQ(clock.next_deadline(), 90 * kSecond);
}

TEST_F(RtcTest, AnAlarmThatIsNoTimeNeverComes) {
  put(5, 0x25);
  put(0xb, 0x22);

  EXPECT_FALSE(clock.next_deadline().has_value());
}

struct Rate {
  u8 select;
  u64 hz;
};
class Rates : public RtcTest, public ::testing::WithParamInterface<Rate> {};

TEST_P(Rates, PeriodicInterruptsComeAtTheRate) {
  put(0xa, 0x20 | GetParam().select);
  put(0xb, 0x42);
  get(0xc);

  unsigned count = 0;
  while (*clock.next_deadline() <= kSecond) {
    advance_to(clock, *clock.next_deadline());
    ASSERT_TRUE(irq.level);
    ASSERT_EQ(get(0xc) & 0xc0, 0xc0);
    ++count;
  }

  EXPECT_EQ(count, GetParam().hz);
}
INSTANTIATE_TEST_SUITE_P(Table5, Rates,
                         ::testing::Values(Rate{1, 256}, Rate{2, 128}, Rate{3, 8192}, Rate{4, 4096},
                                           Rate{6, 1024}, Rate{10, 64}, Rate{14, 4}, Rate{15, 2}));

TEST_F(RtcTest, RateZeroIsNoPeriodicInterrupt) {
  put(0xa, 0x20);
  put(0xb, 0x42);

  EXPECT_FALSE(clock.next_deadline().has_value());
}

TEST_F(RtcTest, UnreadPeriodicInterruptsCostNothing) {
  put(0xa, 0x23);
  put(0xb, 0x42);
  advance_to(clock, *clock.next_deadline());
  ASSERT_TRUE(irq.level);

  EXPECT_FALSE(clock.next_deadline().has_value()) << "one flag, however often it would be set";
}

TEST_F(RtcTest, EnablingAnInterruptWhoseFlagStandsRaisesIt) {
  advance_to(clock, kSecond);
  put(0xb, 0x12);

  EXPECT_TRUE(irq.level);
}

TEST_F(RtcTest, SetClearsTheUpdateInterruptEnable) {
  put(0xb, 0x92);

  EXPECT_EQ(get(0xb), 0x82);
}

// ---- RAM, NMI mask, hostile values ----

TEST_F(RtcTest, ReportsTheMemorySize) {
  EXPECT_EQ(get(0x15) | get(0x16) << 8, 640);
  EXPECT_EQ(get(0x17) | get(0x18) << 8, 0xffff) << "511 MiB in KiB don't fit";
  EXPECT_EQ(get(0x30) | get(0x31) << 8, 0xffff);
  EXPECT_EQ(get(0x34) | get(0x35) << 8, (512 - 16) * 16);
  EXPECT_EQ(get(0x5b) | get(0x5c) << 8 | get(0x5d) << 16, 1024 * 16);
}

TEST_F(RtcTest, ReportsFloppyDiskDrives) {
  const auto ram = [](std::array<u8, 2> drives) { return Rtc::State::power_up(1 << 20, 0, 1, drives).ram; };
  EXPECT_EQ(get(0x10), 0);
  EXPECT_EQ(get(0x14), 0x02);
  EXPECT_EQ(ram({4, 0})[0x10], 0x40);
  EXPECT_EQ(ram({4, 0})[0x14], 0x03);
  EXPECT_EQ(ram({4, 5})[0x10], 0x45);
  EXPECT_EQ(ram({4, 5})[0x14], 0x43);
}

TEST_F(RtcTest, TheRamChecksumHolds) {
  unsigned sum = 0;
  for (unsigned i = 0x10; i < 0x2e; ++i) sum += get(i);

  EXPECT_EQ(get(0x2e) << 8 | get(0x2f), static_cast<int>(sum));
}

TEST_F(RtcTest, RamKeepsWhatIsWritten) {
  put(0x0f, 0x5a);
  put(0x7f, 0xa5);

  EXPECT_EQ(get(0x0f), 0x5a);
  EXPECT_EQ(get(0x7f), 0xa5);
}

TEST_F(RtcTest, Port70MasksNmiAndCannotBeRead) {
  out(rtc, 0, 0x80 | 0x0d);
  EXPECT_TRUE(rtc.nmi_masked());
  EXPECT_EQ(in(rtc, 0), 0xff);
  EXPECT_EQ(in(rtc, 1), 0x80) << "index 0xd all the same";
  out(rtc, 0, 0x0d);

  EXPECT_FALSE(rtc.nmi_masked());
}

TEST_F(RtcTest, SurvivesAnyBytesInTheTime) {
  for (unsigned b : {0x00u, 0x02u, 0x04u, 0x06u}) {
    for (unsigned value = 0; value < 256; ++value) {
      put(0xb, b | 0x80);
      for (unsigned index : {0u, 2u, 4u, 6u, 7u, 8u, 9u, 0x32u}) put(index, value);
      put(0xb, b | 0x20);
      clock.skip_to(clock.now_ns() + 3 * kSecond);
      clock.run_expired();
      get(0);
      get(0xc);
    }
  }
  put(0xb, 0x06);
  EXPECT_LT(get(0), 60);
  EXPECT_LT(get(2), 60);
  EXPECT_LT(get(4), 24);
}

TEST_F(RtcTest, RoundTripsWithItsOwnTimeAndPendingAlarm) {
  set_time(0x10, 0x00, 0x00);
  put(5, 0x10);
  put(3, 0x00);
  put(1, 0x08);
  put(0xb, 0x22);
  clock.skip_to(clock.now_ns() + 5 * kSecond + 1000);
  const auto state = decode_state<Rtc::State>(rtc.save());
  ASSERT_TRUE(state) << state.error().message;

  VirtualClock other_clock;
  other_clock.skip_to(clock.now_ns());
  Wire other_irq;
  Rtc other(other_clock, other_irq, *state);
  out(other, 0, 4);
  EXPECT_EQ(in(other, 1), 0x10);
  out(other, 0, 0);
  EXPECT_EQ(in(other, 1), 0x05);
  advance_to(other_clock, *other_clock.next_deadline());

  EXPECT_TRUE(other_irq.level);
  EXPECT_EQ(in(other, 1), 0x08);
}

TEST_F(RtcTest, FlagsThatRoseUnseenOutliveARoundTrip) {
  set_time(0x10, 0x00, 0x00);
  put(5, 0x10);
  put(3, 0x00);
  put(1, 0x08);
  get(0xc);
  clock.skip_to(clock.now_ns() + 20 * kSecond);  // no interrupt is enabled: nothing has looked since
  const auto state = decode_state<Rtc::State>(rtc.save());
  ASSERT_TRUE(state) << state.error().message;

  VirtualClock other_clock;
  other_clock.skip_to(clock.now_ns());
  Wire other_irq;
  Rtc other(other_clock, other_irq, *state);
  out(other, 0, 0xc);

  EXPECT_EQ(in(other, 1), 0x70) << "periodic, alarm and update";
  out(other, 0, 0);
  EXPECT_EQ(in(other, 1), 0x20);
}

// An RTC, and another restored from it at the same moment of another clock, 7 s and a bit after power-on.
class RestoredRtc : public RtcTest {
 protected:
  /// Divider out of reset at 7.3 s: the RTC's seconds begin 0.2 s before the wall clock's from there on.
  void reset_divider() {
    clock.skip_to(7 * kSecond + 3 * kSecond / 10);
    put(0xa, 0x76);
    put(0xa, 0x2f);
  }
  std::unique_ptr<Rtc> restore(const SavedState& saved) {
    const auto state = decode_state<Rtc::State>(saved);
    EXPECT_TRUE(state) << state.error().message;
    other_clock.skip_to(clock.now_ns());
    return std::make_unique<Rtc>(other_clock, other_irq, state.value_or(Rtc::State()));
  }

  VirtualClock other_clock;
  Wire other_irq;
};

TEST_F(RestoredRtc, ShowsTheSameWhereverItsSecondsBegin) {
  reset_divider();
  for (u64 tenths = 73; tenths < 95; ++tenths) {
    clock.skip_to(tenths * kSecond / 10 + 7);
    const auto other = restore(rtc.save());
    for (const unsigned index : {0u, 2u, 4u, 7u, 0xau}) {
      out(*other, 0, index);
      ASSERT_EQ(in(*other, 1), get(index)) << "register " << index << " at " << clock.now_ns() << " ns";
    }
  }
}

TEST_F(RestoredRtc, TicksAtTheSameMoments) {
  reset_divider();
  put(0xb, 0x52);  // periodic, twice a second, and update
  for (unsigned round = 0; round < 24; ++round) {
    advance_to(clock, clock.now_ns() + kSecond / 20 + 1);
    const auto other = restore(rtc.save());
    ASSERT_EQ(other_clock.next_deadline(), clock.next_deadline())
        << "restored at " << clock.now_ns() << " ns";
    ASSERT_EQ(other_irq.level, irq.level);
    get(0xc);
    out(*other, 0, 0xc);
    in(*other, 1);
    ASSERT_EQ(other_clock.next_deadline(), clock.next_deadline()) << "and acknowledged";
  }
}

TEST_F(RestoredRtc, SavesTheSameAtOnce) {
  reset_divider();
  put(0xb, 0x72);
  for (unsigned round = 0; round < 12; ++round) {
    clock.skip_to(clock.now_ns() + kSecond / 10 + 1);
    const SavedState saved = rtc.save();
    const auto other = restore(saved);
    ASSERT_EQ(other->save().bytes, saved.bytes) << "at " << clock.now_ns() << " ns";
  }
}

TEST_F(RestoredRtc, InTheMachinesFirstSecondToo) {
  put(0xa, 0x76);
  put(0xa, 0x2f);  // the first update is at 0.5 s: the second has begun before the machine did
  put(0xb, 0x12);

  const auto other = restore(rtc.save());

  EXPECT_EQ(clock.next_deadline(), kSecond / 2);
  EXPECT_EQ(other_clock.next_deadline(), kSecond / 2);
  advance_to(other_clock, kSecond / 2);
  EXPECT_EQ(in(*other, 1), 0x12) << "register B, as selected";
  EXPECT_TRUE(other_irq.level);
}

TEST_F(RestoredRtc, GoesOnWithTheWallClock) {
  reset_divider();
  const SavedState saved = rtc.save();

  VirtualClock later(VirtualClock::kEpochSeconds + 3600);
  later.skip_to(clock.now_ns());
  Rtc other(later, other_irq, *decode_state<Rtc::State>(saved));

  out(other, 0, 4);
  EXPECT_EQ(in(other, 1), 0x01);
  out(other, 0, 0);
  EXPECT_EQ(in(other, 1), get(0));
  EXPECT_EQ(get(0), 0x07);
}

TEST_F(RestoredRtc, AnyStateEndsItsTicksWithTime) {
  Rtc::State state = *decode_state<Rtc::State>(rtc.save());
  state.ram[0xa] = 0x2f;
  state.ram[0xb] = 0x72;
  state.index = 0xff;
  state.wall_offset = {std::numeric_limits<i64>::max(), ~u32{0}};
  state.seen_ns = ~u64{0};
  clock.skip_to(Clock::kEndNs - kSecond);

  const auto other = restore(encode_state(state));
  advance_to(other_clock, ~u64{0});

  EXPECT_EQ(other_clock.next_deadline(), std::nullopt);
  EXPECT_TRUE(other_irq.level);
  EXPECT_EQ(decode_state<Rtc::State>(other->save())->wall_offset.ns, ~u32{0} % kSecond);
}

// ---- Calendar ----

TEST(RtcTime, IsTheInverseOfItself) {
  for (i64 s = -62'000'000'000; s < 250'000'000'000; s += 1'234'567'891) {
    const RtcTime t = rtc_time_of(s);
    EXPECT_EQ(epoch_seconds_of(t), s);
  }
}

TEST(RtcTime, KnowsItsDays) {
  EXPECT_EQ(rtc_time_of(951'782'400), (RtcTime{2000, 2, 29, 0, 0, 0, 3}));
  EXPECT_EQ(rtc_time_of(0), (RtcTime{1970, 1, 1, 0, 0, 0, 5}));
  EXPECT_EQ(epoch_seconds_of({2023, 2, 31, 0, 0, 0, 0}), epoch_seconds_of({2023, 3, 3, 0, 0, 0, 0}));
}

}  // namespace
}  // namespace vellum::test
