#include "machine/firmware_items.hpp"

#include <gtest/gtest.h>

namespace vellum {
namespace {

std::string text_of(const std::vector<u8>* bytes) {
  return bytes == nullptr ? "(none)" : std::string(bytes->begin(), bytes->end());
}

TEST(FirmwareItems, ProcessorsAndMemoryAreTold) {
  const auto ram = std::move(*GuestRam::create(64 << 20));
  const FwCfgItems items = firmware_items(*ram, {.cpus = 3, .display = true, .boot_order = {}});

  EXPECT_EQ(*items.find(FwCfgItems::kCpuCount), (std::vector<u8>{3, 0}));
  EXPECT_EQ(*items.find(FwCfgItems::kRamSize), (std::vector<u8>{0, 0, 0, 4, 0, 0, 0, 0}));
  EXPECT_EQ(*items.find_file("etc/e820"),
            (std::vector<u8>{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 1, 0, 0, 0}));
}

TEST(FirmwareItems, RamAbove4GibIsASecondRange) {
  const auto ram = std::move(*GuestRam::create(u64{4} << 30));
  const FwCfgItems items = firmware_items(*ram, {});
  const auto& map = *items.find_file("etc/e820");

  ASSERT_EQ(map.size(), 40u);
  EXPECT_EQ(std::vector<u8>(map.begin() + 20, map.end()),
            (std::vector<u8>{0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 1, 0, 0, 0}));
}

TEST(FirmwareItems, TheAcpiTablesComeWithTheirLoader) {
  const auto ram = std::move(*GuestRam::create(1 << 20));
  const FwCfgItems items = firmware_items(*ram, {});

  EXPECT_EQ(text_of(items.find_file("etc/acpi/rsdp")).substr(0, 8), "RSD PTR ");
  EXPECT_NE(items.find_file("etc/acpi/tables"), nullptr);
  EXPECT_EQ(items.find_file("etc/table-loader")->size() % 128, 0u);
}

TEST(FirmwareItems, TheBootOrderIsAListOfPaths) {
  const auto ram = std::move(*GuestRam::create(1 << 20));
  const FirmwareRequest two{
      .cpus = 1, .display = false, .boot_order = {virtio_disk_path(3 << 3), virtio_disk_path(0x1f << 3)}};

  EXPECT_EQ(text_of(firmware_items(*ram, two).find_file("bootorder")),
            std::string("/pci@i0cf8/scsi@3/disk@0,0\n/pci@i0cf8/scsi@1f/disk@0,0") + '\0');
  EXPECT_EQ(firmware_items(*ram, {}).find_file("bootorder"), nullptr);
}

}  // namespace
}  // namespace vellum
