// The ACPI tables, read back as an operating system would: from the RSDP, checking every checksum.
#include "boot/acpi_tables.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <fstream>
#include <map>
#include <numeric>

#include "../temp_dir.hpp"
#include "images.hpp"

namespace vellum {
namespace {

using test::Bytes;

constexpr u64 kBase = layout::kAcpiTables.value;

struct Tables {
  explicit Tables(u32 cpus, bool pci = false, u64 ram = u64{1} << 30, unsigned virtio_mmio = 0)
      : blob(build_acpi_tables(layout::kAcpiTables, {cpus, 0, 0, pci, ram, virtio_mmio})) {
    const u64 xsdt = at<u64>(24);
    const u64 entries = (at<u32>(xsdt - kBase + 4) - 36) / 8;
    add(xsdt);
    add(at<u32>(16));
    for (u64 i = 0; i < entries; ++i) add(at<u64>(xsdt - kBase + 36 + 8 * i));
    add(at<u64>(offset("FACP") + 140));
    add(at<u32>(offset("FACP") + 36));
  }
  template <class T>
  T at(u64 offset) const {
    return read_at<T>(blob, offset).value();
  }
  void add(u64 address) {
    const Bytes name(blob.begin() + static_cast<long>(address - kBase),
                     blob.begin() + static_cast<long>(address - kBase + 4));
    offsets[std::string(name.begin(), name.end())] = address - kBase;
  }
  u64 offset(const std::string& name) const { return offsets.at(name); }
  Bytes table(const std::string& name) const {
    const auto part = slice(blob, offset(name), at<u32>(offset(name) + 4)).value();
    return Bytes(part.begin(), part.end());
  }

