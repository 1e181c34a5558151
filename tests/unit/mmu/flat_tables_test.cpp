// Which pages a flat table holds, and for whom. What translated code gets by them is tests/unit/bt's subject.
#include "cpu/mmu/flat_tables.hpp"

#include <gtest/gtest.h>

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

TEST_F(FlatTablesOfTwo, AnotherPrivilegeIsAnotherTable) {
  flat->select(1, 0);
  const u64 absent = slot();
  flat->insert({.address = kPage, .host = ram->host(GuestPhys(0x1000))});
  EXPECT_FALSE(flat->select(1, 1));
  EXPECT_EQ(slot(), absent);
}

}  // namespace
}  // namespace vellum
