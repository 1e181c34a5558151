// Formats of paging structures: address bits, page sizes, reserved bits, PDPTEs (SDM vol. 3A §4.3 to §4.5).
#include "fixture.hpp"

namespace vellum::test {
namespace {

constexpr u64 kPage = 0x40300000, kFrame = 0x300000;
constexpr u32 kReservedFault = x86::pf::kPresent | x86::pf::kReserved;

bool reads(Machine& m, u64 linear) {
  m.mmu.flush_all();
  u8 value = 0;
  return m.mmu.read<u8>(linear, value);
}

// Expects a reserved-bit fault exactly for those of bits 0…63 of the leaf's entry that are in `reserved`;
// bits that change the walk itself (`skipped`) are left out.
void expect_reserved_bits(Machine& m, unsigned level, u64 reserved, u64 skipped) {
  const u64 good = m.entry(kPage, level);
  for (unsigned n = 0; n < 8 * m.entry_bytes(); ++n) {
    if ((bit(n) & (good | skipped)) != 0) continue;
    m.set_entry(kPage, level, good | bit(n));
    m.fault = {};
    const bool done = reads(m, kPage);
    EXPECT_EQ(done, (reserved & bit(n)) == 0) << "bit " << n << " of level " << level;
    EXPECT_EQ(m.fault.error_code, done ? 0 : kReservedFault) << "bit " << n << " of level " << level;
  }
  m.set_entry(kPage, level, good);
}

TEST(Walk, UnpagedIsIdentity) {
  Machine m(Mode::kUnpaged);
  m.poke<u32>(kFrame + 8, 0xabcd1234);
  EXPECT_EQ(m.get<u32>(kFrame + 8), 0xabcd1234u);
  m.set_cpl(3);
  EXPECT_TRUE(m.mmu.write<u32>(kFrame + 8, 5));
  EXPECT_EQ(m.peek<u32>(kFrame + 8), 5u);
}

TEST(Walk, EachLinearBitSelectsItsPlace) {
  Machine m;
  for (unsigned n = 12; n < 47; ++n) {
    m.enter(Mode::k4Level);
    m.map(bit(n), kFrame, kRw);
    GuestPhys physical;
    EXPECT_TRUE(m.mmu.translate_quietly(bit(n) + 0x789, physical)) << n;
    EXPECT_EQ(physical, GuestPhys(kFrame + 0x789)) << n;
    EXPECT_FALSE(m.mmu.translate_quietly(0x789, physical)) << n;
  }
}

TEST(Walk, LargePagesTakeTheOffsetFromTheLinearAddress) {
  Machine m;
  m.map(0xffff888000000000, 0, kRw, 2);
  m.poke<u64>(0x765000, 77);
  EXPECT_EQ(m.get<u64>(0xffff888000765000), 77u);
  m.map(0x7f0000200000, 0x400000, kRw, 1);
  m.poke<u64>(0x5fff00, 88);
  EXPECT_EQ(m.get<u64>(0x7f00003fff00), 88u);
}

TEST(Walk, FourLevelReservedBits) {
  Machine m;
  m.map(kPage, kFrame);
  const u64 beyond = low_mask(52) & ~low_mask(40);
  expect_reserved_bits(m, 0, beyond, 0);
  expect_reserved_bits(m, 1, beyond, kPs | 0xfffffff000);
  expect_reserved_bits(m, 2, beyond, kPs | 0xfffffff000);
  expect_reserved_bits(m, 3, beyond | kPs, 0xfffffff000);
}

TEST(Walk, FourLevelLargePageReservedBits) {
  Machine m;
  const u64 beyond = low_mask(52) & ~low_mask(40);
  m.map(kPage, 0x200000, kRw, 1);
  expect_reserved_bits(m, 1, beyond | (low_mask(21) & ~low_mask(13)), 0);
  m.enter(Mode::k4Level);
  m.map(kPage, 0, kRw, 2);
  expect_reserved_bits(m, 2, beyond | (low_mask(30) & ~low_mask(13)), 0);
}

TEST(Walk, XdIsReservedWithoutNxe) {
  Machine m;
  m.map(kPage, kFrame, kRw | kXd);
  EXPECT_TRUE(reads(m, kPage));
  m.state.msr.efer &= ~x86::efer::kNxe;
  expect_page_fault(m, reads(m, kPage), kPage, kReservedFault);
}

TEST(Walk, GibPagesAreReservedWithoutTheFeature) {
  Machine m;
  m.map(kPage, 0, kRw, 2);
  m.mmu.set_paging_features({.physical_bits = 40, .pse36 = true, .gib_pages = false});
  expect_page_fault(m, reads(m, kPage), kPage, kReservedFault);
}

TEST(Walk, PhysicalWidthComesFromTheModel) {
  Machine m;
  m.mmu.set_paging_features({.physical_bits = 36});
  m.map(kPage, kFrame);
  expect_reserved_bits(m, 0, low_mask(52) & ~low_mask(36), 0);
}

TEST(Walk, PaeReservedBits) {
  Machine m(Mode::kPae);
  m.map(kPage, kFrame);
  const u64 beyond = low_mask(63) & ~low_mask(40);
  expect_reserved_bits(m, 0, beyond, 0);
  expect_reserved_bits(m, 1, beyond, kPs | 0xfffffff000);
  m.enter(Mode::kPae);
  m.map(kPage, 0x200000, kRw, 1);
  expect_reserved_bits(m, 1, beyond | (low_mask(21) & ~low_mask(13)), 0);
}

TEST(Walk, LegacyEntriesReserveOnlyBit21OfA4MibPage) {
  Machine m(Mode::k32Bit);
  m.map(kPage, kFrame);
  expect_reserved_bits(m, 0, 0, 0);
  m.enter(Mode::k32Bit);
  m.map(kPage, 0, kRw, 1);
  expect_reserved_bits(m, 1, bit(21), 0);
  m.mmu.set_paging_features({.physical_bits = 36});
  expect_reserved_bits(m, 1, low_mask(22) & ~low_mask(17), 0);
  m.mmu.set_paging_features({.physical_bits = 40, .pse36 = false});
  expect_reserved_bits(m, 1, low_mask(22) & ~low_mask(13), 0);
}

TEST(Walk, Pse36AddressBitsStandIn20To13) {
  Machine m(Mode::k32Bit);
  m.set_entry(kPage, 1, 0xc0000000 | u64{0xa5} << 13 | kPs | kP);
  GuestPhys physical;
  ASSERT_TRUE(m.mmu.translate_quietly(kPage + 0x12345, physical));
  EXPECT_EQ(physical, GuestPhys(0xa5c0312345));
}

TEST(Walk, PageSizeIsIgnoredWithoutPse) {
  Machine m(Mode::k32Bit);
  m.map(kPage, kFrame);
  m.set_entry(kPage, 1, m.entry(kPage, 1) | kPs);
  m.state.cr4 &= ~x86::cr4::kPse;
  GuestPhys physical;
  ASSERT_TRUE(m.mmu.translate_quietly(kPage, physical));
  EXPECT_EQ(physical, GuestPhys(kFrame));
}

TEST(Walk, PaeUsesTheLoadedPdptesAndNotMemory) {
  Machine m(Mode::kPae);
  m.map(kPage, kFrame);
  m.poke<u64>(Machine::kRoot + 8, 0);
  EXPECT_TRUE(reads(m, kPage));
  ASSERT_TRUE(load_pdptes(m.space, m.mmu.paging_features(), m.state.cr3, m.state.pdpte));
  expect_page_fault(m, reads(m, kPage), kPage, 0);
}

TEST(Walk, LoadPdptesChecksReservedBitsOfPresentOnes) {
  Machine m(Mode::kPae);
  const u64 reserved = 0x6 | 0x1e0 | ~low_mask(40);
  for (unsigned n = 1; n < 64; ++n) {
    std::array<u64, 4> loaded{1, 2, 3, 4};
    m.poke<u64>(Machine::kRoot + 24, 0x20000 | kP | bit(n));
    const bool good = load_pdptes(m.space, m.mmu.paging_features(), Machine::kRoot, loaded);
    EXPECT_EQ(good, (reserved & bit(n)) == 0) << n;
    EXPECT_EQ(loaded[3], good ? (0x20000 | kP | bit(n)) : 4) << n;
    m.poke<u64>(Machine::kRoot + 24, bit(n) & ~kP);
    EXPECT_TRUE(load_pdptes(m.space, m.mmu.paging_features(), Machine::kRoot, loaded)) << n;
  }
}

TEST(Walk, LoadPdptesTakesA32ByteAlignedTable) {
  Machine m(Mode::kPae);
  m.poke<u64>(0x20fe0, 0x55000);
  std::array<u64, 4> loaded{};
  ASSERT_TRUE(load_pdptes(m.space, m.mmu.paging_features(), 0x20fe0 | 0x1f, loaded));
  EXPECT_EQ(loaded[0], 0x55000u);
}

// No RAM at the table: an empty bus reads all ones, which has reserved bits set.
TEST(Walk, TablesOutsideRamAreReadFromTheBus) {
  Machine m;
  m.state.cr3 = 0xc0000000;
  expect_page_fault(m, reads(m, kPage), kPage, kReservedFault);
}

TEST(Walk, TablesInADeviceWorkAndGetTheirBits) {
  Machine m;
  FakeDevice device(kPageSize);
  ASSERT_TRUE(m.mmio.add(0xc0000000, kPageSize, device, "table"));
  m.map(kPage, kFrame);
  const u64 pml4e = m.entry(kPage, 3);
  std::memcpy(device.bytes.data(), &pml4e, sizeof pml4e);
  m.state.cr3 = 0xc0000000;
  m.poke<u8>(kFrame, 0x5a);
  m.mmu.flush_all();
  EXPECT_EQ(m.get<u8>(kPage), 0x5a);
  EXPECT_EQ(device.bytes[0], (pml4e & 0xff) | kA);
  EXPECT_EQ(device.reads.at(0), (FakeBoard::Read{0, 8}));
}

TEST(Walk, PageFaultAddressInLegacyModesHas32Bits) {
  Machine m(Mode::k32Bit);
  expect_page_fault(m, m.mmu.write<u8>(0xfffff123, 1), 0xfffff123, x86::pf::kWrite);
}

}  // namespace
}  // namespace vellum::test
