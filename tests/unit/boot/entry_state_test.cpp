#include "boot/entry_state.hpp"

#include <gtest/gtest.h>

#include <span>

namespace vellum {
namespace {

using x86::Seg;

void expect_same(const EntryState& state, std::span<const u64> gdt) {
  EXPECT_EQ(x86::parse_descriptor(kBootCs, gdt[kBootCs / 8]), state.seg[static_cast<unsigned>(Seg::kCs)]);
  EXPECT_EQ(x86::parse_descriptor(kBootDs, gdt[kBootDs / 8]), state.seg[static_cast<unsigned>(Seg::kSs)]);
  EXPECT_EQ(x86::parse_descriptor(kBootTss, gdt[kBootTss / 8]), state.tr);
  EXPECT_EQ(state.gdtr, (x86::DescriptorTable{0x1000, 47}));
}

TEST(BootGdt, DescriptorsMatchTheSegmentRegisters) {
  expect_same(protected_mode_entry(GuestPhys(0x1000), 0), boot_gdt(false));
  expect_same(long_mode_entry(GuestPhys(0x1000), GuestPhys(0x2000), 0), boot_gdt(true));
}

TEST(EntryState, ProtectedModeIsFlat32BitWithoutPaging) {
  const EntryState state = protected_mode_entry(GuestPhys(0x1000), 0x100000);
  const x86::Segment& cs = state.seg[static_cast<unsigned>(Seg::kCs)];
  EXPECT_EQ(state.rip, 0x100000u);
  EXPECT_EQ(state.cr0, x86::cr0::kPe | x86::cr0::kEt);
  EXPECT_EQ(state.cr4, 0u);
  EXPECT_EQ(state.efer, 0u);
  EXPECT_EQ(state.rflags, x86::rflags::kFixed1);
  EXPECT_TRUE(cs.is_code() && cs.readable() && cs.big() && !cs.long_mode() && cs.present());
  EXPECT_EQ(cs.limit, 0xffffffffu);
  for (const Seg s : {Seg::kDs, Seg::kEs, Seg::kSs, Seg::kFs, Seg::kGs}) {
    const x86::Segment& segment = state.seg[static_cast<unsigned>(s)];
    EXPECT_TRUE(segment.writable() && segment.big() && segment.present());
    EXPECT_EQ(segment.limit, 0xffffffffu);
    EXPECT_EQ(segment.base, 0u);
    EXPECT_EQ(segment.selector, kBootDs);
  }
  EXPECT_EQ(state.tr.type(), x86::kTss32Busy);
  EXPECT_TRUE(state.tr.present());
}

TEST(EntryState, LongModeHasPagingOn) {
  const EntryState state = long_mode_entry(GuestPhys(0x1000), GuestPhys(0x3000), 0x1000200);
  const x86::Segment& cs = state.seg[static_cast<unsigned>(Seg::kCs)];
  EXPECT_TRUE(cs.long_mode() && !cs.big());
  EXPECT_EQ(cs.selector, 0x10);  // __BOOT_CS
  EXPECT_EQ(state.cr0 & (x86::cr0::kPe | x86::cr0::kPg), x86::cr0::kPe | x86::cr0::kPg);
  EXPECT_EQ(state.cr3, 0x3000u);
  EXPECT_EQ(state.cr4, x86::cr4::kPae);
  EXPECT_EQ(state.efer, x86::efer::kLme | x86::efer::kLma);
}

// Walks the 4-level tables; ~0 for what is not mapped as a present, writable 2 MiB page.
u64 translate(std::span<const u64> tables, u64 base, u64 address) {
  constexpr u64 kAddressMask = 0x000ffffffffff000;
  const auto entry = [&](u64 table, u64 index) { return tables[(table - base) / 8 + index]; };
  const u64 pml4e = entry(base, bits(address, 47, 39));
  if ((pml4e & 3) != 3) return ~u64{0};
  const u64 pdpte = entry(pml4e & kAddressMask, bits(address, 38, 30));
  if ((pdpte & 3) != 3) return ~u64{0};
  const u64 pde = entry(pdpte & kAddressMask, bits(address, 29, 21));
  if ((pde & 0x83) != 0x83) return ~u64{0};
  return (pde & kAddressMask & ~low_mask(21)) | (address & low_mask(21));
}

TEST(IdentityPageTables, MapTheFirst4GiBAndNothingElse) {
  constexpr u64 kBase = 0x3000;
  const auto tables = identity_page_tables(GuestPhys(kBase));
  for (u64 address = 0x1234; address < u64{1} << 32; address += u64{1} << 21)
    ASSERT_EQ(translate(tables, kBase, address), address);
  EXPECT_EQ(translate(tables, kBase, 0xffffffff), 0xffffffffu);
  EXPECT_EQ(translate(tables, kBase, u64{1} << 32), ~u64{0});
  EXPECT_EQ(translate(tables, kBase, u64{1} << 39), ~u64{0});
}

struct Msrs {
  u64 mtrr_def_type = 0;
  std::array<u64, 11> mtrr_fixed{};
  std::array<u64, 16> mtrr_variable{};
};

TEST(FirmwareMtrrs, WriteBackButForTheHoles) {
  Msrs msr;
  apply_firmware_mtrrs(msr, 40);
  EXPECT_EQ(msr.mtrr_def_type, 0xc06u);
  EXPECT_EQ(msr.mtrr_fixed[0], 0x0606060606060606u);
  EXPECT_EQ(msr.mtrr_fixed[2], 0u);
  EXPECT_EQ(msr.mtrr_variable[0], 0xc0000000u);
  EXPECT_EQ(msr.mtrr_variable[1], 0xffc0000800u);
}

}  // namespace
}  // namespace vellum
