// Accesses that leave the fast path: page crossings, memory-mapped I/O, the xAPIC page, bad addresses,
// alignment.
#include <numeric>

#include "fixture.hpp"

namespace vellum::test {
namespace {

constexpr u64 kPage = 0x40300000, kFrame = 0x300000, kOther = 0x500000;
constexpr u64 kEnd = kPage + kPageSize;

struct Crossing : testing::Test {
  Crossing() {
    m.map(kPage, kFrame);
    m.map(kEnd, kOther);  // physically apart
  }
  Machine m;
};

TEST_F(Crossing, ReadsAndWritesJoinBothPages) {
  for (u64 before = 1; before < 8; ++before) {
    const u64 value = 0x8877665544332211 + before;
    ASSERT_TRUE(m.mmu.write<u64>(kEnd - before, value));
    EXPECT_EQ(m.get<u64>(kEnd - before), value);
    EXPECT_EQ(m.peek<u8>(kFrame + kPageSize - before), value & 0xff);
    EXPECT_EQ(m.peek<u8>(kOther), value >> (8 * before) & 0xff);
  }
}

TEST_F(Crossing, FaultOnTheSecondPageNamesItsFirstByteAndStoresNothing) {
  m.set_entry(kEnd, 0, 0);
  m.poke<u32>(kFrame + kPageSize - 4, 0x11111111);
  expect_page_fault(m, m.mmu.write<u64>(kEnd - 4, ~u64{0}), kEnd, x86::pf::kWrite);
  EXPECT_EQ(m.peek<u32>(kFrame + kPageSize - 4), 0x11111111u);
  u32 value = 0xdead;
  expect_page_fault(m, m.mmu.read<u32>(kEnd - 2, value), kEnd, 0);
  EXPECT_EQ(value, 0xdeadu);
}

TEST_F(Crossing, FaultOnTheFirstPageNamesTheAccess) {
  m.set_entry(kPage, 0, 0);
  m.set_entry(kEnd, 0, 0);
  expect_page_fault(m, m.mmu.write<u64>(kEnd - 3, 1), kEnd - 3, x86::pf::kWrite);
}

TEST_F(Crossing, WriteToAReadOnlySecondPageStoresNothing) {
  m.map(kEnd, kOther, 0);
  m.poke<u8>(kFrame + kPageSize - 1, 0x55);
  expect_page_fault(m, m.mmu.write<u16>(kEnd - 1, 0xaaaa), kEnd, x86::pf::kPresent | x86::pf::kWrite);
  EXPECT_EQ(m.peek<u8>(kFrame + kPageSize - 1), 0x55);
}

TEST_F(Crossing, PointersAreRefusedWithoutAFault) {
  bool faulted = true;
  EXPECT_EQ(m.mmu.pointer_for_write(kEnd - 1, 2, x86::Seg::kDs, faulted), nullptr);
  EXPECT_FALSE(faulted);
  EXPECT_EQ(m.mmu.pointer_for_read(kEnd - 31, 32, x86::Seg::kDs, faulted), nullptr);
  EXPECT_FALSE(faulted);
}

TEST_F(Crossing, BytesOfAnySize) {
  std::array<u8, 4096> out{}, in{};
  std::iota(out.begin(), out.end(), u8{1});
  for (const unsigned size : {1u, 3u, 16u, 100u, 4096u}) {
    ASSERT_TRUE(m.mmu.write_bytes(kEnd - size / 2, out.data(), size));
    ASSERT_TRUE(m.mmu.read_bytes(kEnd - size / 2, in.data(), size));
    EXPECT_EQ(std::memcmp(in.data(), out.data(), size), 0);
  }
}

TEST_F(Crossing, ProbeReportsTheSecondPage) {
  EXPECT_TRUE(m.mmu.probe(kEnd - 8, 16, Access::kWrite));
  m.set_entry(kEnd, 0, 0);
  m.mmu.flush_page(kEnd);
  expect_page_fault(m, m.mmu.probe(kEnd - 8, 16, Access::kWrite), kEnd, x86::pf::kWrite);
  EXPECT_TRUE(m.mmu.probe(kEnd - 8, 8, Access::kWrite));
}

TEST(LinearWrap, LegacyAddressesWrapAt4Gib) {
  Machine m(Mode::k32Bit);
  m.map(0xfffff000, kFrame);
  m.map(0, kOther);
  ASSERT_TRUE(m.mmu.write<u32>(0xfffffffe, 0x44332211));
  EXPECT_EQ(m.peek<u16>(kFrame + 0xffe), 0x2211);
  EXPECT_EQ(m.peek<u16>(kOther), 0x4433);
}

TEST(LinearWrap, LegacyFaultsAfterTheWrapAreAtZero) {
  Machine m(Mode::k32Bit);
  m.map(0xfffff000, kFrame);
  expect_page_fault(m, m.mmu.write<u32>(0xfffffffe, 1), 0, x86::pf::kWrite);
}

TEST(LinearWrap, LongModeAddressesWrapAtTheTop) {
  Machine m;
  m.map(0xfffffffffffff000, kFrame);
  m.map(0, kOther);
  ASSERT_TRUE(m.mmu.write<u32>(0xfffffffffffffffe, 0x44332211));
  EXPECT_EQ(m.peek<u16>(kOther), 0x4433);
}

// --- Canonical addresses ---

TEST(Canonical, DataFaultsAreGpOrSs) {
  Machine m;
  u64 value = 0;
  expect_fault(m, m.mmu.read<u64>(0x800000000000, value), x86::kGp);
  expect_fault(m, m.mmu.read<u64>(0xffff7fffffffffff, value, x86::Seg::kSs), x86::kSs);
  expect_fault(m, m.mmu.write<u8>(0x8000000000000000, 1, x86::Seg::kFs), x86::kGp);
  expect_fault(m, m.mmu.write_as(Privilege::kSupervisor, 0x800000000000, 8, 1, x86::Seg::kSs), x86::kSs);
  bool faulted = false;
  EXPECT_EQ(m.mmu.pointer_for_write(0x800000000000, 8, x86::Seg::kSs, faulted), nullptr);
  EXPECT_TRUE(faulted);
  expect_fault(m, false, x86::kSs);
}

TEST(Canonical, AccessThatRunsOutOfTheLowerHalf) {
  Machine m;
  m.map(0x7ffffffff000, kFrame);
  u64 value = 0;
  expect_fault(m, m.mmu.read<u64>(0x7ffffffffffc, value), x86::kGp);
  EXPECT_TRUE(m.mmu.read<u64>(0x7ffffffffff8, value));
  expect_fault(m, m.mmu.probe(0x7ffffffff800, 4096, Access::kRead, x86::Seg::kSs), x86::kSs);
}

TEST(Canonical, FetchIsGp) {
  Machine m;
  Mmu::FetchPage page;
  expect_fault(m, m.mmu.fetch(0x800000000000, page), x86::kGp);
}

// --- Devices ---

struct Mmio : testing::Test {
  static constexpr u64 kDevice = 0xd0000000;
  Mmio() : device(2 * kPageSize) {
    std::iota(device.bytes.begin(), device.bytes.end(), u8{0});
    EXPECT_TRUE(m.mmio.add(kDevice, device.bytes.size(), device, "fake"));
    m.map(kPage, kFrame);
    m.map(kEnd, kDevice);
    m.map(kEnd + kPageSize, kDevice + kPageSize);
    m.map(kApic, 0xfee00000);
  }
  static constexpr u64 kApic = 0x50000000;
  FakeDevice device;
  Machine m;
};

TEST_F(Mmio, AccessesReachTheDeviceWholeEachTime) {
  EXPECT_EQ(m.get<u8>(kEnd + 3), 3);
  EXPECT_EQ(m.get<u16>(kEnd + 4), 0x0504);
  EXPECT_EQ(m.get<u32>(kEnd + 8), 0x0b0a0908u);
  EXPECT_EQ(m.get<u64>(kEnd + 16), 0x1716151413121110u);
  EXPECT_EQ(m.get<u64>(kEnd + 16), 0x1716151413121110u);
  EXPECT_EQ(device.reads, (std::vector<FakeBoard::Read>{{3, 1}, {4, 2}, {8, 4}, {16, 8}, {16, 8}}));
  ASSERT_TRUE(m.mmu.write<u32>(kEnd + 8, 0xcafebabe));
  EXPECT_EQ(device.writes, (std::vector<FakeBoard::Write>{{8, 4, 0xcafebabe}}));
  EXPECT_EQ(m.mmu.stats.mmio_reads.get(), 5u);
}

TEST_F(Mmio, LongerAccessesAreSplitIntoAlignedPieces) {
  std::array<u8, 16> bytes{};
  ASSERT_TRUE(m.mmu.read_bytes(kEnd + 32, bytes.data(), 16));
  EXPECT_EQ(device.reads, (std::vector<FakeBoard::Read>{{32, 8}, {40, 8}}));
  device.reads.clear();
  ASSERT_TRUE(m.mmu.read_bytes(kEnd + 5, bytes.data(), 10));
  EXPECT_EQ(device.reads, (std::vector<FakeBoard::Read>{{5, 1}, {6, 2}, {8, 4}, {12, 2}, {14, 1}}));
  EXPECT_EQ(bytes[9], 14);
}

TEST_F(Mmio, CrossingBetweenRamAndDevice) {
  m.poke<u8>(kFrame + kPageSize - 1, 0xee);
  EXPECT_EQ(m.get<u32>(kEnd - 1), 0x020100eeu);
  ASSERT_TRUE(m.mmu.write<u32>(kEnd - 1, 0xa3a2a1a0));
  EXPECT_EQ(m.peek<u8>(kFrame + kPageSize - 1), 0xa0);
  EXPECT_EQ(device.bytes[2], 0xa3);
}

TEST_F(Mmio, CrossingIntoAnUnmappedPageTouchesNoDevice) {
  u32 value = 0;
  m.set_entry(kEnd + kPageSize, 0, 0);
  EXPECT_FALSE(m.mmu.read<u32>(kEnd + kPageSize - 2, value));
  EXPECT_FALSE(m.mmu.write<u32>(kEnd + kPageSize - 2, value));
  EXPECT_TRUE(device.reads.empty());
  EXPECT_TRUE(device.writes.empty());
}

TEST_F(Mmio, PointersAreRefusedWithoutAFault) {
  bool faulted = true;
  EXPECT_EQ(m.mmu.pointer_for_write(kEnd, 4, x86::Seg::kDs, faulted), nullptr);
  EXPECT_FALSE(faulted);
}

TEST_F(Mmio, PermissionsHoldForDevicesToo) {
  m.map(kEnd, kDevice, 0);
  expect_page_fault(m, m.mmu.write<u8>(kEnd, 1), kEnd, x86::pf::kPresent | x86::pf::kWrite);
  EXPECT_EQ(m.get<u8>(kEnd + 1), 1);
  m.set_cpl(3);
  u8 value = 0;
  expect_page_fault(m, m.mmu.read<u8>(kEnd, value), kEnd, x86::pf::kPresent | x86::pf::kUser);
}

TEST_F(Mmio, FetchesComeFromTheDevice) {
  Mmu::FetchPage page;
  ASSERT_TRUE(m.mmu.fetch(kEnd + 0x21, page));
  EXPECT_EQ(page.host, nullptr);
  EXPECT_EQ(page.physical, GuestPhys(kDevice + 0x21));
  EXPECT_EQ(m.mmu.fetch_mmio_byte(page.physical), 0x21);
}

TEST_F(Mmio, UnclaimedAddressesReadOnes) {
  m.map(kPage, 0xe0000000);
  EXPECT_EQ(m.get<u32>(kPage), 0xffffffffu);
  EXPECT_TRUE(m.mmu.write<u32>(kPage, 0));
}

TEST_F(Mmio, TheXapicPageGoesToTheBoard) {
  EXPECT_EQ(m.get<u32>(kApic + 0x20), 0x55667788u);
  ASSERT_TRUE(m.mmu.write<u32>(kApic + 0xb0, 0));
  EXPECT_EQ(m.board.reads, (std::vector<FakeBoard::Read>{{0x20, 4}}));
  EXPECT_EQ(m.board.writes, (std::vector<FakeBoard::Write>{{0xb0, 4, 0}}));
}

TEST_F(Mmio, TheXapicPageHidesRamAtItsAddress) {
  m.board.page = kFrame;
  m.mmu.flush_all();
  EXPECT_EQ(m.get<u32>(kPage + 0x30), 0x55667788u);
  m.board.page = ~u64{0};
  m.mmu.flush_all();
  EXPECT_EQ(m.get<u32>(kPage + 0x30), 0u);
}

// --- Privileges ---

TEST(PrivilegeOf, EachKindIsItsOwn) {
  Machine m;
  constexpr u64 kUserPage = 0x1000, kSystemPage = 0x2000;
  m.map(kUserPage, kFrame, kRw | kUs);
  m.map(kSystemPage, kOther, kRw);
  u64 value = 0;
  m.set_cpl(3);
  EXPECT_TRUE(m.mmu.read_as(Privilege::kImplicit, kSystemPage, 8, value));
  EXPECT_TRUE(m.mmu.write_as(Privilege::kSupervisor, kSystemPage, 8, value));
  m.set_cpl(0);
  constexpr u32 kUserDenied = x86::pf::kPresent | x86::pf::kUser;
  expect_page_fault(m, m.mmu.read_as(Privilege::kUser, kSystemPage, 8, value), kSystemPage, kUserDenied);
  EXPECT_TRUE(m.mmu.read_as(Privilege::kUser, kUserPage, 8, value));
  m.state.cr4 |= x86::cr4::kSmap;
  m.state.rflags |= x86::rflags::kAc;
  m.mmu.update_context();
  EXPECT_TRUE(m.mmu.read_as(Privilege::kCurrent, kUserPage, 8, value));
  EXPECT_TRUE(m.mmu.read_as(Privilege::kSupervisor, kUserPage, 8, value));
  expect_page_fault(m, m.mmu.read_as(Privilege::kImplicit, kUserPage, 8, value), kUserPage,
                    x86::pf::kPresent);
  m.state.rflags &= ~x86::rflags::kAc;
  m.mmu.update_context();
  expect_page_fault(m, m.mmu.write_as(Privilege::kSupervisor, kUserPage, 8, value), kUserPage,
                    x86::pf::kPresent | x86::pf::kWrite);
}

// --- Alignment (SDM vol. 3A §6.15, #AC) ---

struct Alignment : testing::Test {
  Alignment() {
    m.map(kPage, kFrame);
    m.state.cr0 |= x86::cr0::kAm;
    m.state.rflags |= x86::rflags::kAc;
    m.set_cpl(3);
  }
  Machine m;
};

TEST_F(Alignment, MisalignedDataAtCpl3IsAc) {
  u16 word = 0;
  u32 dword = 0;
  u64 qword = 0;
  expect_fault(m, m.mmu.read<u16>(kPage + 1, word), x86::kAc);
  expect_fault(m, m.mmu.read<u32>(kPage + 2, dword), x86::kAc);
  expect_fault(m, m.mmu.write<u64>(kPage + 4, 1), x86::kAc);
  EXPECT_TRUE(m.mmu.read<u16>(kPage + 2, word));
  EXPECT_TRUE(m.mmu.read<u32>(kPage + 4, dword));
  EXPECT_TRUE(m.mmu.read<u64>(kPage + 8, qword));
  EXPECT_TRUE(m.mmu.write<u8>(kPage + 1, 1));
  EXPECT_TRUE(m.mmu.accesses_are_watched());
}

TEST_F(Alignment, WiderOperands) {
  std::array<u8, 512> bytes{};
  EXPECT_FALSE(m.mmu.read_bytes(kPage + 8, bytes.data(), 16));
  EXPECT_TRUE(m.mmu.read_bytes(kPage + 8, bytes.data(), 10));  // an extended real
  EXPECT_FALSE(m.mmu.read_bytes(kPage + 4, bytes.data(), 10));
  EXPECT_TRUE(m.mmu.read_bytes(kPage + 4, bytes.data(), 6));  // a far pointer
  EXPECT_FALSE(m.mmu.read_bytes(kPage + 2, bytes.data(), 6));
  EXPECT_TRUE(m.mmu.read_bytes(kPage + 4, bytes.data(), 28));  // an x87 environment
  EXPECT_TRUE(m.mmu.read_bytes(kPage + 1, bytes.data(), 512));
  bool faulted = false;
  m.mmu.pointer_for_write(kPage + 4, 8, x86::Seg::kDs, faulted);
  EXPECT_TRUE(faulted);
}

TEST_F(Alignment, PointersReportItEvenAcrossPages) {
  bool faulted = false;
  EXPECT_EQ(m.mmu.pointer_for_write(kEnd - 2, 4, x86::Seg::kDs, faulted), nullptr);
  EXPECT_TRUE(faulted);
  expect_fault(m, false, x86::kAc);
}

TEST_F(Alignment, NeedsAmAcAndCpl3) {
  u32 value = 0;
  m.set_cpl(0);
  EXPECT_TRUE(m.mmu.read<u32>(kPage + 1, value));
  EXPECT_FALSE(m.mmu.accesses_are_watched());
  m.state.cr0 &= ~x86::cr0::kAm;
  m.set_cpl(3);
  EXPECT_TRUE(m.mmu.read<u32>(kPage + 1, value));
  m.state.cr0 |= x86::cr0::kAm;
  m.state.rflags &= ~x86::rflags::kAc;
  m.mmu.update_context();
  EXPECT_TRUE(m.mmu.read<u32>(kPage + 1, value));
}

TEST_F(Alignment, ImplicitAccessesAreExempt) {
  u64 value = 0;
  EXPECT_TRUE(m.mmu.read_as(Privilege::kImplicit, kPage + 1, 8, value));
  EXPECT_TRUE(m.mmu.write_as(Privilege::kSupervisor, kPage + 1, 8, value));
}

TEST_F(Alignment, ComesBeforePageFaults) {
  expect_fault(m, m.mmu.write<u32>(kEnd + 1, 1), x86::kAc);
}

}  // namespace
}  // namespace vellum::test
