#include "boot/mp_table.hpp"

#include <gtest/gtest.h>

#include <numeric>

#include "images.hpp"

namespace vellum {
namespace {

using test::Bytes;

constexpr std::array<std::size_t, 5> kEntrySize{20, 8, 8, 8, 8};

struct MpTable {
  explicit MpTable(u32 cpus, bool pci = false)
      : blob(build_mp_table(layout::kMpTable, {cpus, 0x000306a9, 0x0f8bfbff, pci, 0})) {
    for (std::size_t at = 16 + 44; at < blob.size(); at += kEntrySize[blob[at]])
      entries[blob[at]].emplace_back(blob.begin() + static_cast<long>(at),
                                     blob.begin() + static_cast<long>(at + kEntrySize[blob[at]]));
  }
  Bytes blob;
  std::array<std::vector<Bytes>, 5> entries;
};

u8 sum(std::span<const u8> bytes) {
  return static_cast<u8>(std::accumulate(bytes.begin(), bytes.end(), 0u));
}

TEST(MpTable, PointerAndTableSumToZero) {
  const MpTable table(4);
  EXPECT_EQ(std::string(table.blob.begin(), table.blob.begin() + 4), "_MP_");
  EXPECT_EQ(sum(std::span(table.blob).first(16)), 0);
  EXPECT_EQ(read_at<u32>(table.blob, 4), layout::kMpTable.value + 16);
  EXPECT_EQ(std::string(table.blob.begin() + 16, table.blob.begin() + 20), "PCMP");
  EXPECT_EQ(read_at<u16>(table.blob, 16 + 4), table.blob.size() - 16);
  EXPECT_EQ(sum(std::span(table.blob).subspan(16)), 0);
}

TEST(MpTable, CountsItsEntries) {
  const MpTable table(4);
  const std::size_t counted =
      std::accumulate(table.entries.begin(), table.entries.end(), std::size_t{0},
                      [](std::size_t n, const auto& list) { return n + list.size(); });
  EXPECT_EQ(read_at<u16>(table.blob, 16 + 34), counted);
}

TEST(MpTable, OnlyTheFirstProcessorIsBootstrap) {
  const MpTable table(3);
  ASSERT_EQ(table.entries[0].size(), 3u);
  EXPECT_EQ(table.entries[0][0][3], 3);  // enabled, bootstrap
  EXPECT_EQ(table.entries[0][1][3], 1);
  EXPECT_EQ(table.entries[0][2][1], 2);  // id
  EXPECT_EQ(read_at<u32>(table.entries[0][0], 4), 0x000306a9u);
  EXPECT_EQ(read_at<u32>(table.entries[0][0], 8), 0x0f8bfbffu);
}

TEST(MpTable, InterruptsAreWiredAsOnAPc) {
  const MpTable table(2);
  ASSERT_EQ(table.entries[3].size(), 16u);  // ExtINT and 15 ISA interrupts: IRQ 2 is the cascade
  EXPECT_EQ(table.entries[3][0], (Bytes{3, 3, 0, 0, 0, 0, 2, 0}));    // 8259 at input 0
  EXPECT_EQ(table.entries[3][1], (Bytes{3, 0, 0, 0, 0, 0, 2, 2}));    // IRQ 0 at input 2
  EXPECT_EQ(table.entries[3][2], (Bytes{3, 0, 0, 0, 0, 1, 2, 1}));    // IRQ 1 at input 1
  EXPECT_EQ(table.entries[3][9], (Bytes{3, 0, 0xd, 0, 0, 9, 2, 9}));  // SCI: level, active high
  EXPECT_EQ(table.entries[4], (std::vector<Bytes>{{4, 3, 0, 0, 0, 0, 0xff, 0}, {4, 1, 0, 0, 0, 0, 0xff, 1}}));
}

TEST(MpTable, APciBusComesBeforeIsaAndHasItsWires) {
  const MpTable table(2, true);
  EXPECT_EQ(table.entries[1],
            (std::vector<Bytes>{{1, 0, 'P', 'C', 'I', ' ', ' ', ' '}, {1, 1, 'I', 'S', 'A', ' ', ' ', ' '}}));
  ASSERT_EQ(table.entries[3].size(), 16u + 31 * 4);
  EXPECT_EQ(table.entries[3][2], (Bytes{3, 0, 0, 0, 1, 1, 2, 1}));                 // IRQ 1
  EXPECT_EQ(table.entries[3][16], (Bytes{3, 0, 0, 0, 0, 1 << 2, 2, 16}));          // device 1, INTA#
  EXPECT_EQ(table.entries[3][16 + 9], (Bytes{3, 0, 0, 0, 0, 3 << 2 | 1, 2, 19}));  // device 3, INTB#
}

TEST(MpTable, IdsThatNeedAcpiAreLeftOut) {
  EXPECT_EQ(MpTable(300).entries[0].size(), 255u);
}

TEST(FirmwareTables, AreWhereSystemsLook) {
  const auto ram = test::make_ram(2);
  const auto rsdp = write_firmware_tables(*ram, {1, 0, 0});
  ASSERT_TRUE(rsdp) << rsdp.error().message;
  EXPECT_EQ(*rsdp, layout::kAcpiTables);
  EXPECT_EQ(test::read_guest<u64>(*ram, 0xe0000), 0x2052545020445352u);  // "RSD PTR "
  EXPECT_EQ(test::read_guest<u32>(*ram, 0xf0000), 0x5f504d5fu);          // "_MP_"
  EXPECT_EQ(test::read_guest<u16>(*ram, 0x40e), 0x9fc0);                 // EBDA's segment
  EXPECT_EQ(test::read_guest<u16>(*ram, 0x413), 639);                    // KiB of base memory
  EXPECT_EQ(test::read_guest<u16>(*ram, 0x400), 0x3f8);
  EXPECT_EQ(test::read_guest<u8>(*ram, 0x9fc00), 1);
}

TEST(FirmwareTables, NeedTheFirstMegabyte) {
  const auto ram = GuestRam::create(512 << 10);
  ASSERT_TRUE(ram);
  const auto rsdp = write_firmware_tables(**ram, {1, 0, 0});
  ASSERT_FALSE(rsdp);
  EXPECT_NE(rsdp.error().message.find("512 KiB"), std::string::npos) << rsdp.error().message;
}

TEST(FirmwareTables, TooManyProcessorsAreAnError) {
  const auto ram = test::make_ram(2);
  const auto rsdp = write_firmware_tables(*ram, {10000, 0, 0});
  ASSERT_FALSE(rsdp);
  EXPECT_NE(rsdp.error().message.find("--cpus"), std::string::npos) << rsdp.error().message;
}

}  // namespace
}  // namespace vellum
