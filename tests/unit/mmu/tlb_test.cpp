// What the TLB may keep and must drop (SDM vol. 3A §4.10).
#include "fixture.hpp"

namespace vellum::test {
namespace {

constexpr u64 kPage = 0x40300000, kFrameA = 0x300000, kFrameB = 0x500000;

struct Tlb : testing::Test {
  Tlb() {
    m.poke<u64>(kFrameA, 0xa);
    m.poke<u64>(kFrameB, 0xb);
    m.map(kPage, kFrameA);
  }
  void remap(u64 flags = kRw | kUs) { m.map(kPage, kFrameB, flags); }
  u64 value() { return m.get<u64>(kPage); }
  Machine m;
};

TEST_F(Tlb, KeepsAStaleTranslationUntilInvlpg) {
  EXPECT_EQ(value(), 0xau);
  remap();
  EXPECT_EQ(value(), 0xau);  // permitted by the architecture, and what makes it a TLB
  m.mmu.flush_page(kPage + 0x123);
  EXPECT_EQ(value(), 0xbu);
}

TEST_F(Tlb, InvlpgOfAnotherPageDropsNothing) {
  EXPECT_EQ(value(), 0xau);
  remap();
  m.mmu.flush_page(kPage + kPageSize);
  m.mmu.flush_page(kPage + kPageSize * Mmu::kTlbSize);  // the same slot
  EXPECT_EQ(value(), 0xau);
}

TEST_F(Tlb, MovToCr3DropsNonGlobalEntriesOnly) {
  constexpr u64 kGlobalPage = kPage + kPageSize;
  m.map(kGlobalPage, kFrameA, kRw | kG);
  EXPECT_EQ(value(), 0xau);
  EXPECT_EQ(m.get<u64>(kGlobalPage), 0xau);
  remap();
  m.map(kGlobalPage, kFrameB, kRw | kG);
  m.mmu.switch_address_space(0);
  m.mmu.flush_non_global();
  EXPECT_EQ(value(), 0xbu);
  EXPECT_EQ(m.get<u64>(kGlobalPage), 0xau);
  m.mmu.flush_all();
  EXPECT_EQ(m.get<u64>(kGlobalPage), 0xbu);
}

TEST_F(Tlb, InvlpgDropsGlobalEntries) {
  m.map(kPage, kFrameA, kRw | kG);
  EXPECT_EQ(value(), 0xau);
  remap();
  m.mmu.flush_page(kPage);
  EXPECT_EQ(value(), 0xbu);
}

TEST_F(Tlb, GlobalBitCountsOnlyWithPge) {
  m.state.cr4 &= ~x86::cr4::kPge;
  m.map(kPage, kFrameA, kRw | kG);
  EXPECT_EQ(value(), 0xau);
  remap();
  m.mmu.flush_non_global();
  EXPECT_EQ(value(), 0xbu);
}

TEST_F(Tlb, PcidsKeepTheirOwnEntries) {
  m.mmu.switch_address_space(1);
  EXPECT_EQ(value(), 0xau);
  remap();
  m.mmu.switch_address_space(2);
  EXPECT_EQ(value(), 0xbu);
  m.map(kPage + 8 * kPageSize, kFrameA);
  EXPECT_EQ(m.get<u64>(kPage + 8 * kPageSize), 0xau);
  m.set_entry(kPage + 8 * kPageSize, 0, 0);
  m.mmu.switch_address_space(1);
  m.mmu.switch_address_space(2);  // without a flush: entries of PCID 2 are there again
  EXPECT_EQ(m.get<u64>(kPage + 8 * kPageSize), 0xau);
  m.mmu.switch_address_space(1);
  m.mmu.flush_pcid(2);
  m.mmu.switch_address_space(2);
  u64 ignored = 0;
  expect_page_fault(m, m.mmu.read<u64>(kPage + 8 * kPageSize, ignored), kPage + 8 * kPageSize, 0);
}

TEST_F(Tlb, GlobalEntriesServeEveryPcid) {
  m.map(kPage, kFrameA, kRw | kG);
  m.mmu.switch_address_space(1);
  EXPECT_EQ(value(), 0xau);
  m.set_entry(kPage, 0, 0);
  m.mmu.switch_address_space(2);
  m.mmu.flush_pcid(2);
  m.mmu.flush_pcid(1);
  m.mmu.flush_all_non_global();
  EXPECT_EQ(value(), 0xau);
}

TEST_F(Tlb, InvpcidOfOnePageSparesOtherPcidsAndGlobalEntries) {
  m.mmu.switch_address_space(1);
  EXPECT_EQ(value(), 0xau);
  remap();
  m.mmu.flush_pcid_page(2, kPage);
  EXPECT_EQ(value(), 0xau);
  m.mmu.switch_address_space(2);
  m.mmu.flush_pcid_page(1, kPage);
  m.mmu.switch_address_space(1);
  EXPECT_EQ(value(), 0xbu);
  m.mmu.flush_page(kPage);
  m.map(kPage, kFrameA, kRw | kG);
  EXPECT_EQ(value(), 0xau);
  remap();
  m.mmu.flush_pcid_page(1, kPage);
  EXPECT_EQ(value(), 0xau);
}

TEST_F(Tlb, AllNonGlobalDropsEveryPcid) {
  for (const u16 pcid : {1, 2}) {  // each a page of its own, so that neither takes the other's slot
    m.mmu.switch_address_space(pcid);
    m.map(kPage + pcid * kPageSize, kFrameA);
    EXPECT_EQ(m.get<u64>(kPage + pcid * kPageSize), 0xau);
    m.map(kPage + pcid * kPageSize, kFrameB);
  }
  m.mmu.flush_all_non_global();
  EXPECT_EQ(m.get<u64>(kPage + 2 * kPageSize), 0xbu);
  m.mmu.switch_address_space(1);
  EXPECT_EQ(m.get<u64>(kPage + 1 * kPageSize), 0xbu);
}

TEST_F(Tlb, RightsGrantedInMemoryCountWithoutAFlush) {
  m.map(kPage, kFrameA, 0);
  EXPECT_EQ(value(), 0xau);
  expect_page_fault(m, m.mmu.write<u8>(kPage, 1), kPage, x86::pf::kPresent | x86::pf::kWrite);
  m.map(kPage, kFrameA, kRw);
  EXPECT_TRUE(m.mmu.write<u8>(kPage, 1));
}

// §4.10.4.1: a page fault drops what was cached for its page.
TEST_F(Tlb, PageFaultDropsTheStaleEntry) {
  m.map(kPage, kFrameA, 0);
  EXPECT_EQ(value(), 0xau);
  m.map(kPage, kFrameB, 0);
  expect_page_fault(m, m.mmu.write<u8>(kPage, 1), kPage, x86::pf::kPresent | x86::pf::kWrite);
  EXPECT_EQ(value(), 0xbu);
}

class LargeTlb : public testing::TestWithParam<unsigned> {};

// INVLPG drops the parts of a large page that were cached, wherever in it its address points.
TEST_P(LargeTlb, InvlpgDropsEveryPartOfALargePage) {
  Machine m;
  const unsigned level = GetParam();
  constexpr u64 kBase = 0xffff888040000000;
  const std::array<u64, 5> offsets{0, kPageSize, 0x80000, 0x155000, 0x1ff000};
  m.map(kBase, 0, kRw, level);
  for (const u64 offset : offsets) m.poke<u64>(offset + 8, offset);
  for (const u64 offset : offsets) EXPECT_EQ(m.get<u64>(kBase + offset + 8), offset);
  const u64 neighbour = kBase + (u64{1} << (12 + 9 * level));
  m.map(neighbour, 0, kRw, level);
  EXPECT_EQ(m.get<u64>(neighbour + 0x80008), 0x80000u);

  m.set_entry(kBase, level, 0);
  m.set_entry(neighbour, level, 0);
  m.mmu.flush_page(kBase + 0x123456);

  for (const u64 offset : offsets) {
    u64 value = 0;
    expect_page_fault(m, m.mmu.read<u64>(kBase + offset + 8, value), kBase + offset + 8, 0);
  }
  EXPECT_EQ(m.get<u64>(neighbour + 0x80008), 0x80000u) << "the neighbour is not to be dropped";
}

INSTANTIATE_TEST_SUITE_P(Sizes, LargeTlb, testing::Values(1u, 2u));

TEST(LargeTlbLegacy, InvlpgDropsEveryPartOfA4MibPage) {
  Machine m(Mode::k32Bit);
  m.map(0x40000000, 0, kRw, 1);
  EXPECT_TRUE(m.mmu.write<u8>(0x40000000, 1));
  EXPECT_TRUE(m.mmu.write<u8>(0x403ff000, 1));
  m.set_entry(0x40000000, 1, 0);
  m.mmu.flush_page(0x40200000);
  EXPECT_FALSE(m.mmu.write<u8>(0x40000000, 1));
  EXPECT_FALSE(m.mmu.write<u8>(0x403ff000, 1));
}

TEST(LargeTlbFilter, InvlpgStillFindsPartsAfterManyVainSearches) {
  Machine m;
  constexpr u64 kBase = 0xffff888000000000;
  m.map(kBase, 0, kRw, 2);
  m.map(kBase + bit(30), 0, kRw, 2);
  EXPECT_EQ(m.get<u8>(kBase + bit(30) + 5), 0);
  EXPECT_EQ(m.get<u8>(kBase + 5), 0);  // takes the slot: the filter alone remembers the other page
  for (int i = 0; i < 100; ++i) m.mmu.flush_page(kBase + bit(30));
  m.set_entry(kBase, 2, 0);
  m.mmu.flush_page(kBase + 0x200000);
  u8 value = 0;
  EXPECT_FALSE(m.mmu.read<u8>(kBase + 5, value));
}

TEST(LargeTlbFilter, SmallPagesBesideADirectMapCostOneWalkEach) {
  Machine m;
  constexpr u64 kDirect = 0xffff888000000000, kSmall = 0xffffc90000000000;
  m.map(kDirect, 0, kRw | kG, 2);
  for (u64 i = 0; i < 64; ++i) m.get<u8>(kDirect + i * kPageSize);
  m.map(kSmall + 100 * kPageSize, kFrameA);
  const u64 walks = m.mmu.stats.walks.get();
  for (int i = 0; i < 50; ++i) {
    m.get<u8>(kSmall + 100 * kPageSize);
    m.mmu.flush_page(kSmall + 100 * kPageSize);
  }
  for (u64 i = 0; i < 64; ++i) m.get<u8>(kDirect + i * kPageSize);
  EXPECT_EQ(m.mmu.stats.walks.get() - walks, 50u);  // the direct map stayed cached
}

// What is mistaken for a part of a large page empties the fast tables.
TEST(LargeTlbFilter, DropsOfSmallPagesLeaveWhatIsFast) {
  Machine m;
  constexpr u64 kDirect = 0xffff888000000000, kSmall = 0x7f0000000000, kKept = 0xffffc90000000000;
  for (u64 n = 0; n < 512; ++n) {
    m.map(kDirect + n * bit(21), 0, kRw | kG, 1);
    m.get<u8>(kDirect + n * bit(21));
  }
  const auto front = std::make_unique<FrontTlb>();
  m.mmu.attach_front(*front);
  m.map(kKept, kFrameA);
  m.get<u8>(kKept);
  m.mmu.fill_front(kKept);
  const u64 tag = front->entry(kKept).read_tag;
  ASSERT_NE(tag, FrontTlb::kEmpty);

  for (u64 n = 0; n < 64; ++n) m.mmu.flush_page(kSmall + (n * 517 + 1) * kPageSize);

  EXPECT_EQ(front->entry(kKept).read_tag, tag);
}

// What translated code may go by when it changes the privilege itself.
struct Ways : Tlb {
  static constexpr unsigned kUser = 0, kSmap = 1, kFree = 2;

