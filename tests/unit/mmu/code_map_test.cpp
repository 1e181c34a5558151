// How long a guest-virtual pc may be taken for the same code (SDM vol. 3A §4.10.2-4).
#include "cpu/mmu/code_map.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace vellum::test {
namespace {

constexpr u64 kUser = 0x400000, kKernel = 0xffffffff81000000, kModule = 0xffffffffc0000000;

struct CodeMapTest : testing::Test {
  CodeMapTest() { map.select(10); }
  // Whether the stamp of `address` changes by `what`.
  template <class F>
  bool changes(u64 address, F what) {
    const u64 before = map.stamp(address);
    what();
    return map.stamp(address) != before;
  }
  CodeMap map;
};

TEST_F(CodeMapTest, AnAddressSpaceFindsItsOwnAgain) {
  map.found(kUser, 12, false);
  EXPECT_TRUE(changes(kUser, [&] { map.select(11); }));
  map.select(10);
  const u64 first = map.stamp(kUser);
  map.select(11);
  map.select(10);
  EXPECT_EQ(map.stamp(kUser), first);
}

TEST_F(CodeMapTest, GlobalCodeOfTheUpperHalfOutlivesAChangeOfAddressSpace) {
  map.found(kKernel, 21, true);
  EXPECT_FALSE(changes(kKernel, [&] { map.select(11); }));
  EXPECT_TRUE(changes(kKernel, [&] { map.drop_page(kKernel + 0x123456); }));
}

TEST_F(CodeMapTest, OtherCodeOfTheUpperHalfDoesNot) {
  map.found(kKernel, 21, true);
  EXPECT_TRUE(changes(kKernel, [&] { map.found(kModule, 12, false); }));
  EXPECT_TRUE(changes(kKernel, [&] { map.select(11); }));
  EXPECT_TRUE(changes(kModule, [&] { map.select(12); }));
}

TEST_F(CodeMapTest, DroppingAPageOfDataChangesNothing) {
  map.found(kUser, 12, false);
  map.found(kKernel, 21, true);
  for (const u64 data : {kUser + 0x1000, kKernel + 0x200000}) {
    EXPECT_FALSE(changes(kUser, [&] { map.drop_page(data); }));
    EXPECT_FALSE(changes(kKernel, [&] { map.drop_page(data); }));
  }
}

TEST_F(CodeMapTest, DroppingAPageOfCodeChangesItsHalfOnly) {
  map.found(kUser, 12, false);
  map.found(kKernel, 21, true);
  EXPECT_FALSE(changes(kKernel, [&] { EXPECT_TRUE(changes(kUser, [&] { map.drop_page(kUser + 5); })); }));
  EXPECT_FALSE(changes(kUser, [&] { EXPECT_TRUE(changes(kKernel, [&] { map.drop_page(kKernel); })); }));
}

TEST_F(CodeMapTest, AGlobalPageIsDroppedInEverySpaceThatKnowsIt) {
  map.found(kUser, 12, true);
  const u64 first = map.stamp(kUser);
  map.select(11);
  map.drop_page(kUser);
  map.select(10);
  EXPECT_NE(map.stamp(kUser), first);
}

TEST_F(CodeMapTest, AGlobalPageThatLostItsStampIsDroppedToo) {
  map.found(kKernel, 12, true);
  map.found(kModule, 12, false);
  EXPECT_TRUE(changes(kKernel, [&] { map.drop_page(kKernel); }));
}

TEST_F(CodeMapTest, AnotherSpaceCanBeDropped) {
  const u64 first = map.stamp(kUser);
  map.select(11);
  EXPECT_FALSE(changes(kUser, [&] { map.drop_space(10); }));
  map.select(10);
  EXPECT_NE(map.stamp(kUser), first);
}

TEST_F(CodeMapTest, DroppingAllChangesAllAndMakesTheUpperHalfGlobalAgain) {
  map.found(kModule, 12, false);
  EXPECT_TRUE(changes(kUser, [&] { EXPECT_TRUE(changes(kKernel, [&] { map.drop_all(); })); }));
  EXPECT_FALSE(changes(kKernel, [&] { map.select(11); }));
}

TEST_F(CodeMapTest, NoStampEverComesBack) {
  std::vector<u64> seen;
  for (u32 n = 0; n < 300; ++n) {
    map.select(n + 1);
    for (u64 page = 0; page < 40; ++page) map.found((n * 40 + page) << 12, 12, false);
    seen.push_back(map.stamp(kUser));
    if (n % 7 == 0) map.drop_page(n * 40 << 12);
    if (n % 7 == 0) seen.push_back(map.stamp(kUser));
  }
  std::ranges::sort(seen);
  EXPECT_EQ(std::ranges::adjacent_find(seen), seen.end());
}

}  // namespace
}  // namespace vellum::test
