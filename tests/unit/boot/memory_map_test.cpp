#include "boot/memory_map.hpp"

#include <gtest/gtest.h>

#include "boot/placement.hpp"
#include "images.hpp"

namespace vellum {
namespace {

using test::make_ram;

std::string text(const std::vector<MemoryMapEntry>& map) {
  std::string lines;
  for (const auto& e : map)
    lines +=
        fmt::format("{:x}-{:x} {}\n", e.range.start.value, e.range.end().value, static_cast<u32>(e.type));
  return lines;
}

TEST(MemoryMap, SmallMachine) {
  const auto ram = make_ram(64);
  EXPECT_EQ(text(build_memory_map(*ram)),
            "0-9fc00 1\n"
            "9fc00-a0000 2\n"
            "e0000-100000 2\n"
            "100000-4000000 1\n"
            "fec00000-fec01000 2\n"
            "fee00000-fee01000 2\n");
}

TEST(MemoryMap, RamAboveTheHoleContinuesAt4GiB) {
  const auto ram = make_ram(5 << 10);
  EXPECT_EQ(text(build_memory_map(*ram)),
            "0-9fc00 1\n"
            "9fc00-a0000 2\n"
            "e0000-100000 2\n"
            "100000-c0000000 1\n"
            "fec00000-fec01000 2\n"
            "fee00000-fee01000 2\n"
            "100000000-180000000 1\n");
}

TEST(MemoryMap, IoApicIdFollowsTheProcessors) {
  EXPECT_EQ(layout::io_apic_id(1), 1);
  EXPECT_EQ(layout::io_apic_id(254), 254);
  EXPECT_EQ(layout::io_apic_id(255), 0);  // all 8-bit ids are taken or the broadcast's
}

class PlacementTest : public testing::Test {
 protected:
  std::unique_ptr<GuestRam> ram = make_ram(16);
  Placement placement{*ram, build_memory_map(*ram)};
};

TEST_F(PlacementTest, ClaimsDoNotOverlap) {
  ASSERT_TRUE(placement.claim({GuestPhys(0x100000), 0x1000}, "one"));
  EXPECT_TRUE(placement.claim({GuestPhys(0x101000), 0x1000}, "two"));
  const auto third = placement.claim({GuestPhys(0x100fff), 2}, "three");
  ASSERT_FALSE(third);
  EXPECT_EQ(third.error().message,
            "has its three at 0x100fff-0x101001, which overlaps the one at 0x100000-0x101000");
}

TEST_F(PlacementTest, OnlyUsableRamCanBeClaimed) {
  EXPECT_FALSE(placement.claim({GuestPhys(0), 0x1000}, "vectors"));
  EXPECT_FALSE(placement.claim({GuestPhys(0x9f000), 0x1000}, "EBDA"));
  EXPECT_FALSE(placement.claim({GuestPhys(0xe0000), 0x10}, "tables"));
  EXPECT_FALSE(placement.claim({GuestPhys(~u64{0}), 2}, "wrap"));
  EXPECT_FALSE(placement.claim({GuestPhys(0x100000), ~u64{0}}, "wrap"));
  EXPECT_TRUE(placement.claim({GuestPhys(0xfff000), 0x1000}, "last page"));
}

TEST_F(PlacementTest, SaysHowMuchMemoryWouldDo) {
  const auto claim = placement.claim({GuestPhys(0xfff000), 0x1001}, "kernel");
  ASSERT_FALSE(claim);
  EXPECT_NE(claim.error().message.find("--memory 17M"), std::string::npos) << claim.error().message;
}

TEST_F(PlacementTest, LowestAndHighestAvoidWhatIsTaken) {
  ASSERT_TRUE(placement.claim({GuestPhys(0x101000), 0x1000}, "a"));
  ASSERT_TRUE(placement.claim({GuestPhys(0xffe000), 0x1000}, "b"));
  const GuestPhys end(u64{1} << 32);
  EXPECT_EQ(placement.claim_lowest(0x2000, 0x1000, layout::kHighMemory, end, "c"), GuestPhys(0x102000));
  EXPECT_EQ(placement.claim_highest(0x1800, 0x1000, layout::kHighMemory, end, "d"), GuestPhys(0xffc000));
  EXPECT_EQ(placement.claim_highest(0x1000, 0x1000, layout::kHighMemory, end, "e"), GuestPhys(0xfff000));
  EXPECT_EQ(placement.claim_lowest(0x1000, 0x1000, layout::kHighMemory, GuestPhys(0x101000), "f"),
            GuestPhys(0x100000));
  EXPECT_EQ(placement.claim_lowest(0x1000, 0x1000, layout::kHighMemory, GuestPhys(0x104000), "g"),
            std::nullopt);
  EXPECT_EQ(placement.claim_highest(32 << 20, 0x1000, GuestPhys(0), end, "h"), std::nullopt);
}

TEST_F(PlacementTest, BootDataSpillsAbove1MiB) {
  const test::Bytes big(512 << 10, 0x5a);
  const auto first = placement.put(big, 16, "first");
  const auto second = placement.put(big, 16, "second");
  ASSERT_TRUE(first && second);
  EXPECT_EQ(*first, layout::kBootData);
  EXPECT_EQ(*second, layout::kHighMemory);
  EXPECT_EQ(test::read_guest_bytes(*ram, second->value, big.size()), big);
}

}  // namespace
}  // namespace vellum
