// What a BIOS does to PCI before an operating system starts, for kernels that are booted without one: gives
// every base address register a place, lets functions decode it, routes interrupts.
#pragma once

#include "devices/pci/bus.hpp"

namespace vellum::pci {

/// Where BARs may go. The 64-bit window is used for prefetchable 64-bit BARs only.
struct Windows {
  u64 memory_start = 0, memory_end = 0;
  u64 high_start = 0, high_end = 0;
  u64 ports_start = 0, ports_end = 0;
};

/// ISA IRQs for the four PIRQs, as SeaBIOS chooses them.
inline constexpr u8 kPirqIrqs[4] = {10, 10, 11, 11};

/// Fails when there is no room. `bus` has its ISA bridge.
Result<> assign_resources(Bus& bus, const Windows& windows);

}  // namespace vellum::pci
