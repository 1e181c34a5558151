// What Linux's 32-bit and 64-bit boot protocols hand to the kernel: the "zero page", struct boot_params
// (Documentation/arch/x86/boot.rst, zero-page.rst).
#pragma once

#include <asm/bootparam.h>

#include <vector>

#include "boot/memory_map.hpp"

namespace vellum {

struct LinuxParameters {
  setup_header header{};
  GuestPhys load_address;
  GuestPhys command_line;
  GuestPhysRange initrd;  ///< size 0: none; below 4 GiB
  GuestPhys rsdp;
};

/// A header for a vmlinux, which carries none: as a bzImage of the newest protocol would have it.
setup_header vmlinux_header();

/// The zero page. Everything that only real-mode set-up code or a BIOS could know is zero: no video mode (the
/// kernel then looks for no VGA), no drives, no APM.
boot_params build_zero_page(const LinuxParameters& parameters, const std::vector<MemoryMapEntry>& map);

}  // namespace vellum
