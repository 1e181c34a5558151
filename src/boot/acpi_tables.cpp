#include "boot/acpi_tables.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "boot/table_builder.hpp"
#include "boot/virtio_mmio_aml.hpp"

namespace vellum {
namespace {

constexpr std::string_view kOemId = "VELLUM", kOemTableId = "VELLUMPC", kCreatorId = "VLLM";
constexpr std::size_t kLengthField = 4, kChecksumField = 9;

// The header common to all system description tables (§5.2.6); length and checksum are filled in by finish().
TableBuilder begin(std::string_view signature, u8 revision) {
  TableBuilder table;
  table.text(signature, 4);
  table.put<u32>(0);
  table.put<u8>(revision);
  table.put<u8>(0);
  table.text(kOemId, 6);
  table.text(kOemTableId, 8);
  table.put<u32>(1);
  table.text(kCreatorId, 4);
  table.put<u32>(1);
  return table;
}

std::vector<u8> finish(TableBuilder table) {
  table.patch<u32>(kLengthField, static_cast<u32>(table.size()));
  table.patch<u8>(kChecksumField, checksum_of(table.bytes()));
  return table.take();
}

// Generic Address Structure of a port (§5.2.3.2). A size of 0 bytes: the register doesn't exist.
void put_port(TableBuilder& table, u16 port, u8 bytes, u8 access_size) {
  constexpr u8 kSystemIo = 1;
  table.put<u8>(bytes == 0 ? 0 : kSystemIo);
  table.put<u8>(static_cast<u8>(bytes * 8));
  table.put<u8>(0);
  table.put<u8>(access_size);
  table.put<u64>(port);
}
constexpr u8 kByteAccess = 1, kWordAccess = 2, kDwordAccess = 3;

// §5.2.9.
std::vector<u8> build_fadt(GuestPhys facs, GuestPhys dsdt, bool display, u16 pm_base) {
  const u16 event = pm_base, control = pm_base + (layout::kPm1aControl - layout::kPm1aEvent),
            timer = pm_base + (layout::kPmTimer - layout::kPm1aEvent);
  constexpr u8 kRevision = 6, kMinorRevision = 3;
  constexpr u8 kProfileDesktop = 1;
  constexpr u16 kNoC2 = 0x0fff, kNoC3 = 0x0fff;
  // IAPC_BOOT_ARCH: ISA devices and an 8042 are there; no VGA must be looked for.
  constexpr u16 kLegacyDevices = 1 << 0, k8042 = 1 << 1, kNoVga = 1 << 2;
  // Flags. A clear PWR_BUTTON means the fixed-feature power button in PM1; there is no sleep button and no
  // RTC wake. The PM timer has 32 bits.
  constexpr u32 kWbinvd = 1 << 0, kC1 = 1 << 2, kNoSleepButton = 1 << 5, kNoFixedRtc = 1 << 6,
                kTimer32 = 1 << 8, kResetRegister = 1 << 10;

  TableBuilder t = begin("FACP", kRevision);
  t.put<u32>(static_cast<u32>(facs.value));
  t.put<u32>(static_cast<u32>(dsdt.value));
  t.put<u8>(0);
  t.put<u8>(kProfileDesktop);
  t.put<u16>(layout::kSciIrq);
  t.put<u32>(0);  // SMI_CMD: there is no legacy mode to leave; PM1_CNT.SCI_EN is always set
  t.put<u32>(0);  // ACPI_ENABLE, ACPI_DISABLE, S4BIOS_REQ, PSTATE_CNT
  t.put<u32>(event);
  t.put<u32>(0);
  t.put<u32>(control);
  t.put<u32>(0);
  t.put<u32>(0);  // PM2_CNT
  t.put<u32>(timer);
  t.put<u32>(0);  // GPE0
  t.put<u32>(0);  // GPE1
  t.put<u8>(4);   // PM1_EVT_LEN
  t.put<u8>(2);   // PM1_CNT_LEN
  t.put<u8>(0);   // PM2_CNT_LEN
  t.put<u8>(4);   // PM_TMR_LEN
  t.put<u8>(0);   // GPE0_BLK_LEN
  t.put<u8>(0);   // GPE1_BLK_LEN
  t.put<u8>(0);   // GPE1_BASE
  t.put<u8>(0);   // CST_CNT
  t.put<u16>(kNoC2);
  t.put<u16>(kNoC3);
  t.put<u16>(0);  // FLUSH_SIZE, FLUSH_STRIDE: WBINVD works
  t.put<u16>(0);
  t.put<u8>(0);  // DUTY_OFFSET, DUTY_WIDTH: no throttling
  t.put<u8>(0);
  t.put<u8>(0);  // DAY_ALRM, MON_ALRM
  t.put<u8>(0);
  t.put<u8>(layout::kCmosCentury);
  t.put<u16>(kLegacyDevices | k8042 | (display ? 0 : kNoVga));
  t.put<u8>(0);
  t.put<u32>(kWbinvd | kC1 | kNoSleepButton | kNoFixedRtc | kTimer32 | kResetRegister);
  put_port(t, layout::kResetControl, 1, kByteAccess);
  t.put<u8>(layout::kResetValue);
  t.put<u16>(0);  // ARM_BOOT_ARCH
  t.put<u8>(kMinorRevision);
  t.put<u64>(0);  // X_FIRMWARE_CTRL: the 32-bit field has it
  t.put<u64>(dsdt.value);
  put_port(t, event, 4, kWordAccess);
  put_port(t, 0, 0, 0);
  put_port(t, control, 2, kWordAccess);
  put_port(t, 0, 0, 0);
  put_port(t, 0, 0, 0);  // PM2
  put_port(t, timer, 4, kDwordAccess);
  put_port(t, 0, 0, 0);  // GPE0
  put_port(t, 0, 0, 0);  // GPE1
  put_port(t, 0, 0, 0);  // SLEEP_CONTROL_REG, SLEEP_STATUS_REG: hardware-reduced only
  put_port(t, 0, 0, 0);
  t.text(kOemId, 8, '\0');  // hypervisor vendor
  VELLUM_ASSERT(t.size() == 276, "FADT of {} bytes", t.size());
  return finish(std::move(t));
}

// Firmware ACPI Control Structure (§5.2.10): no checksum, no waking vector yet.
std::vector<u8> build_facs() {
  constexpr u32 kSize = 64;
  TableBuilder t;
  t.text("FACS", 4);
  t.put<u32>(kSize);
  t.pad_to(32);
  t.put<u8>(2);  // version
  t.pad_to(kSize);
  return t.take();
}

// §5.2.12.
std::vector<u8> build_madt(u32 cpu_count) {
  constexpr u8 kRevision = 5;
  constexpr u32 kPcatCompat = 1;
  constexpr u32 kFirstX2ApicId = 0xff;
  constexpr u16 kActiveHigh = 1, kLevel = 3 << 2;
  TableBuilder t = begin("APIC", kRevision);
  t.put<u32>(static_cast<u32>(layout::kLocalApic.value));
  t.put<u32>(kPcatCompat);
  for (u32 id = 0; id < cpu_count; ++id) {
    constexpr u32 kEnabled = 1;
    if (id < kFirstX2ApicId) {
      t.put<u8>(0), t.put<u8>(8), t.put<u8>(static_cast<u8>(id)), t.put<u8>(static_cast<u8>(id)),
          t.put<u32>(kEnabled);
    } else {
      t.put<u8>(9), t.put<u8>(16), t.put<u16>(0), t.put<u32>(id), t.put<u32>(kEnabled), t.put<u32>(id);
    }
  }
  t.put<u8>(1), t.put<u8>(12), t.put<u8>(layout::io_apic_id(cpu_count)), t.put<u8>(0);
  t.put<u32>(static_cast<u32>(layout::kIoApic.value)), t.put<u32>(0);
  const auto put_override = [&](u8 irq, u32 gsi, u16 flags) {
    t.put<u8>(2), t.put<u8>(10), t.put<u8>(0), t.put<u8>(irq), t.put<u32>(gsi), t.put<u16>(flags);
  };
  put_override(layout::kPitIrq, layout::kPitGsi, 0);  // 0: as ISA has it, edge-triggered and active high
  put_override(layout::kSciIrq, layout::kSciIrq, kActiveHigh | kLevel);
  // NMI is wired to LINT1 of every processor.
  t.put<u8>(4), t.put<u8>(6), t.put<u8>(0xff), t.put<u16>(0), t.put<u8>(1);
  if (cpu_count > kFirstX2ApicId) {
    t.put<u8>(0xa), t.put<u8>(12), t.put<u16>(0), t.put<u32>(~u32{0}), t.put<u8>(1);
    t.put<u8>(0), t.put<u16>(0);
  }
  return finish(std::move(t));
}

// What the DSDT of the board without PCI cannot know: how many virtio devices there are.
std::vector<u8> build_micro_ssdt(unsigned devices) {
  TableBuilder t = begin("SSDT", 2);
  t.append(build_virtio_mmio_aml(devices));
  return finish(std::move(t));
}

// The DSDT of the board with PCI, with what depends on RAM's size and on drives (ACPI 6.4 §20.2.5.2,
// DefMethod; §20.2.3, QWordPrefix).
std::vector<u8> build_pc_dsdt(const FirmwareConfig& config) {
  const auto original = dsdt_pc_bytes();
  TableBuilder t;
  t.append(original);
  const auto set = [&](std::string_view name, u64 value) {
    const std::string method =
        std::string(name) + std::string("\0\xa4\x0e", 3);  // no arguments; Return; QWord
    const auto found = std::search(original.begin(), original.end(), method.begin(), method.end(),
                                   [](u8 byte, char c) { return byte == static_cast<u8>(c); });
    VELLUM_ASSERT(found != original.end(), "the DSDT has no {}", name);
    t.patch<u64>(static_cast<std::size_t>(found - original.begin()) + method.size(), value);
  };
  const auto windows = layout::pci_windows(config.ram_size);
  set("PML0", windows.low_start.value);
  set("PMH0", windows.high_start);
  const auto [first, second] = config.floppy_drives;
  set("FDRV", first | u64{second} << 8);
  t.patch<u8>(kChecksumField, 0);
  return finish(std::move(t));
}

template <class Pointer>
std::vector<u8> build_root(std::string_view signature, std::span<const GuestPhys> tables) {
  TableBuilder t = begin(signature, 1);
  for (const GuestPhys table : tables) t.put<Pointer>(static_cast<Pointer>(table.value));
  return finish(std::move(t));
}

// Root System Description Pointer (§5.2.5.3): its first 20 bytes, ACPI 1.0's, have a checksum of their own.
std::vector<u8> build_rsdp(GuestPhys rsdt, GuestPhys xsdt) {
  constexpr u32 kSize = 36, kSizeOfVersion1 = 20;
  TableBuilder t;
  t.text("RSD PTR ", 8);
  t.put<u8>(0);
  t.text(kOemId, 6);
  t.put<u8>(2);
  t.put<u32>(static_cast<u32>(rsdt.value));
  t.put<u32>(kSize);
  t.put<u64>(xsdt.value);
  t.pad_to(kSize);
  t.patch<u8>(8, checksum_of(t.bytes().first(kSizeOfVersion1)));
  t.patch<u8>(32, checksum_of(t.bytes()));
  return t.take();
}

}  // namespace

std::vector<u8> build_acpi_tables(GuestPhys base, const FirmwareConfig& config) {
  constexpr std::size_t kRsdpRoom = 64;
  TableBuilder all;
  all.pad_to(kRsdpRoom);
  const auto place = [&](std::span<const u8> table) {
    all.align(64);  // the FACS needs it
    const GuestPhys at = base + all.size();
    all.append(table);
    return at;
  };
  const GuestPhys facs = place(build_facs());
  const GuestPhys dsdt = config.pci ? place(build_pc_dsdt(config)) : place(dsdt_micro_bytes());
  std::vector<GuestPhys> tables{place(build_fadt(facs, dsdt, config.display, config.pm_base)),
                                place(build_madt(config.cpu_count))};
  if (config.virtio_mmio != 0) tables.push_back(place(build_micro_ssdt(config.virtio_mmio)));
  const GuestPhys rsdt = place(build_root<u32>("RSDT", tables));
  const GuestPhys xsdt = place(build_root<u64>("XSDT", tables));
  const auto rsdp = build_rsdp(rsdt, xsdt);
  for (std::size_t i = 0; i < rsdp.size(); ++i) all.patch<u8>(i, rsdp[i]);
  return all.take();
}

}  // namespace vellum