  Ways() {
    m.set_bit(m.state.cr4, x86::cr4::kSmap, true);
    m.mmu.attach_front(*front);
    know_all();
  }
  void know_all() {
    for (const u64 ac : {u64{0}, x86::rflags::kAc}) {
      m.set_bit(m.state.rflags, x86::rflags::kAc, ac != 0);
      m.set_cpl(0);
      m.mmu.update_context();
    }
    m.set_bit(m.state.rflags, x86::rflags::kAc, false);
    m.set_cpl(3);
    m.mmu.update_context();
  }
  bool known(unsigned way) const { return front->ways[way].context != 0; }

  std::unique_ptr<FrontTlb> front = std::make_unique<FrontTlb>();
};

TEST_F(Ways, AreWhatTheirPrivilegesSelect) {
  EXPECT_EQ(front->ways[kUser].context, front->context);
  m.set_cpl(0);
  m.mmu.update_context();
  EXPECT_EQ(front->ways[kSmap].context, front->context);
  EXPECT_NE(front->ways[kSmap].context, front->ways[kUser].context);
  EXPECT_NE(front->ways[kSmap].context, front->ways[kFree].context);
}

TEST_F(Ways, AreForgottenWithWhatTheyReachedByAFlush) {
  m.mmu.flush_non_global();
  EXPECT_TRUE(known(kUser));
  EXPECT_FALSE(known(kSmap) || known(kFree));
}

TEST_F(Ways, AreThoseOfOneAddressSpace) {
  m.mmu.switch_address_space(5);
  EXPECT_TRUE(known(kUser));
  EXPECT_FALSE(known(kSmap) || known(kFree));
}

TEST_F(Ways, NoneIsKnownWhileDataIsWatched) {
  m.state.dr7 = 0x30003;
  m.mmu.update_context();
  EXPECT_FALSE(known(kUser) || known(kSmap) || known(kFree));
}

TEST_F(Ways, NoneIsKnownWhileAlignmentIsChecked) {
  m.set_bit(m.state.cr0, x86::cr0::kAm, true);
  m.set_bit(m.state.rflags, x86::rflags::kAc, true);
  m.mmu.update_context();
  EXPECT_FALSE(known(kUser) || known(kSmap) || known(kFree));
}

TEST_F(Ways, AreForgottenWhenSmapComesOrGoes) {
  for (const bool smap : {false, true}) {
    know_all();
    m.set_bit(m.state.cr4, x86::cr4::kSmap, smap);
    m.mmu.update_context();
    EXPECT_TRUE(known(kUser));
    EXPECT_FALSE(known(kSmap) || known(kFree));
  }
}

TEST_F(Tlb, StampsThatStartOverRevivesNothing) {
  Machine small(Mode::k4Level, 16);
  small.poke<u64>(kFrameA, 0xa);
  for (u64 i = 0; i < 200; ++i) {
    const u64 page = kPage + i * kPageSize;
    small.map(page, kFrameA, kRw | (i % 2 != 0 ? kG : 0));
    EXPECT_EQ(small.get<u64>(page), 0xau);
    small.set_entry(page, 0, 0);
    small.mmu.switch_address_space(static_cast<u16>(i % 5));
    i % 3 == 0 ? small.mmu.flush_all_non_global() : small.mmu.flush_all();
    small.mmu.flush_all();
    for (u64 earlier = 0; earlier <= i; ++earlier) {
      u64 value = 0;
      ASSERT_FALSE(small.mmu.read<u64>(kPage + earlier * kPageSize, value)) << i << " " << earlier;
    }
  }
}

TEST(TlbStamps, NoTwoLiveStampsAreEqual) {
  TlbStamps stamps(12);
  for (u16 i = 0; i < 100; ++i) {
    (void)stamps.switch_to(i % 7);
    if (i % 5 == 0) (void)stamps.renew_all_non_global();
    EXPECT_NE(stamps.current(), stamps.global());
    EXPECT_NE(stamps.current(), TlbStamps::kNone);
    for (u16 pcid = 0; pcid < 7; ++pcid) {
      EXPECT_NE(stamps.of(pcid), stamps.global());
      EXPECT_TRUE(pcid == stamps.pcid() || stamps.of(pcid) != stamps.current());
    }
  }
}

// --- The stamp of cached code addresses ---

struct CodeMapStamp : Tlb {
  CodeMapStamp() {
    Mmu::FetchPage page;
    EXPECT_TRUE(m.mmu.fetch(kPage, page));
    m.map(kData, kFrameB);
    EXPECT_EQ(m.get<u64>(kData), 0xbu);
    before = m.mmu.code_map_stamp(kPage);
  }
  bool raised() const { return m.mmu.code_map_stamp(kPage) != before; }
  static constexpr u64 kData = kPage + 0x77000;
  u64 before = 0;
};

TEST_F(CodeMapStamp, InvlpgOfAFetchedPageRaisesIt) {
  m.mmu.flush_page(kPage);
  EXPECT_TRUE(raised());
}
TEST_F(CodeMapStamp, InvlpgOfAFetchedPageRaisesItAfterEviction) {
  m.map(kPage + Mmu::kTlbSize * kPageSize, kFrameB);
  m.get<u8>(kPage + Mmu::kTlbSize * kPageSize);
  m.mmu.flush_page(kPage);
  EXPECT_TRUE(raised());
}
TEST_F(CodeMapStamp, InvlpgOfDataDoesNot) {
  m.mmu.flush_page(kData);
  EXPECT_FALSE(raised());
}
TEST_F(CodeMapStamp, EveryWiderFlushRaisesIt) {
  m.mmu.flush_all();
  EXPECT_TRUE(raised());
  before = m.mmu.code_map_stamp(kPage);
  m.mmu.flush_non_global();
  EXPECT_TRUE(raised());
  before = m.mmu.code_map_stamp(kPage);
  m.mmu.flush_all_non_global();
  EXPECT_TRUE(raised());
  before = m.mmu.code_map_stamp(kPage);
  m.mmu.switch_address_space(3);
  EXPECT_TRUE(raised());
}
TEST_F(CodeMapStamp, InvpcidOfTheCurrentPcidRaisesIt) {
  m.mmu.flush_pcid_page(0, kPage);
  EXPECT_TRUE(raised());
}
TEST_F(CodeMapStamp, PageFaultOnAFetchedPageRaisesIt) {
  m.set_entry(kPage, 0, 0);
  EXPECT_FALSE(m.mmu.write<u8>(kPage, 1));
  EXPECT_TRUE(raised());
}
TEST_F(CodeMapStamp, InvlpgAnywhereInAFetchedLargePageRaisesIt) {
  constexpr u64 kLarge = 0x80000000;
  m.map(kLarge, 0x400000, kRw, 1);
  Mmu::FetchPage page;
  ASSERT_TRUE(m.mmu.fetch(kLarge, page));
  before = m.mmu.code_map_stamp(kPage);
  m.mmu.flush_page(kLarge + 0x100000);
  EXPECT_TRUE(raised());
}

}  // namespace
}  // namespace vellum::test
