// Stores that hit decoded code, through every way a vCPU can store (docs/design/self-modifying-code.md).
#include "fixture.hpp"

namespace vellum::test {
namespace {

constexpr u64 kPage = 0x40300000, kFrame = 0x300000, kAlias = 0x60000000, kOther = 0x500000;

struct CodeStore : testing::Test {
  CodeStore() {
    m.map(kPage, kFrame);
    m.map(kAlias, kFrame);
    m.map(kPage + kPageSize, kOther);
    m.map(kPage - kPageSize, kOther);
    remembered = m.ram->track_code(GuestPhys(kFrame + 0x80), 16);  // chunk 2
  }
  bool stale() { return m.ram->track_code(GuestPhys(kFrame + 0x80), 16) != remembered; }
  Machine m;
  u32 remembered = 0;
};

TEST_F(CodeStore, StoreToTheChunkIsNoticed) {
  ASSERT_TRUE(m.mmu.write<u32>(kPage + 0x90, 1));
  EXPECT_TRUE(m.mmu.code_was_written);
  EXPECT_TRUE(stale());
  EXPECT_EQ(m.mmu.stats.code_stores.get(), 1u);
}

TEST_F(CodeStore, FastPathStoreIsNoticedToo) {
  ASSERT_TRUE(m.mmu.write<u32>(kPage, 1));  // fills the TLB
  EXPECT_FALSE(m.mmu.code_was_written);
  ASSERT_TRUE(m.mmu.write<u8>(kPage + 0xbf, 1));
  EXPECT_TRUE(m.mmu.code_was_written);
  EXPECT_TRUE(stale());
}

TEST_F(CodeStore, DataBesideCodeIsLeftAlone) {
  ASSERT_TRUE(m.mmu.write<u64>(kPage + 0x78, 1));
  ASSERT_TRUE(m.mmu.write<u64>(kPage + 0xc0, 1));
  EXPECT_FALSE(m.mmu.code_was_written);
  EXPECT_FALSE(stale());
}

TEST_F(CodeStore, StoreThatReachesIntoTheChunk) {
  ASSERT_TRUE(m.mmu.write<u64>(kPage + 0x79, 1));
  EXPECT_TRUE(m.mmu.code_was_written);
}

TEST_F(CodeStore, AnotherLinearAddressOfThePage) {
  ASSERT_TRUE(m.mmu.write<u8>(kAlias + 0x80, 1));
  EXPECT_TRUE(m.mmu.code_was_written);
  EXPECT_TRUE(stale());
}

TEST_F(CodeStore, BytesAndOtherPrivileges) {
  const std::array<u8, 256> zeros{};
  ASSERT_TRUE(m.mmu.write_bytes(kPage, zeros.data(), 128));
  EXPECT_FALSE(m.mmu.code_was_written);
  ASSERT_TRUE(m.mmu.write_bytes(kPage, zeros.data(), 129));
  EXPECT_TRUE(m.mmu.code_was_written);
  m.mmu.code_was_written = false;
  ASSERT_TRUE(m.mmu.write_as(Privilege::kImplicit, kPage + 0x80, 8, 0));
  EXPECT_TRUE(m.mmu.code_was_written);
}

TEST_F(CodeStore, PageCrossingStores) {
  const u32 next = m.ram->track_code(GuestPhys(kOther), 1);
  ASSERT_TRUE(m.mmu.write<u16>(kPage + kPageSize - 1, 0));
  EXPECT_TRUE(m.mmu.code_was_written);
  EXPECT_NE(m.ram->track_code(GuestPhys(kOther), 1), next);
  EXPECT_FALSE(stale());
}

TEST_F(CodeStore, ThroughAPointer) {
  bool faulted = false;
  u8* host = m.mmu.pointer_for_write(kPage + 0x88, 4, x86::Seg::kDs, faulted);
  ASSERT_EQ(host, m.ram->host(GuestPhys(kFrame + 0x88)));
  guest_store<u32>(host, 5);
  m.mmu.wrote(kPage + 0x88, 4);
  EXPECT_TRUE(m.mmu.code_was_written);
  EXPECT_TRUE(stale());
}

TEST_F(CodeStore, ThroughAPointerWhoseEntryWasEvicted) {
  bool faulted = false;
  u8* host = m.mmu.pointer_for_write(kPage + 0x88, 4, x86::Seg::kDs, faulted);
  m.map(kPage + Mmu::kTlbSize * kPageSize, kOther);
  m.get<u8>(kPage + Mmu::kTlbSize * kPageSize);
  guest_store<u32>(host, 5);
  m.mmu.wrote(kPage + 0x88, 4);
  EXPECT_TRUE(stale());
}

TEST_F(CodeStore, DeviceStoresRaiseTheGeneration) {
  const std::array<u8, 4> bytes{1, 2, 3, 4};
  ASSERT_TRUE(m.space.write(GuestPhys(kFrame + 0xa0), bytes));
  EXPECT_FALSE(m.mmu.code_was_written);  // not this vCPU's store: it sees the generation at its next unit
  EXPECT_TRUE(stale());
}

// A guest may execute its page tables: setting an accessed bit is a store like another.
TEST_F(CodeStore, AccessedBitInAPageTableThatHoldsCode) {
  m.map(0x7f0000000000, kFrame);
  const GuestPhys entry = m.entry_at(0x7f0000000000, 0);
  const u32 before = m.ram->track_code(entry, 8);
  m.get<u8>(0x7f0000000000);
  EXPECT_NE(m.ram->track_code(entry, 8), before);
}

}  // namespace
}  // namespace vellum::test
