#include "machine/bios_rom.hpp"

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>

#include "../pci/pci_board.hpp"

namespace vellum::test {
namespace {

constexpr u64 k64K = 0x10000;

// A byte that tells where in the image it stands.
std::vector<u8> image_of(u64 size) {
  std::vector<u8> image(size);
  for (u64 n = 0; n < size; ++n) image[n] = static_cast<u8>(n / 0x4000 + 1);
  return image;
}

struct BiosRomTest : testing::Test {
  void insert(u64 size) {
    ram = std::move(*GuestRam::create(2 << 20, size));
    image = image_of(size);
    rom.emplace(*ram, host, image);
  }
  void write_pam(unsigned n, u32 value) { host.write_config(pci::I440Fx::kPam + n, 1, value); }
  u8 read(u64 at) { return *ram->host(GuestPhys(at)); }

  PciBoard board;
  std::unique_ptr<GuestRam> ram;
  pci::I440Fx host{board.bus};
  std::vector<u8> image;
  std::optional<BiosRom> rom;
};

TEST_F(BiosRomTest, TheImageEndsAt4GibAndItsLast128KibAt1Mib) {
  insert(4 * k64K);

  EXPECT_EQ(read(0xffff'fff0), image.back());
  EXPECT_EQ(read(0xfffc'0000), image.front());
  EXPECT_EQ(ram->host(GuestPhys(0xfffb'ffff)), nullptr);
  EXPECT_EQ(read(0xe0000), image[2 * k64K]);
  EXPECT_EQ(read(0xf0000), image[3 * k64K]);
  EXPECT_EQ(read(0xfffff), image.back());
}

TEST_F(BiosRomTest, ItCannotBeWritten) {
  insert(4 * k64K);

  EXPECT_EQ(ram->store_host(GuestPhys(0xffff'0000)), nullptr);
  EXPECT_EQ(ram->store_host(GuestPhys(0xf0000)), nullptr);
}

TEST_F(BiosRomTest, WhatNoImageIsBehindIsTheBus) {
  insert(k64K);

  EXPECT_EQ(ram->host(GuestPhys(0xa0000)), nullptr);
  EXPECT_EQ(ram->host(GuestPhys(0xc0000)), nullptr);
  EXPECT_EQ(ram->host(GuestPhys(0xe0000)), nullptr);
  EXPECT_EQ(read(0xf0000), image.front());
}

TEST_F(BiosRomTest, ReadsAndWritesAreLedToRamSeparately) {
  insert(2 * k64K);
  const u8* const ram_there = ram->host(GuestPhys(0)) + 0xf0000;

  write_pam(0, 0x20);
  EXPECT_EQ(read(0xf0000), image[k64K]);
  EXPECT_EQ(ram->store_host(GuestPhys(0xf0000)), ram_there);
  write_pam(0, 0x10);
  EXPECT_EQ(ram->host(GuestPhys(0xf0000)), ram_there);
  EXPECT_EQ(ram->store_host(GuestPhys(0xf0000)), nullptr);
}

TEST_F(BiosRomTest, EachHalfOfARegisterIsASegment) {
  insert(2 * k64K);

  write_pam(6, 0x30);  // 0xec000 to 0xeffff
  EXPECT_EQ(read(0xe8000), image[0x8000]);
  EXPECT_EQ(ram->host(GuestPhys(0xec000)), ram->host(GuestPhys(0)) + 0xec000);
}

TEST_F(BiosRomTest, ARestoredHostBridgesSegmentsCount) {
  write_pam(0, 0x30);

  insert(2 * k64K);
  EXPECT_EQ(ram->host(GuestPhys(0xf0000)), ram->host(GuestPhys(0)) + 0xf0000);
}

class FileOfSize {
 public:
  explicit FileOfSize(u64 size) : path(testing::TempDir() + "bios_rom_test.bin") {
    std::ofstream(path, std::ios::binary) << std::string(size, 'x');
  }
  ~FileOfSize() { std::remove(path.c_str()); }
  const std::string path;
};

TEST(ReadBios, TakesMultiplesOf4Kib) {
  const FileOfSize file(35 * kPageSize);

  const auto image = read_bios(FirmwareKind::kBios, file.path);
  ASSERT_TRUE(image) << image.error().message;
  EXPECT_EQ(image->size(), 35 * kPageSize);
}

TEST(ReadBios, RefusesOtherSizesAndMissingFilesByName) {
  const FileOfSize odd(k64K + 1);
  const std::string wrong_size = read_bios(FirmwareKind::kBios, odd.path).error().message;
  const std::string missing = read_bios(FirmwareKind::kBios, "/nowhere/bios.bin").error().message;

  EXPECT_NE(wrong_size.find("'" + odd.path + "' has 65537 bytes"), std::string::npos) << wrong_size;
  EXPECT_NE(missing.find("--bios: cannot open '/nowhere/bios.bin'"), std::string::npos) << missing;
}

}  // namespace
}  // namespace vellum::test
