// Where things are in the PC's physical address space and its ports. One table for everyone: the machine maps
// devices at these addresses, the ACPI and MP tables announce them, and the loaders stay clear of them.
// Devices themselves see offsets only.
//
//   0x0000_0000  real-mode vectors, BIOS data area (0x400)
//   0x0000_1000  boot data: GDT, page tables, command line, zero page or start info (free once the kernel
//   runs) 0x0009_fc00  extended BIOS data area (1 KiB) 0x000a_0000  video hole: no memory is announced
//   0x000e_0000  firmware: ACPI tables
//   0x000f_0000  firmware: MP table
//   0x0010_0000  RAM, up to 3 GiB (GuestRam::kLowRamLimit)
//   0xc000_0000  PCI memory; on the board without PCI, from 0xfeb0_0000 on, virtio devices
//   0xfec0_0000  I/O APIC
//   0xfee0_0000  local APICs
//   1_0000_0000  the rest of RAM
#pragma once

#include <algorithm>
#include <vector>

#include "base/address.hpp"
#include "base/bits.hpp"
#include "memory/guest_ram.hpp"

namespace vellum::layout {

inline constexpr GuestPhys kBiosDataArea{0x400};
inline constexpr GuestPhys kBootData{0x1000};  ///< up to kEbda
inline constexpr GuestPhys kEbda{0x9fc00};
inline constexpr GuestPhys kLowMemoryEnd{0xa0000};
inline constexpr GuestPhys kAcpiTables{0xe0000};  ///< up to kMpTable; the RSDP is first
inline constexpr GuestPhys kMpTable{0xf0000};
inline constexpr GuestPhys kHighMemory{0x100000};

/// The PCI bus's memory below 4 GiB begins where RAM may no longer be, and ends before the I/O APIC. What
/// plays firmware uses the upper part, as SeaBIOS does.
inline constexpr GuestPhys kPciMemory{0xc0000000}, kPciBars{0xe0000000}, kPciMemoryEnd{0xfec00000};
/// With 2 GiB of RAM or less it begins here: OVMF puts BARs there.
inline constexpr GuestPhys kPciLowMemory{0x80000000};
/// And it goes on from above RAM to the end of the 40-bit physical address space.
inline constexpr u64 kPciHighAlignment = u64{1} << 30, kPciHighEnd = u64{1} << 40;
/// The board without PCI has its virtio devices here, a page each, and their interrupts on the I/O APIC's
/// upper inputs, level-triggered and active high. Beyond 8 devices these are shared.
inline constexpr unsigned kVirtioMmioSlots = 32;
inline constexpr u64 kVirtioMmioSize = 0x1000;
constexpr GuestPhys virtio_mmio_address(unsigned slot) {
  return GuestPhys(0xfeb00000) + slot * kVirtioMmioSize;
}
constexpr u8 virtio_mmio_gsi(unsigned slot) {
  return static_cast<u8>(16 + slot % 8);
}
inline constexpr GuestPhys kIoApic{0xfec00000};
inline constexpr GuestPhys kLocalApic{0xfee00000};

// Ports.
inline constexpr u16 kPic1 = 0x20, kPic2 = 0xa0, kElcr = 0x4d0;
inline constexpr u16 kPit = 0x40;             ///< 0x40 to 0x43
inline constexpr u16 kSystemControlB = 0x61;  ///< PIT channel 2's gate and output
inline constexpr u16 kI8042Data = 0x60, kI8042Command = 0x64;
inline constexpr u16 kRtc = 0x70;  ///< index and data
inline constexpr u16 kCom1 = 0x3f8, kCom2 = 0x2f8;
inline constexpr u16 kPm1aEvent = 0x600;    ///< PM1 status and enable, 2 bytes each
inline constexpr u16 kPm1aControl = 0x604;  ///< 2 bytes
inline constexpr u16 kPmTimer = 0x608;      ///< 4 bytes
inline constexpr u16 kResetControl = 0xcf9;
inline constexpr u8 kResetValue = 0x06;   ///< hard reset of the processor and the system
inline constexpr u16 kPciConfig = 0xcf8;  ///< 0xcf8 to 0xcff, around kResetControl
inline constexpr u16 kPciPorts = 0xc000;  ///< up to 0xffff: I/O BARs, where what plays firmware puts them
inline constexpr u16 kDebugcon = 0xe9, kDebugExit = 0xf4;
/// PM1_CNT.SLP_TYP that means S5 (soft off); dsdt.asl's \_S5 says the same.
inline constexpr u8 kSleepTypeS5 = 5;
/// The RTC's register that holds the century (FADT.CENTURY).
inline constexpr u8 kCmosCentury = 0x32;

// ISA interrupts, and the I/O APIC inputs (global system interrupts) that differ from them.
inline constexpr u8 kPitIrq = 0, kKeyboardIrq = 1, kCom2Irq = 3, kCom1Irq = 4, kRtcIrq = 8, kSciIrq = 9;
inline constexpr u8 kPitGsi =
    2;  ///< IRQ 0 is wired to input 2, as on every PC; all others to their own number

/// PCI's four interrupt wires: I/O APIC inputs from here on, level-triggered, active low.
inline constexpr u8 kPciGsi = 16;
inline constexpr u32 kActiveLowPins = 0xfu << kPciGsi;
struct PciWindows {
  GuestPhys low_start;  ///< up to kPciMemoryEnd
  u64 high_start = 0;   ///< up to kPciHighEnd
};
/// Where the host bridge leads memory accesses to the bus, on a board with `ram_size` bytes of RAM.
constexpr PciWindows pci_windows(u64 ram_size) {
  const u64 low = std::min(ram_size, GuestRam::kLowRamLimit);
  return {low <= kPciLowMemory.value ? kPciLowMemory : kPciMemory,
          align_up(GuestRam::kHighRamStart + (ram_size - low), kPciHighAlignment)};
}
/// The wire (0 to 3) of a device's pin (0: INTA# to 3), as pci::pirq_of() has it.
constexpr u8 pci_wire(unsigned device, unsigned pin) {
  return static_cast<u8>((device + pin + 3) & 3);
}

/// The I/O APIC's id: the first that no processor has (MP specification 1.4 §3.6.6). Processors' ids are 0 to
/// n-1.
constexpr u8 io_apic_id(u32 cpu_count) {
  return static_cast<u8>(cpu_count < 0xff ? cpu_count : 0);
}

}  // namespace vellum::layout

namespace vellum {

/// INT 15h, E820h's types (ACPI 6.4 table 15.4); PVH and multiboot use the same numbers.
enum class MemoryType : u32 { kUsable = 1, kReserved = 2, kAcpi = 3, kAcpiNvs = 4 };

struct MemoryMapEntry {
  GuestPhysRange range;
  MemoryType type = MemoryType::kUsable;
};

/// The memory map the firmware reports: ascending, disjoint.
std::vector<MemoryMapEntry> build_memory_map(const GuestRam& ram);

}  // namespace vellum
