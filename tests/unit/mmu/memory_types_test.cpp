// Memory that is not the same for reads, stores and fetches: ROM, write-protected and write-only shadows.
#include "fixture.hpp"

namespace vellum::test {
namespace {

constexpr u64 kBios = 0xf0000, kRomHome = 0xffff0000, kLinear = 0x40300000;
using Kind = GuestRam::Behind::Kind;

// A machine with ROM at the top of the 32-bit space, and behind it a device that sees what the ROM does not
// take.
struct Shadowed : testing::Test {
  Shadowed() {
    EXPECT_TRUE(m.mmio.add(kBios, 0x10000, behind, "behind"));
    EXPECT_TRUE(m.mmio.add(kRomHome, 0x10000, flash, "flash"));
    rom = m.ram->add_block(0x10000);
    guest_store<u32>(m.ram->block_bytes(rom).data(), 0x11111111);
    m.ram->map_block(rom, GuestPhys(kRomHome), Pmap::Access::kRead);
    m.poke<u32>(kBios, 0x22222222);
    m.map(kLinear, kBios);
    m.map(kLinear + kPageSize, kRomHome);
    m.map(kLinear + 2 * kPageSize, 0x300000);
  }
  void shadow(GuestRam::Behind reads, GuestRam::Behind stores) {
    m.ram->map_shadow({GuestPhys(kBios), 0x10000}, reads, stores);
    m.mmu.flush_all();
  }

  const GuestRam::Behind bus{}, own_ram{.kind = Kind::kRam};
  Machine m;
  FakeDevice behind{0x10000}, flash{0x10000};
  unsigned rom = 0;
};

TEST_F(Shadowed, RomIsReadWithoutTheBusAndStoresReachIt) {
  const u64 at = kLinear + kPageSize;

  EXPECT_EQ(m.get<u32>(at), 0x11111111u);
  ASSERT_TRUE(m.mmu.write<u32>(at, 5));
  ASSERT_TRUE(m.mmu.write<u32>(at + 8, 6));

  EXPECT_EQ(m.get<u32>(at), 0x11111111u);
  EXPECT_TRUE(flash.reads.empty());
  EXPECT_EQ(flash.writes, (std::vector<FakeBoard::Write>{{0, 4, 5}, {8, 4, 6}}));
}

TEST_F(Shadowed, AStoreAcrossTheEdgeOfRomChangesTheRamBesideIt) {
  const u64 edge = kLinear + 2 * kPageSize;

  ASSERT_TRUE(m.mmu.write<u32>(edge - 2, 0xaabbccdd));

  EXPECT_EQ(m.peek<u16>(0x300000), 0xaabb);
  EXPECT_EQ(flash.writes, (std::vector<FakeBoard::Write>{{0xffe, 2, 0xccdd}}));
}

TEST_F(Shadowed, WriteProtectedShadow) {
  shadow(own_ram, bus);

  EXPECT_EQ(m.get<u32>(kLinear), 0x22222222u);
  ASSERT_TRUE(m.mmu.write<u32>(kLinear, 5));
  bool faulted = true;
  EXPECT_EQ(m.mmu.pointer_for_write(kLinear, 4, x86::Seg::kDs, faulted), nullptr);
  EXPECT_FALSE(faulted);

  EXPECT_EQ(m.get<u32>(kLinear), 0x22222222u);
  EXPECT_EQ(behind.writes, (std::vector<FakeBoard::Write>{{0, 4, 5}}));
}

TEST_F(Shadowed, ShadowThatIsWrittenWhileRomIsRead) {
  shadow({.kind = Kind::kBlock, .block = rom}, own_ram);

  EXPECT_EQ(m.get<u32>(kLinear), 0x11111111u);
  ASSERT_TRUE(m.mmu.write<u32>(kLinear, 0x44444444));
  EXPECT_EQ(m.get<u32>(kLinear), 0x11111111u);
  EXPECT_TRUE(behind.writes.empty());

  shadow(own_ram, own_ram);
  EXPECT_EQ(m.get<u32>(kLinear), 0x44444444u);
}

TEST_F(Shadowed, AStoreToAWriteOnlyShadowInvalidatesItsCode) {
  const u32 before = m.ram->track_code(GuestPhys(kBios), 4);
  shadow({.kind = Kind::kBlock, .block = rom}, own_ram);

  ASSERT_TRUE(m.mmu.write<u32>(kLinear, 1));

  EXPECT_TRUE(m.mmu.code_was_written);
  shadow(own_ram, own_ram);
  EXPECT_NE(m.ram->track_code(GuestPhys(kBios), 4), before);
}

TEST_F(Shadowed, FetchesFollowReadsAndAliasesAreOneCode) {
  shadow({.kind = Kind::kBlock, .block = rom}, bus);
  Mmu::FetchPage low, high;

  ASSERT_TRUE(m.mmu.fetch(kLinear + 8, low));
  ASSERT_TRUE(m.mmu.fetch(kLinear + kPageSize + 8, high));

  EXPECT_EQ(low.host, m.ram->block_bytes(rom).data() + 8);
  EXPECT_EQ(low.host, high.host);
  EXPECT_EQ(low.physical, high.physical);
}

TEST_F(Shadowed, TheSameAddressIsOtherCodeAfterAChange) {
  Mmu::FetchPage before, after;
  ASSERT_TRUE(m.mmu.fetch(kLinear, before));

  shadow({.kind = Kind::kBlock, .block = rom}, bus);
  ASSERT_TRUE(m.mmu.fetch(kLinear, after));

  EXPECT_NE(before.physical, after.physical);
}

TEST_F(Shadowed, PageTablesInRomAreWalked) {
  // The leaf table moves to ROM: its entry maps 0x300000, accessed bit clear, which stays so.
  const u64 linear = 0x40600000;
  m.map(linear, 0x300000);
  m.poke<u32>(0x300000, 0x55555555);
  guest_store<u64>(m.ram->block_bytes(rom).data() + 0x1000, 0x300000 | kP | kRw | kUs);
  m.set_entry(linear, 1, (kRomHome + 0x1000) | kP | kRw | kUs);
  m.mmu.flush_all();

  EXPECT_EQ(m.get<u32>(linear), 0x55555555u);
  EXPECT_TRUE(m.mmu.write<u32>(linear, 1));

  EXPECT_EQ(guest_load<u64>(m.ram->block_bytes(rom).data() + 0x1000), 0x300000 | kP | kRw | kUs);
  EXPECT_TRUE(flash.reads.empty());
}

}  // namespace
}  // namespace vellum::test
