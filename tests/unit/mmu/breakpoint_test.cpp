// Data breakpoints (SDM vol. 3B §17.2.4, §17.2.5).
#include "cpu/mmu/breakpoints.hpp"

#include "fixture.hpp"

namespace vellum::test {
namespace {

constexpr u64 kPage = 0x40300000, kFrame = 0x300000;
enum Rw : u64 { kOnExecute = 0, kOnWrite = 1, kOnIo = 2, kOnAccess = 3 };
enum Len : u64 { kLen1 = 0, kLen2 = 1, kLen8 = 2, kLen4 = 3 };

constexpr u64 dr7(unsigned n, Rw rw, Len len, bool global = false) {
  return x86::dr7::kFixed1 | bit(2 * n + (global ? 1 : 0)) | u64{rw} << (16 + 4 * n) |
         u64{len} << (18 + 4 * n);
}

struct Breakpoints : testing::Test {
  Breakpoints() {
    m.map(kPage, kFrame);
    m.map(kPage + kPageSize, kFrame);
  }
  void arm(unsigned n, u64 address, Rw rw, Len len, bool global = false) {
    m.state.dr[n] = address;
    m.state.dr7 = dr7(n, rw, len, global);
    m.mmu.update_context();
  }
  u32 hits_of_read(u64 address, unsigned size) {
    std::array<u8, 64> bytes{};
    m.mmu.breakpoint_hits = 0;
    EXPECT_TRUE(m.mmu.read_bytes(address, bytes.data(), size));
    return m.mmu.breakpoint_hits;
  }
  u32 hits_of_write(u64 address, unsigned size) {
    const std::array<u8, 64> bytes{};
    m.mmu.breakpoint_hits = 0;
    EXPECT_TRUE(m.mmu.write_bytes(address, bytes.data(), size));
    return m.mmu.breakpoint_hits;
  }
  Machine m;
};

// Table 17-1 and §17.2.5: every length, every access of 1 to 16 bytes around it.
TEST_F(Breakpoints, MatchIfAnyByteLiesInTheRange) {
  const std::array<std::pair<Len, u64>, 4> lengths{{{kLen1, 1}, {kLen2, 2}, {kLen4, 4}, {kLen8, 8}}};
  for (const auto& [len, bytes] : lengths) {
    arm(2, kPage + 0x40, kOnAccess, len);
    for (u64 start = kPage + 0x28; start < kPage + 0x58; ++start) {
      for (unsigned size = 1; size <= 16; ++size) {
        const bool overlap = start < kPage + 0x40 + bytes && kPage + 0x40 < start + size;
        ASSERT_EQ(hits_of_read(start, size), overlap ? 4u : 0u) << std::hex << start << " " << size;
      }
    }
  }
}

TEST_F(Breakpoints, AddressIsRoundedDownToTheLength) {
  arm(0, kPage + 0x47, kOnAccess, kLen8);
  EXPECT_EQ(hits_of_read(kPage + 0x40, 1), 1u);
  EXPECT_EQ(hits_of_read(kPage + 0x48, 1), 0u);
}

TEST_F(Breakpoints, KindsOfAccess) {
  arm(1, kPage + 8, kOnWrite, kLen4);
  EXPECT_EQ(hits_of_read(kPage + 8, 4), 0u);
  EXPECT_EQ(hits_of_write(kPage + 8, 4), 2u);
  arm(1, kPage + 8, kOnAccess, kLen4);
  EXPECT_EQ(hits_of_read(kPage + 8, 4), 2u);
  EXPECT_EQ(hits_of_write(kPage + 8, 4), 2u);
}

TEST_F(Breakpoints, ExecuteAndIoKindsDoNotWatchData) {
  arm(3, kPage + 8, kOnExecute, kLen1);
  EXPECT_FALSE(m.mmu.accesses_are_watched());
  EXPECT_EQ(hits_of_write(kPage + 8, 4), 0u);
  arm(3, kPage + 8, kOnIo, kLen4);
  EXPECT_EQ(hits_of_write(kPage + 8, 4), 0u);
}

TEST_F(Breakpoints, LocalOrGlobalEnableSuffices) {
  arm(0, kPage, kOnWrite, kLen1, true);
  EXPECT_EQ(hits_of_write(kPage, 1), 1u);
  m.state.dr7 &= ~x86::dr7::kEnableMask;
  m.mmu.update_context();
  EXPECT_FALSE(m.mmu.accesses_are_watched());
  EXPECT_EQ(hits_of_write(kPage, 1), 0u);
}

TEST_F(Breakpoints, SeveralMatchAtOnce) {
  m.state.dr = {kPage, kPage + 4, kPage + 8, kPage};
  m.state.dr7 = dr7(0, kOnWrite, kLen4) | dr7(1, kOnAccess, kLen4) | dr7(2, kOnWrite, kLen4) |
                dr7(3, kOnExecute, kLen1);
  m.mmu.update_context();
  EXPECT_EQ(hits_of_write(kPage, 8), 0b0011u);
  EXPECT_EQ(hits_of_read(kPage, 16), 0b0010u);
}

TEST_F(Breakpoints, HitsGatherUntilCleared) {
  m.state.dr = {kPage, kPage + 0x100, 0, 0};
  m.state.dr7 = dr7(0, kOnWrite, kLen1) | dr7(1, kOnWrite, kLen1);
  m.mmu.update_context();
  ASSERT_TRUE(m.mmu.write<u8>(kPage, 1));
  ASSERT_TRUE(m.mmu.write<u8>(kPage + 0x100, 1));
  EXPECT_EQ(m.mmu.breakpoint_hits, 0b11u);
}

TEST_F(Breakpoints, TypedAccessesAndPointersMatch) {
  u32 value = 0;
  ASSERT_TRUE(m.mmu.write<u32>(kPage + 8, 1));  // the TLB is warm before the breakpoint is armed
  arm(0, kPage + 8, kOnAccess, kLen4);
  ASSERT_TRUE(m.mmu.read<u32>(kPage + 8, value));
  EXPECT_EQ(m.mmu.breakpoint_hits, 1u);
  m.mmu.breakpoint_hits = 0;
  bool faulted = false;
  EXPECT_NE(m.mmu.pointer_for_write(kPage + 8, 4, x86::Seg::kDs, faulted), nullptr);
  EXPECT_EQ(m.mmu.breakpoint_hits, 1u);
}

// What may be several elements of a string instruction goes one by one, to trap after the right one.
TEST_F(Breakpoints, LongPointersAreRefusedWhileWatched) {
  arm(0, kPage + 8, kOnAccess, kLen4);
  bool faulted = true;
  EXPECT_EQ(m.mmu.pointer_for_read(kPage + 0x100, 32, x86::Seg::kDs, faulted), nullptr);
  EXPECT_FALSE(faulted);
  EXPECT_EQ(m.mmu.breakpoint_hits, 0u);
}

TEST_F(Breakpoints, CrossingAccessMatchesOnTheSecondPage) {
  arm(0, kPage + kPageSize, kOnWrite, kLen1);
  EXPECT_EQ(hits_of_write(kPage + kPageSize - 1, 2), 1u);
}

TEST_F(Breakpoints, FaultingAccessDoesNotMatch) {
  m.set_entry(kPage, 0, 0);
  arm(0, kPage, kOnAccess, kLen1);
  EXPECT_FALSE(m.mmu.write<u8>(kPage, 1));
  EXPECT_EQ(m.mmu.breakpoint_hits, 0u);
}

TEST_F(Breakpoints, ProbeDoesNotMatch) {
  arm(0, kPage, kOnAccess, kLen1);
  EXPECT_TRUE(m.mmu.probe(kPage, 4, Access::kWrite));
  EXPECT_EQ(m.mmu.breakpoint_hits, 0u);
}

}  // namespace
}  // namespace vellum::test