  Bytes blob;
  std::map<std::string, u64> offsets;
};

u8 sum(std::span<const u8> bytes) {
  return static_cast<u8>(std::accumulate(bytes.begin(), bytes.end(), 0u));
}

// The structures of the MADT with the given type.
std::vector<Bytes> structures(const Bytes& madt, u8 type) {
  std::vector<Bytes> found;
  for (u64 at = 44; at < madt.size(); at += madt[at + 1])
    if (madt[at] == type)
      found.emplace_back(madt.begin() + static_cast<long>(at),
                         madt.begin() + static_cast<long>(at + madt[at + 1]));
  return found;
}

TEST(AcpiTables, RsdpHasBothChecksums) {
  const Tables tables(1);
  EXPECT_EQ(std::string(tables.blob.begin(), tables.blob.begin() + 8), "RSD PTR ");
  EXPECT_EQ(sum(std::span(tables.blob).first(20)), 0);
  EXPECT_EQ(sum(std::span(tables.blob).first(36)), 0);
  EXPECT_EQ(tables.at<u8>(15), 2);     // revision
  EXPECT_EQ(tables.at<u32>(20), 36u);  // length
}

TEST(AcpiTables, EveryTableIsThereAndSumsToZero) {
  const Tables tables(4);
  for (const char* name : {"XSDT", "RSDT", "FACP", "APIC", "DSDT"}) {
    ASSERT_TRUE(tables.offsets.contains(name)) << name;
    EXPECT_EQ(sum(tables.table(name)), 0) << name;
  }
}

TEST(AcpiTables, RsdtAndXsdtNameTheSameTables) {
  const Tables tables(1);
  const Bytes rsdt = tables.table("RSDT"), xsdt = tables.table("XSDT");
  ASSERT_EQ(rsdt.size(), 36u + 2 * 4);
  ASSERT_EQ(xsdt.size(), 36u + 2 * 8);
  EXPECT_EQ(read_at<u32>(rsdt, 36), read_at<u64>(xsdt, 36));
  EXPECT_EQ(read_at<u32>(rsdt, 40), read_at<u64>(xsdt, 44));
}

TEST(AcpiTables, FadtDescribesTheBoard) {
  const Tables tables(1);
  const Bytes fadt = tables.table("FACP");
  ASSERT_EQ(fadt.size(), 276u);
  EXPECT_EQ(read_at<u32>(fadt, 40), read_at<u64>(fadt, 140));  // DSDT, X_DSDT
  EXPECT_EQ(read_at<u32>(fadt, 36).value() % 64, 0u);          // FACS
  EXPECT_EQ(read_at<u64>(fadt, 132), 0u);                      // X_FIRMWARE_CTRL: only one of both
  EXPECT_EQ(read_at<u16>(fadt, 46), layout::kSciIrq);
  EXPECT_EQ(read_at<u32>(fadt, 48), 0u);  // SMI_CMD
  EXPECT_EQ(read_at<u32>(fadt, 56), layout::kPm1aEvent);
  EXPECT_EQ(read_at<u32>(fadt, 64), layout::kPm1aControl);
  EXPECT_EQ(read_at<u32>(fadt, 76), layout::kPmTimer);
  EXPECT_EQ(read_at<u64>(fadt, 148 + 4), layout::kPm1aEvent);
  EXPECT_EQ(read_at<u64>(fadt, 172 + 4), layout::kPm1aControl);
  EXPECT_EQ(read_at<u64>(fadt, 208 + 4), layout::kPmTimer);
  EXPECT_EQ(read_at<u64>(fadt, 116 + 4), layout::kResetControl);
  EXPECT_EQ(fadt[128], layout::kResetValue);
  const u32 flags = read_at<u32>(fadt, 112).value();
  EXPECT_NE(flags & 1u << 10, 0u);  // RESET_REG_SUP
  EXPECT_NE(flags & 1u << 8, 0u);   // TMR_VAL_EXT: 32 bits
  EXPECT_EQ(flags & 1u << 20, 0u);  // HW_REDUCED_ACPI
  EXPECT_EQ(flags & 1u << 4, 0u);   // PWR_BUTTON: fixed
}

TEST(AcpiTables, MadtListsProcessorsAndWiring) {
  const Bytes madt = Tables(3).table("APIC");
  EXPECT_EQ(read_at<u32>(madt, 36), layout::kLocalApic.value);
  EXPECT_EQ(read_at<u32>(madt, 40), 1u);  // PCAT_COMPAT
  const auto processors = structures(madt, 0);
  ASSERT_EQ(processors.size(), 3u);
  EXPECT_EQ(processors[2], (Bytes{0, 8, 2, 2, 1, 0, 0, 0}));
  const auto io_apics = structures(madt, 1);
  ASSERT_EQ(io_apics.size(), 1u);
  EXPECT_EQ(io_apics[0], (Bytes{1, 12, 3, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0}));
  EXPECT_EQ(structures(madt, 2),
            (std::vector<Bytes>{{2, 10, 0, 0, 2, 0, 0, 0, 0, 0}, {2, 10, 0, 9, 9, 0, 0, 0, 0xd, 0}}));
  EXPECT_EQ(structures(madt, 4), (std::vector<Bytes>{{4, 6, 0xff, 0, 0, 1}}));
}

TEST(AcpiTables, LargeIdsAreX2ApicStructures) {
  const Bytes madt = Tables(300).table("APIC");
  EXPECT_EQ(structures(madt, 0).size(), 255u);
  const auto large = structures(madt, 9);
  ASSERT_EQ(large.size(), 45u);
  EXPECT_EQ(large[0], (Bytes{9, 16, 0, 0, 0xff, 0, 0, 0, 1, 0, 0, 0, 0xff, 0, 0, 0}));
  EXPECT_EQ(structures(madt, 0xa).size(), 1u);
}

TEST(AcpiTables, FacsIsAlignedAndUnlocked) {
  const Tables tables(1);
  const Bytes facs = tables.table("FACS");
  EXPECT_EQ(tables.offset("FACS") % 64, 0u);
  EXPECT_EQ(facs.size(), 64u);
  EXPECT_EQ(read_at<u32>(facs, 16), 0u);  // global lock
}

// What the table compiler makes of all tables but the RSDP and FACS; it judges fields, lengths and AML.
class Disassembly : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(std::system("iasl -v >/dev/null 2>&1"), 0) << "iasl, which the build needs too, does not run";
  }
  std::string disassemble(const std::string& name, bool pci = false, unsigned virtio_mmio = 0) {
    const test::TempDir directory;
    const std::string file =
        directory.write(name + ".dat", Tables(4, pci, u64{1} << 30, virtio_mmio).table(name));
    const std::string command = fmt::format("iasl -d {} >{} 2>&1", file, directory.path("log"));
    EXPECT_EQ(std::system(command.c_str()), 0);
    return slurp(directory.path("log")) + slurp(directory.path(name + ".dsl"));
  }
  static std::string slurp(const std::string& path) {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), {}};
  }
};

TEST_F(Disassembly, NoTableHasErrors) {
  for (const char* name : {"FACP", "APIC", "XSDT", "RSDT", "DSDT"}) {
    const std::string text = disassemble(name);
    EXPECT_NE(text.find(name), std::string::npos) << text;
    EXPECT_EQ(text.find("rror"), std::string::npos) << text;
    EXPECT_EQ(text.find("nvalid"), std::string::npos) << text;
    EXPECT_EQ(text.find("ncorrect"), std::string::npos) << text;
  }
}

