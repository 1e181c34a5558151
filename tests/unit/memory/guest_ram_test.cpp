// Guest RAM's layout around the hole below 4 GiB, and what is not RAM.
#include "memory/guest_ram.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <vector>

#include "memory/address_space.hpp"

namespace vellum {
namespace {

constexpr u64 kMib = u64{1} << 20, kGib = u64{1} << 30;

std::unique_ptr<GuestRam> make(u64 size) {
  auto ram = GuestRam::create(size);
  return std::move(ram.value());
}

TEST(GuestRam, SmallMemoryIsOneRangeFromZero) {
  const auto ram = make(8 * kMib);
  ASSERT_EQ(ram->ranges().size(), 1u);
  EXPECT_EQ(ram->ranges()[0].start, GuestPhys(0));
  EXPECT_EQ(ram->ranges()[0].size, 8 * kMib);
  EXPECT_EQ(ram->high_size(), 0u);
  EXPECT_NE(ram->host(GuestPhys(8 * kMib - 1)), nullptr);
  EXPECT_EQ(ram->host(GuestPhys(8 * kMib)), nullptr);
  EXPECT_EQ(ram->host(GuestPhys(4 * kGib)), nullptr);
}

// Resident pages of the `size` bytes at `host`.
u64 resident(u8* host, u64 size) {
  std::vector<unsigned char> pages(size / kPageSize);
  EXPECT_EQ(::mincore(host, size, pages.data()), 0);
  return static_cast<u64>(
      std::count_if(pages.begin(), pages.end(), [](unsigned char page) { return (page & 1) != 0; }));
}

// Whether this host makes huge pages of a memfd: Linux 6.1, unless its administrator denies them.
bool host_collapses() {
  const auto ram = make(2 * kMib);
  u8* const host = ram->host(GuestPhys(0));
  host[0] = 1;
  return ::madvise(host, 2 * kMib, 25) == 0;
}

// Linux 5.14.
bool host_populates() {
  const auto ram = make(2 * kMib);
  return ::madvise(ram->host(GuestPhys(0)), kPageSize, 23) == 0;
}

TEST(GuestRam, TheFirstUseOfAPageMakesAHugeOne) {
  if (!host_collapses()) GTEST_SKIP() << "this host makes no huge pages of a memfd";
  const auto ram = make(8 * kMib);
  u8* const block = ram->host(GuestPhys(2 * kMib));
  ram->will_use(block + 5 * kPageSize + 5);
  EXPECT_EQ(resident(block, 2 * kMib), 512u);
  EXPECT_EQ(resident(block - 2 * kMib, 2 * kMib), 0u);
  EXPECT_EQ(resident(block + 2 * kMib, 4 * kMib), 0u);
  EXPECT_EQ(block[0], 0);
}

TEST(GuestRam, WhatWasStoredStaysWhenTheHugePageIsMade) {
  const auto ram = make(4 * kMib);
  u8* const block = ram->host(GuestPhys(2 * kMib));
  block[7 * kPageSize] = 7;
  ram->will_use(block);
  EXPECT_EQ(block[7 * kPageSize], 7);
}

// Memory that is no multiple of 2 MiB ends in chunks.
TEST(GuestRam, TheFirstUseOfAPageBringsItsNeighbours) {
  if (!host_populates()) GTEST_SKIP() << "this kernel has no MADV_POPULATE_WRITE";
  const auto ram = make(8 * kMib + 4 * Residency::kChunk);
  u8* const end = ram->host(GuestPhys(8 * kMib));
  u8* const chunk = end + Residency::kChunk;
  ram->will_use(chunk + 3 * kPageSize + 5);
  EXPECT_EQ(resident(chunk, Residency::kChunk), Residency::kChunk / kPageSize);
  EXPECT_EQ(resident(end, 4 * Residency::kChunk), Residency::kChunk / kPageSize);
  EXPECT_EQ(chunk[0], 0);
}

TEST(GuestRam, LargeMemoryGoesOnAbove4Gib) {
  const auto ram = make(4 * kGib);
  ASSERT_EQ(ram->ranges().size(), 2u);
  EXPECT_EQ(ram->ranges()[0].size, 3 * kGib);
  EXPECT_EQ(ram->ranges()[1].start, GuestPhys(4 * kGib));
  EXPECT_EQ(ram->ranges()[1].size, kGib);
  EXPECT_EQ(ram->host(GuestPhys(3 * kGib)), nullptr);
  EXPECT_EQ(ram->host(GuestPhys(4 * kGib - 1)), nullptr);
  EXPECT_EQ(ram->host(GuestPhys(4 * kGib)), ram->host(GuestPhys(3 * kGib - 1)) + 1);
  EXPECT_EQ(ram->host(GuestPhys(5 * kGib)), nullptr);
  EXPECT_EQ(ram->host(GuestPhys(~u64{0})), nullptr);
}

TEST(GuestRam, BytesGivesWholeRangesOnly) {
  const auto ram = make(4 * kGib);
  EXPECT_EQ(ram->bytes(GuestPhys(0), 3 * kGib).size(), 3 * kGib);
  EXPECT_TRUE(ram->bytes(GuestPhys(1), 3 * kGib).empty());
  EXPECT_TRUE(ram->bytes(GuestPhys(3 * kGib - 1), 2).empty());
  EXPECT_EQ(ram->bytes(GuestPhys(4 * kGib + 5), kGib - 5).size(), kGib - 5);
  EXPECT_TRUE(ram->bytes(GuestPhys(4 * kGib + 5), kGib - 4).empty());
  EXPECT_TRUE(ram->bytes(GuestPhys(0x1000), ~u64{0}).empty());
  EXPECT_TRUE(ram->bytes(GuestPhys(~u64{0} - 1), 4).empty());
}

TEST(GuestRam, IsSurroundedByInaccessiblePages) {
  const auto ram = make(3 * kPageSize);
  const u8* const base = ram->host(GuestPhys(0));
  const auto readable = [](const u8* p) {
    return ::access(reinterpret_cast<const char*>(p), F_OK) == 0 || errno != EFAULT;
  };
  EXPECT_EQ(reinterpret_cast<u64>(base) % (2 * kMib), 0u);
  EXPECT_TRUE(readable(base));
  EXPECT_TRUE(readable(base + 3 * kPageSize - 1));
  EXPECT_FALSE(readable(base - 1));
  EXPECT_FALSE(readable(base - GuestRam::kGuardSize));
  EXPECT_FALSE(readable(base + 3 * kPageSize));
  EXPECT_FALSE(readable(base + 3 * kPageSize + GuestRam::kGuardSize - 1));
}

TEST(GuestRam, StartsZeroedAndIsSharedThroughItsFile) {
  const auto ram = make(kMib);
  EXPECT_EQ(*ram->host(GuestPhys(0x5000)), 0);
  void* other = ::mmap(nullptr, kMib, PROT_READ | PROT_WRITE, MAP_SHARED, ram->memfd(), 0);
  ASSERT_NE(other, MAP_FAILED);
  static_cast<u8*>(other)[0x5000] = 77;
  EXPECT_EQ(*ram->host(GuestPhys(0x5000)), 77);
  ::munmap(other, kMib);
}

struct Space : testing::Test {
  std::unique_ptr<GuestRam> ram = make(kMib);
  Bus mmio{"mmio"}, ports{"ports"};
  AddressSpace space{*ram, mmio, ports};
};

TEST_F(Space, CopiesAcrossPages) {
  const std::array<u8, 6> out{1, 2, 3, 4, 5, 6};
  std::array<u8, 6> in{};
  ASSERT_TRUE(space.write(GuestPhys(0xffd), out));
  ASSERT_TRUE(space.read(GuestPhys(0xffd), in));
  EXPECT_EQ(in, out);
}

TEST_F(Space, RefusesWhatIsNotRamAndMovesNothing) {
  std::array<u8, 4> bytes{9, 9, 9, 9};
  EXPECT_FALSE(space.write(GuestPhys(kMib - 2), bytes));
  EXPECT_EQ(*ram->host(GuestPhys(kMib - 2)), 0);
  EXPECT_FALSE(space.read(GuestPhys(kMib - 2), bytes));
  EXPECT_EQ(bytes[0], 9);
}

TEST_F(Space, WriteTellsTheCodeTracker) {
  const u32 before = ram->track_code(GuestPhys(0x2000), 4);
  const std::array<u8, 2> bytes{1, 2};
  ASSERT_TRUE(space.write(GuestPhys(0x1fff), bytes));
  EXPECT_NE(ram->track_code(GuestPhys(0x2000), 4), before);
}

// --- Loads and stores ---

TEST(GuestAccess, AnyAlignmentAndSize) {
  alignas(64) std::array<u8, 64> memory{};
  for (unsigned at = 0; at < 48; ++at) {
    guest_store<u64>(&memory[at], 0x0123456789abcdef + at);
    EXPECT_EQ(guest_load<u64>(&memory[at]), 0x0123456789abcdef + at);
    guest_store<u16>(&memory[at + 8], 0xbeef);
    EXPECT_EQ(guest_load<u8>(&memory[at + 9]), 0xbe);
    EXPECT_EQ(guest_load<u32>(&memory[at]), 0x89abcdef + at);
  }
}

TEST(GuestAccess, CompareExchangeTellsWhatIsThere) {
  std::array<u8, 16> memory{};
  u32 expected = 0;
  EXPECT_TRUE(guest_compare_exchange<u32>(&memory[3], expected, 0x11223344));
  EXPECT_FALSE(guest_compare_exchange<u32>(&memory[3], expected, 5));
  EXPECT_EQ(expected, 0x11223344u);
  u8 byte = 0x44;
  EXPECT_TRUE(guest_compare_exchange<u8>(&memory[3], byte, 1));
  EXPECT_EQ(guest_load<u32>(&memory[3]), 0x11223301u);
}

}  // namespace
}  // namespace vellum
