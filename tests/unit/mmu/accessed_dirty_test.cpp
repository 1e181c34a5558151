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

// Another processor replaces the entry all the time: a bit set without compare-exchange would sooner or later
// land in the value that says not present.
TEST(AccessedDirtyRace, BitsNeverLandInAnEntryThatChanged) {
  constexpr int kRounds = 20'000;
  Machine m;
  m.map(kPage, kFrame);
  u64* entry = reinterpret_cast<u64*>(m.ram->host(m.entry_at(kPage, 0)));
  const u64 present = kFrame | kP | kRw | kUs;
  std::atomic<bool> stop{false};
  int damaged = 0;

  std::thread other([&] {
    for (bool on = false; !stop.load(); on = !on) {
      u64 seen = guest_load<u64>(entry);
      while (!guest_compare_exchange(entry, seen, on ? present : u64{0})) {
      }
      damaged += seen == 0 || (seen & ~(kA | kD)) == present ? 0 : 1;
    }
  });
  for (int i = 0; i < kRounds; ++i) {
    m.mmu.flush_page(kPage);
    const bool done = m.mmu.write<u8>(kPage, 1);
    EXPECT_TRUE(done || m.fault.error_code == x86::pf::kWrite) << m.fault.error_code;
  }
  stop = true;
  other.join();
  EXPECT_EQ(damaged, 0);
}

}  // namespace
}  // namespace vellum::test
