// Which pages a flat table holds, and for whom. What translated code gets by them is tests/unit/bt's subject.
#include "cpu/mmu/flat_tables.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>

namespace vellum {
namespace {

class FlatTablesOfTwo : public ::testing::Test {
 protected:
  static constexpr u64 kPage = 0x40'0000'0000;

  void SetUp() override {
    auto created = FlatTables::create(*ram, 2, selected);
    if (!created) GTEST_SKIP() << "this host has no room for flat tables: " << created.error().message;
    flat = std::move(*created);
  }
  // Of this process.
  static std::size_t mappings() {
    std::ifstream maps("/proc/self/maps");
    return static_cast<std::size_t>(std::count(std::istreambuf_iterator<char>(maps), {}, '\n'));
  }
  // What kPage is added to to reach the page that the tests enter.
  u64 flat_address() {
    flat->insert({.address = kPage, .host = ram->host(GuestPhys(0x1000))});
    return slot();
  }
  u64 slot() const { return flat->look_up(kPage, kPage + 7); }

  std::unique_ptr<GuestRam> ram = std::move(*GuestRam::create(4 << 20));
  const u64* selected = nullptr;
  std::unique_ptr<FlatTables> flat;
};

TEST_F(FlatTablesOfTwo, AnAddressSpaceFindsItsOwnAgain) {
  flat->select(1, 0);
  const u64 absent = slot();
  EXPECT_TRUE(flat->insert({.address = kPage, .host = ram->host(GuestPhys(0x1000))}));
  const u64 present = slot();
  EXPECT_NE(present, absent);

  EXPECT_FALSE(flat->select(2, 0));
  EXPECT_EQ(slot(), absent);
  EXPECT_TRUE(flat->select(1, 0));
  EXPECT_EQ(slot(), present);
}

TEST_F(FlatTablesOfTwo, ATableThatIsGivenToAnotherAddressSpaceIsEmpty) {
  flat->select(1, 0);
  const u64 absent = slot();
  flat->insert({.address = kPage, .host = ram->host(GuestPhys(0x1000))});
  flat->insert({.address = kPage + kPageSize, .host = ram->host(GuestPhys(0x2000)), .local = true});
  flat->select(2, 0);

  EXPECT_FALSE(flat->select(3, 0)) << "the first one's table";
  EXPECT_EQ(slot(), absent);
  EXPECT_EQ(flat->look_up(kPage + kPageSize, kPage + kPageSize), absent - kPageSize);
  EXPECT_FALSE(flat->select(1, 0));
  EXPECT_EQ(slot(), absent);
}

// Each process of a system with random addresses uses other pieces of a table.
TEST_F(FlatTablesOfTwo, ManyAddressSpacesDoNotMakeItGrow) {
  constexpr u64 kPiece = 4 << 20;  // of addresses
  const std::size_t maps = mappings();
  for (u32 space = 1; space <= 500; ++space) {
    flat->select(space, 0);
    for (u64 n = 0; n < 5; ++n)
      flat->insert({.address = kPage + (5 * space + n) * 3 * kPiece, .host = ram->host(GuestPhys(0x1000))});
  }
  EXPECT_LE(flat->pieces(), 2u * 133);
  EXPECT_LE(mappings(), maps + 4 * 133 + 100);
}

TEST_F(FlatTablesOfTwo, AProgramThatIsEverywhereDoesNotMakeItGrow) {
  flat->select(1, 0);
  const u64 absent = slot();
  for (u64 n = 0; n < 3'000; ++n)
    flat->insert({.address = kPage + (n << 23), .host = ram->host(GuestPhys(0x1000))});
  EXPECT_LE(flat->pieces(), 2048u);
  EXPECT_EQ(slot(), absent) << "the first was forgotten";
  const u64 last = kPage + (u64{2'999} << 23);
  const u64 reached = last + flat->look_up(last, last);
  EXPECT_EQ(reached, kPage + flat_address());
}

// A table has one page of those that differ in bits 63..43 only, and forgets it with any of them.
TEST_F(FlatTablesOfTwo, PagesOfOneIndexReplaceEachOther) {
  constexpr u64 kEcho = kPage + (u64{5} << 43);
  flat->select(1, 0);
  const u64 absent = slot();
  flat->insert({.address = kPage, .host = ram->host(GuestPhys(0x1000))});
  const u64 reached = kPage + slot();
  EXPECT_TRUE(flat->insert({.address = kEcho, .host = ram->host(GuestPhys(0x1000)), .local = true}));
  EXPECT_EQ(kEcho + slot(), reached);
  EXPECT_EQ(flat->displaced(), 1u);
  EXPECT_FALSE(flat->insert({.address = kPage, .host = ram->host(GuestPhys(0x1000)), .ahead = true}));
  EXPECT_EQ(kEcho + slot(), reached);
  EXPECT_TRUE(flat->insert(
      {.address = kEcho, .host = ram->host(GuestPhys(0x1000)), .writable = true, .local = true}));
  EXPECT_EQ(flat->displaced(), 1u) << "it was this page's before";
  flat->forget_local();
  EXPECT_EQ(slot(), absent);
  EXPECT_TRUE(flat->insert({.address = kPage, .host = ram->host(GuestPhys(0x1000)), .ahead = true}));
  flat->drop(kEcho);
  EXPECT_EQ(slot(), absent);
}

TEST_F(FlatTablesOfTwo, AnotherPrivilegeIsAnotherTable) {
  flat->select(1, 0);
  const u64 absent = slot();
  flat->insert({.address = kPage, .host = ram->host(GuestPhys(0x1000))});
  EXPECT_FALSE(flat->select(1, 1));
  EXPECT_EQ(slot(), absent);
}

}  // namespace
}  // namespace vellum
