// What a vCPU and a DMA-capable device see of the machine: RAM, memory-mapped devices, ports.
#pragma once

#include <algorithm>
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

  /// Copies guest-physical bytes, memory only (loaders, DMA, tables). False if any of it is a device's;
  /// nothing is copied.
  bool read(GuestPhys from, std::span<u8> to) const {
    const auto source = ram.bytes(from, to.size());
    if (source.size() != to.size())
      return by_pages(from, to.size(), Pmap::Direction::kRead, to.data(), nullptr);
    guest_copy(to.data(), source.data(), to.size());
    return true;
  }
  /// As read(). Invalidates code that the store hit. Read-only memory is not memory here.
  bool write(GuestPhys to, std::span<const u8> from) const {
    const auto target = ram.bytes(to, from.size());
    if (target.size() != from.size())
      return by_pages(to, from.size(), Pmap::Direction::kWrite, nullptr, from.data());
    guest_copy(target.data(), from.data(), from.size());
    ram.note_store(to, from.size());
    return true;
  }

 private:
  // What does not lie in one piece: memory that is not RAM, or looks different for reads and writes.
  bool by_pages(GuestPhys start, u64 size, Pmap::Direction direction, u8* to, const u8* from) const {
    const auto host = [&](GuestPhys a) {
      return direction == Pmap::Direction::kRead ? ram.host(a) : ram.store_host(a);
    };
    if (start.value + size < start.value) return false;
    for (u64 at = start.page_base().value; at < start.value + size; at += kPageSize)
      if (host(GuestPhys(at)) == nullptr) return false;
    for (u64 done = 0; done < size;) {
      const GuestPhys at = start + done;
      const u64 here = std::min(size - done, kPageSize - at.page_offset());
      u8* const page = host(at);
      if (page == nullptr) return false;  // it was unmapped meanwhile
      guest_copy(to != nullptr ? to + done : page, to != nullptr ? page : from + done, here);
      if (to == nullptr) ram.note_store(at, here);
      done += here;
    }
    return true;
  }
};

}  // namespace vellum
