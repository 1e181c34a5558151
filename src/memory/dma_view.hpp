// What a device sees of guest memory: RAM, by guest-physical address, and only while it may be a bus master.
//
// Threads: any. A device's store tells GuestRam, so that code which it hits is decoded again
// (docs/design/self-modifying-code.md).
#pragma once

#include <atomic>
#include <span>

#include "memory/guest_access.hpp"
#include "memory/guest_ram.hpp"

namespace vellum {

class DmaView {
 public:
  /// `enabled`: whether the device may access memory (PCI's bus master bit), or null: always. Both outlive
  /// the view.
  explicit DmaView(GuestRam& ram, const std::atomic<bool>* enabled = nullptr)
      : ram_(&ram), enabled_(enabled) {}

  bool enabled() const { return enabled_ == nullptr || enabled_->load(std::memory_order_relaxed); }

  /// GUEST-CONTROLLED: `from`. The host bytes of [from, from + size), or an empty span if any of it is not
  /// RAM, if size is 0 or if the device may not access memory. Whoever stores there calls wrote() after.
  std::span<u8> bytes(GuestPhys from, u64 size) const {
    return enabled() ? ram_->bytes(from, size) : std::span<u8>();
  }
  /// Bytes within what bytes() returned were stored.
  void wrote(GuestPhys at, u64 size) const { ram_->note_store(at, size); }

  /// False if any of it is not RAM; nothing is copied then.
  bool read(GuestPhys from, std::span<u8> to) const {
    const auto source = bytes(from, to.size());
    if (source.size() != to.size()) return false;
    guest_copy(to.data(), source.data(), to.size());
    return true;
  }
  bool write(GuestPhys to, std::span<const u8> from) const {
    const auto target = bytes(to, from.size());
    if (target.size() != from.size()) return false;
    guest_copy(target.data(), from.data(), from.size());
    wrote(to, from.size());
    return true;
  }

  GuestRam& ram() const { return *ram_; }

 private:
  GuestRam* ram_;
  const std::atomic<bool>* enabled_;
};

}  // namespace vellum