TEST_F(Disassembly, NorHasThatOfABoardWithPci) {
  const std::string text = disassemble("DSDT", true);
  EXPECT_EQ(text.find("rror"), std::string::npos) << text;
  EXPECT_NE(text.find("Device (PCI0)"), std::string::npos) << text;
  EXPECT_NE(text.find("Return (0x0000000080000000)"), std::string::npos) << text;
  EXPECT_NE(text.find("Return (0x0000000100000000)"), std::string::npos) << text;
  // What SeaBIOS's parser gives up at.
  EXPECT_EQ(text.find("External"), std::string::npos) << text;
  EXPECT_EQ(disassemble("DSDT", false).find("Device (PCI0)"), std::string::npos);
}

TEST(AcpiTables, FloppyDiskDrivesAreInTheDsdt) {
  const auto shown = [](std::array<u8, 2> drives) {
    const auto all =
        build_acpi_tables(GuestPhys(0), {.pci = true, .ram_size = 1 << 20, .floppy_drives = drives});
    const std::string text(all.begin(), all.end());
    return text.substr(text.find("FDRV") + 6, 9);  // after its flags and Return's opcode
  };
  EXPECT_EQ(shown({0, 0}), std::string("\x0e\0\0\0\0\0\0\0\0", 9));
  EXPECT_EQ(shown({4, 5}), std::string("\x0e\4\5\0\0\0\0\0\0", 9));
}

TEST_F(Disassembly, VirtioDevicesOfABoardWithoutPciAreListed) {
  const std::string text = disassemble("SSDT", false, layout::kVirtioMmioSlots);
  EXPECT_EQ(text.find("rror"), std::string::npos) << text;
  const auto last = text.find("Device (VR1F)");
  ASSERT_NE(last, std::string::npos) << text;
  EXPECT_EQ(text.find("Device (VR20)"), std::string::npos);
  const std::string device = text.substr(last);
  const auto has = [&device](const std::string& part) { return device.find(part) != std::string::npos; };
  EXPECT_TRUE(has("Name (_HID, \"LNRO0005\")")) << device;
  EXPECT_TRUE(has("Name (_UID, 0x1F)")) << device;
  EXPECT_TRUE(has("Memory32Fixed (ReadWrite,")) << device;
  EXPECT_TRUE(has("0xFEB1F000,         // Address Base")) << device;
  EXPECT_TRUE(has("0x00001000,         // Address Length")) << device;
  EXPECT_TRUE(has("Interrupt (ResourceConsumer, Level, ActiveHigh, Shared")) << device;
  EXPECT_TRUE(has("0x00000017,")) << device;  // input 23
  EXPECT_NE(disassemble("SSDT", false, 1).find("Device (VR00)"), std::string::npos);
}

TEST(AcpiTables, PciMemoryBeginsAboveRam) {
  constexpr u64 kGiB = u64{1} << 30;
  EXPECT_EQ(layout::pci_windows(kGiB / 2).low_start, layout::kPciLowMemory);
  EXPECT_EQ(layout::pci_windows(kGiB / 2).high_start, 4 * kGiB);
  EXPECT_EQ(layout::pci_windows(2 * kGiB + 4096).low_start, layout::kPciMemory);
  EXPECT_EQ(layout::pci_windows(5 * kGiB + 4096).high_start, 7 * kGiB);
  EXPECT_EQ(sum(Tables(1, true, 5 * kGiB).table("DSDT")), 0);
}

TEST_F(Disassembly, DsdtSaysWhatTheLayoutSays) {
  const std::string text = disassemble("DSDT");
  const auto has = [&](u64 port) {
    return text.find(fmt::format("0x{:04X},             // Range Minimum", port)) != std::string::npos;
  };
  for (const u16 port : {layout::kCom1, layout::kCom2, layout::kRtc, layout::kPit, layout::kPic1,
                         layout::kPic2, layout::kElcr, layout::kI8042Data, layout::kI8042Command,
                         layout::kSystemControlB, layout::kPm1aEvent, layout::kResetControl})
    EXPECT_TRUE(has(port)) << fmt::format("{:#x}", port);
  for (const u8 irq :
       {layout::kPitIrq, layout::kKeyboardIrq, layout::kCom1Irq, layout::kCom2Irq, layout::kRtcIrq})
    EXPECT_NE(text.find(fmt::format("{{{}}}", irq)), std::string::npos) << int{irq};
  const auto s5 = text.find("Name (_S5");
  ASSERT_NE(s5, std::string::npos);
  EXPECT_NE(text.substr(s5, 120).find(fmt::format("0x{:02X}", layout::kSleepTypeS5)), std::string::npos);
}

}  // namespace
}  // namespace vellum
