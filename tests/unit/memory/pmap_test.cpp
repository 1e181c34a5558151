// What is not simply RAM: the shadow area below 1 MiB, and blocks of memory that devices map.
#include "memory/pmap.hpp"

#include <gtest/gtest.h>

#include "memory/address_space.hpp"

namespace vellum {
namespace {

constexpr u64 kMib = u64{1} << 20;
constexpr GuestPhys kBios{0xf0000}, kRomHome{0xffff0000};
using Kind = GuestRam::Behind::Kind;

class PmapTest : public ::testing::Test {
 protected:
  PmapTest() {
    rom = ram->add_block(0x10000);
    ram->block_bytes(rom)[0] = 0x11;
    ram->map_block(rom, kRomHome, Pmap::Access::kRead);
    *ram->host(kBios) = 0x22;
    ram->on_remap([this] { ++remaps; });
  }
  void shadow(GuestRam::Behind reads, GuestRam::Behind stores) {
    ram->map_shadow({kBios, 0x10000}, reads, stores);
  }
  u8 at(GuestPhys a) const { return ram->host(a) != nullptr ? *ram->host(a) : 0xff; }

  const GuestRam::Behind bus{}, own_ram{.kind = Kind::kRam};
  std::unique_ptr<GuestRam> ram = std::move(GuestRam::create(2 * kMib, 0x20000).value());
  unsigned rom = 0;
  int remaps = 0;
  Bus mmio{"mmio"}, ports{"port"};
  AddressSpace space{*ram, mmio, ports};
};

TEST_F(PmapTest, TheShadowAreaIsRamAtPowerOn) {
  EXPECT_EQ(ram->host(kBios), ram->host(GuestPhys(0)) + kBios.value);
  EXPECT_EQ(ram->store_host(kBios), ram->host(kBios));
  EXPECT_EQ(ram->bytes(GuestPhys(0), 2 * kMib).size(), 2 * kMib);
}

TEST_F(PmapTest, AnAreaBeyondTheEndOfRamIsTheBus) {
  const auto small = std::move(GuestRam::create(0xc8000).value());

  small->map_shadow({GuestPhys(0xc0000), 0x10000}, own_ram, own_ram);

  EXPECT_NE(small->host(GuestPhys(0xc7fff)), nullptr);
  EXPECT_EQ(small->host(GuestPhys(0xc8000)), nullptr);
  EXPECT_EQ(small->store_host(GuestPhys(0xcffff)), nullptr);
}

TEST_F(PmapTest, RomIsReadOnlyAtItsHome) {
  EXPECT_EQ(at(kRomHome), 0x11);
  EXPECT_EQ(ram->store_host(kRomHome), nullptr);
  EXPECT_EQ(ram->host(kRomHome - 1), nullptr);
  EXPECT_TRUE(ram->bytes(kRomHome, 1).empty());
}

TEST_F(PmapTest, EachPairOfReadsAndStores) {
  const GuestRam::Behind rom_here{.kind = Kind::kBlock, .block = rom};

  shadow(rom_here, bus);
  EXPECT_EQ(at(kBios), 0x11);
  EXPECT_EQ(ram->store_host(kBios), nullptr);

  shadow(own_ram, bus);
  EXPECT_EQ(at(kBios), 0x22);
  EXPECT_EQ(ram->store_host(kBios), nullptr);

  shadow(rom_here, own_ram);
  EXPECT_EQ(at(kBios), 0x11);
  EXPECT_EQ(ram->store_host(kBios), ram->host(GuestPhys(0)) + kBios.value);

  shadow(bus, own_ram);
  EXPECT_EQ(ram->host(kBios), nullptr);
  EXPECT_NE(ram->store_host(kBios), nullptr);

  shadow(own_ram, own_ram);
  EXPECT_EQ(ram->store_host(kBios), ram->host(kBios));
  EXPECT_EQ(remaps, 5);
}

TEST_F(PmapTest, APartOfABlock) {
  ram->block_bytes(rom)[0x5678] = 0x33;

  ram->map_shadow({GuestPhys(0xc8000), 0x4000}, {.kind = Kind::kBlock, .block = rom, .offset = 0x4000}, bus);

  EXPECT_EQ(at(GuestPhys(0xc9678)), 0x33);
}

TEST_F(PmapTest, ABlockEndsWithinTheRange) {
  ram->map_shadow({GuestPhys(0xc0000), 0x4000}, {.kind = Kind::kBlock, .block = rom, .offset = 0xf000}, bus);

  EXPECT_NE(ram->host(GuestPhys(0xc0fff)), nullptr);
  EXPECT_EQ(ram->host(GuestPhys(0xc1000)), nullptr);
}

TEST_F(PmapTest, AMovedBlockIsNoMoreWhereItWas) {
  ram->map_block(rom, GuestPhys(0xe0000000), Pmap::Access::kReadWrite);

  EXPECT_EQ(ram->host(kRomHome), nullptr);
  EXPECT_EQ(ram->store_host(GuestPhys(0xe0000000)), ram->block_bytes(rom).data());

  ram->map_block(rom, GuestPhys(0xe0000000), Pmap::Access::kNone);

  EXPECT_EQ(ram->host(GuestPhys(0xe0000000)), nullptr);
}

TEST_F(PmapTest, RamGoesBeforeBlocks) {
  ram->map_block(rom, GuestPhys(0x10000), Pmap::Access::kReadWrite);

  EXPECT_EQ(ram->host(GuestPhys(0x10000)), ram->host(GuestPhys(0)) + 0x10000);
}

TEST_F(PmapTest, AliasesHaveOneNameAndNamesAreAddresses) {
  shadow({.kind = Kind::kBlock, .block = rom}, bus);

  const GuestPhys name = ram->name_of(ram->host(kBios + 0x123));

  EXPECT_EQ(name, ram->name_of(ram->host(kRomHome + 0x123)));
  EXPECT_GE(name.value, GuestRam::kFirstName);
  EXPECT_EQ(ram->host(name), ram->host(kBios + 0x123));
  EXPECT_EQ(&ram->code_page(name), &ram->code_page(kBios));
  EXPECT_EQ(ram->host(GuestPhys(GuestRam::kFirstName + 0x20000)), nullptr);
}

TEST_F(PmapTest, DmaReadsRomAndDoesNotWriteIt) {
  std::array<u8, 4> buffer{};

  EXPECT_TRUE(space.read(kRomHome, buffer));
  EXPECT_EQ(buffer[0], 0x11);
  EXPECT_FALSE(space.write(kRomHome, buffer));
}

TEST_F(PmapTest, DmaAcrossTheEndOfMemoryDoesNothing) {
  std::array<u8, 4> buffer{7, 7, 7, 7};
  shadow(bus, bus);

  EXPECT_FALSE(space.write(kBios - 2, buffer));
  EXPECT_FALSE(space.read(kBios - 2, buffer));
  EXPECT_EQ(at(kBios - 2), 0);
  EXPECT_EQ(buffer[0], 7);
  EXPECT_TRUE(ram->bytes(kBios - 2, 4).empty());
  EXPECT_FALSE(space.read(GuestPhys(~u64{0} - 1), buffer));
}

TEST_F(PmapTest, DmaToSeparateMemoryInvalidatesItsCode) {
  const u32 before = ram->track_code(kBios + 0x40, 4);
  shadow({.kind = Kind::kBlock, .block = rom}, own_ram);

  EXPECT_TRUE(space.write(kBios + 0x40, std::array<u8, 2>{1, 2}));

  shadow(own_ram, own_ram);
  EXPECT_NE(ram->track_code(kBios + 0x40, 4), before);
}

}  // namespace
}  // namespace vellum
