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

// OVMF moves them to 0xb000 and reads the tables after that; SeaBIOS leaves them at 0x600.
TEST(FirmwareItems, TheFadtNamesThePortsWhereFirmwareHasPutThem) {
  const auto ram = std::move(*GuestRam::create(1 << 20));
  std::optional<u16> base;
  FwCfgItems items = firmware_items(*ram, {.pm_base = [&base] { return base; }});
  const u16 tables = items.key_of("etc/acpi/tables");
  const auto pm_timer = [&] {
    const std::string text = text_of(items.fresh(tables));
    const std::size_t field = text.find("FACP") + 76;
    return static_cast<u8>(text.at(field)) | static_cast<u8>(text.at(field + 1)) << 8;
  };

  EXPECT_EQ(pm_timer(), 0x608);
  base = 0xb000;
  EXPECT_EQ(pm_timer(), 0xb008);
  base = 0x600;
  EXPECT_EQ(pm_timer(), 0x608);
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
