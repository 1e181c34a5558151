// What the bootstrap processor's registers hold when the kernel's first instruction runs, and what firmware
// leaves in the model-specific registers of every processor.
//
// This library stands below src/cpu, so it describes the registers itself; apply_to() takes a VcpuState.
#pragma once

#include <array>

#include "base/address.hpp"
#include "x86/registers.hpp"
#include "x86/segment.hpp"

namespace vellum {

struct EntryState {
  std::array<u64, 16> gpr{};
  u64 rip = 0;
  u64 rflags = x86::rflags::kFixed1;  // interrupts off: every protocol here asks for it
  std::array<x86::Segment, x86::kSegCount> seg{};
  x86::Segment tr;
  x86::DescriptorTable gdtr;
  u64 cr0 = 0, cr3 = 0, cr4 = 0;
  u64 efer = 0;

  /// `state`: a VcpuState fresh from reset_state(true).
  template <class State>
  void apply_to(State& state) const {
    state.gpr = gpr;
    state.rip = rip;
    state.rflags = rflags;
    state.seg = seg;
    state.tr = tr;
    state.ldtr = {};
    state.gdtr = gdtr;
    state.idtr = {};
    state.cr0 = cr0;
    state.cr3 = cr3;
    state.cr4 = cr4;
    state.msr.efer = efer;
    state.cpl = 0;
  }
};

/// The boot GDT's selectors: the Linux boot protocol's __BOOT_CS and __BOOT_DS, then a task segment.
inline constexpr u16 kBootCs = 0x10, kBootDs = 0x18, kBootTss = 0x20;
inline constexpr u64 kBootGdtSize = 48;  ///< two null descriptors, code, data, a 16-byte task segment

/// The GDT's contents; its code descriptor is of 64-bit code or 32-bit.
std::array<u64, kBootGdtSize / 8> boot_gdt(bool long_mode);

/// Flat 32-bit protected mode without paging (PVH, Linux's 32-bit protocol, multiboot). `gdt`: where
/// boot_gdt(false) lies, `entry`: the first instruction.
EntryState protected_mode_entry(GuestPhys gdt, u64 entry);

/// 64-bit mode, flat. `gdt`: where boot_gdt(true) lies, `pml4`: the root of page tables.
EntryState long_mode_entry(GuestPhys gdt, GuestPhys pml4, u64 entry);

/// Page tables that map the first 4 GiB to themselves with 2 MiB pages: PML4, page-directory-pointer table
/// and four page directories, in six consecutive pages that shall lie at `at` (SDM vol. 3A §4.5).
inline constexpr u64 kIdentityTablePages = 6;
std::array<u64, kIdentityTablePages * 512> identity_page_tables(GuestPhys at);

/// What a PC's firmware leaves in the MTRRs of every processor (SDM vol. 3A §11.11): write-back by default,
/// the video hole and everything from 3 GiB to 4 GiB uncached. `msr`: a MsrState.
template <class Msr>
void apply_firmware_mtrrs(Msr& msr, unsigned physical_bits) {
  constexpr u64 kWriteBack = 0x0606060606060606;
  msr.mtrr_fixed.fill(kWriteBack);
  msr.mtrr_fixed[2] = 0;  // IA32_MTRR_FIX16K_A0000: uncached
  msr.mtrr_variable.fill(0);
  msr.mtrr_variable[0] = 0xc0000000;  // type 0: uncached
  msr.mtrr_variable[1] = (low_mask(physical_bits) & ~u64{0x3fffffff}) | bit(11);
  msr.mtrr_def_type = bit(11) | bit(10) | 6;
}

}  // namespace vellum
