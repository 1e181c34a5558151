// Accessed and dirty bits (SDM vol. 3A §4.8).
#include <atomic>
#include <thread>

#include "fixture.hpp"

namespace vellum::test {
namespace {

constexpr u64 kPage = 0x40300000, kFrame = 0x300000;

class AccessedDirty : public testing::TestWithParam<Mode> {
 protected:
  Machine m{GetParam()};
};

TEST_P(AccessedDirty, ReadSetsAccessedAtEveryLevelAndNoDirty) {
  m.map(kPage, kFrame);
  m.get<u32>(kPage);
  EXPECT_EQ(m.entry(kPage, 0) & (kA | kD), kA);
  EXPECT_EQ(m.entry(kPage, 1) & (kA | kD), kA);
}

TEST_P(AccessedDirty, FetchSetsAccessedOnly) {
  m.map(kPage, kFrame);
  Mmu::FetchPage page;
  ASSERT_TRUE(m.mmu.fetch(kPage + 5, page));
  EXPECT_EQ(page.physical, GuestPhys(kFrame + 5));
  EXPECT_EQ(page.host, m.ram->host(GuestPhys(kFrame + 5)));
  EXPECT_EQ(m.entry(kPage, 0) & (kA | kD), kA);
}

TEST_P(AccessedDirty, WriteSetsDirtyInTheLeafOnly) {
  m.map(kPage, kFrame);
  ASSERT_TRUE(m.mmu.write<u32>(kPage, 7));
  EXPECT_EQ(m.entry(kPage, 0) & (kA | kD), kA | kD);
  EXPECT_EQ(m.entry(kPage, 1) & (kA | kD), kA);
}

TEST_P(AccessedDirty, WriteAfterReadStillSetsDirty) {
  m.map(kPage, kFrame);
  m.get<u32>(kPage);
  ASSERT_TRUE(m.mmu.write<u32>(kPage, 7));
  EXPECT_EQ(m.entry(kPage, 0) & kD, kD);
}

TEST_P(AccessedDirty, LargePageHasItsDirtyBitInTheDirectory) {
  m.map(kPage, 0, kRw, 1);
  ASSERT_TRUE(m.mmu.write<u32>(kPage, 7));
  EXPECT_EQ(m.entry(kPage, 1) & (kA | kD), kA | kD);
}

TEST_P(AccessedDirty, DeniedAccessSetsNeither) {
  m.map(kPage, kFrame, 0);
  EXPECT_FALSE(m.mmu.write<u32>(kPage, 7));
  EXPECT_EQ(m.entry(kPage, 0) & (kA | kD), 0u);
}

TEST_P(AccessedDirty, ClearedBitsAreSetAgainAfterInvlpg) {
  m.map(kPage, kFrame);
  ASSERT_TRUE(m.mmu.write<u32>(kPage, 7));
  m.set_entry(kPage, 0, m.entry(kPage, 0) & ~(kA | kD));
  m.mmu.flush_page(kPage);
  ASSERT_TRUE(m.mmu.write<u32>(kPage, 7));
  EXPECT_EQ(m.entry(kPage, 0) & (kA | kD), kA | kD);
}

TEST_P(AccessedDirty, ProbeForWriteSetsDirty) {
  m.map(kPage, kFrame);
  ASSERT_TRUE(m.mmu.probe(kPage, 4, Access::kWrite));
  EXPECT_EQ(m.entry(kPage, 0) & (kA | kD), kA | kD);
}

TEST_P(AccessedDirty, QuietTranslationTouchesNothing) {
  m.map(kPage, kFrame, 0);
  GuestPhys physical;
  ASSERT_TRUE(m.mmu.translate_quietly(kPage + 0x123, physical));
  EXPECT_EQ(physical, GuestPhys(kFrame + 0x123));
  EXPECT_EQ(m.entry(kPage, 0) & (kA | kD), 0u);
  EXPECT_FALSE(m.mmu.translate_quietly(kPage + kPageSize, physical));
}

INSTANTIATE_TEST_SUITE_P(Modes, AccessedDirty, testing::Values(Mode::k32Bit, Mode::kPae, Mode::k4Level),
                         [](const auto& p) {
                           return p.param == Mode::k32Bit ? "Legacy"
                                  : p.param == Mode::kPae ? "Pae"
                                                          : "FourLevel";
                         });

// Another processor replaces the entry all the time, and each time finds what it wrote last, with A and D at
// most: a bit set without compare-exchange would sooner or later bring back the value that was replaced.
TEST(AccessedDirtyRace, BitsNeverLandInAnEntryThatChanged) {
  constexpr int kRounds = 100'000;
  Machine m;
  m.map(kPage, kFrame);
  u64* entry = reinterpret_cast<u64*>(m.ram->host(m.entry_at(kPage, 0)));
  const u64 present = kFrame | kP | kRw | kUs;
  std::atomic<bool> stop{false};
  int damaged = 0;

  std::thread other([&] {
    for (u64 last = present; !stop.load();) {
      u64 seen = guest_load<u64>(entry);
      damaged += (last == present ? seen & ~(kA | kD) : seen) == last ? 0 : 1;
      last = present - last;
      while (!guest_compare_exchange(entry, seen, last)) {
      }
    }
  });
  int wrong = 0;
  for (int i = 0; i < kRounds; ++i) {
    m.mmu.flush_page(kPage);
    wrong += m.mmu.write<u8>(kPage, 1) || m.fault.error_code == x86::pf::kWrite ? 0 : 1;
  }
  stop = true;
  other.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(damaged, 0);
}

// The entry changes between the walk's look at it and the setting of its bits, here for certain: a device
// holds it. What counts is the new entry.
TEST(AccessedDirtyRace, LosingMeansWalkingAgain) {
  struct Changing final : BusDevice {
    u64 read(u64 offset, unsigned) override {
      return offset == 8 * 511 ? (reads++ == 0 ? first : second) : 0;
    }
    void write(u64 offset, unsigned, u64 value) override {
      if (offset == 8 * 511) second = value;
    }
    u64 first = 0, second = 0;
    int reads = 0;
  } device;
  Machine m;
  constexpr u64 kTop = 0xffffff8000000000 | kPage;
  m.map(kPage, kFrame);
  m.map(bit(39) | kPage, kFrame + kPageSize);
  m.poke<u8>(kFrame, 1);
  m.poke<u8>(kFrame + kPageSize, 2);
  device.first = m.entry(kPage, 3);
  device.second = m.entry(bit(39) | kPage, 3);
  ASSERT_TRUE(m.mmio.add(0xc0000000, kPageSize, device, "table"));
  m.state.cr3 = 0xc0000000;
  EXPECT_EQ(m.get<u8>(kTop), 2);
  EXPECT_EQ(device.second & kA, kA);
  EXPECT_EQ(device.reads, 4);  // looked at, lost; looked at again, set
}

}  // namespace
}  // namespace vellum::test
