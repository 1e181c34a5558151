// What a vCPU and a DMA-capable device see of the machine: RAM, memory-mapped devices, ports.
#pragma once

#include <cstring>
#include <span>

#include "memory/bus.hpp"
#include "memory/guest_access.hpp"
#include "memory/guest_ram.hpp"

namespace vellum {

struct AddressSpace {
  GuestRam& ram;
  Bus& mmio;
  Bus& ports;

  /// Copies guest-physical bytes, RAM only (loaders, DMA, tables). False if any of it is not RAM; nothing is
  /// copied.
  bool read(GuestPhys from, std::span<u8> to) const {
    const auto source = ram.bytes(from, to.size());
    if (source.size() != to.size()) return false;
    guest_copy(to.data(), source.data(), to.size());
    return true;
  }
  /// As read(). Invalidates code that the store hit.
  bool write(GuestPhys to, std::span<const u8> from) const {
    const auto target = ram.bytes(to, from.size());
    if (target.size() != from.size()) return false;
    guest_copy(target.data(), from.data(), from.size());
    ram.note_store(to, from.size());
    return true;
  }
};

}  // namespace vellum
