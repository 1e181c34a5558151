// The driver's side of a virtqueue in guest RAM, split or packed, and a transport that counts.
#pragma once

#include <gtest/gtest.h>

#include "devices/virtio/device.hpp"

namespace vellum::test {

class CountingTransport final : public virtio::Transport {
 public:
  explicit CountingTransport(GuestRam& ram) : ram_(ram) {}
  void interrupt_queue(unsigned) override { ++queue_interrupts; }
  void interrupt_config() override { ++config_interrupts; }
  DmaView dma() override { return DmaView(ram_); }
  unsigned queue_interrupts = 0, config_interrupts = 0;

 private:
  GuestRam& ram_;
};

struct DescriptorSpec {
  u64 address = 0;
  u32 length = 0;
  bool write = false;
};

/// A ring whose areas lie from `at` on, in 64 KiB.
class Ring {
 public:
  Ring(GuestRam& ram, u64 at, u16 size, bool packed) : ram_(ram), packed_(packed) {
    state.size = size;
    state.ready = true;
    state.descriptors = at;
    state.driver = at + 0x4000;
    state.device = at + 0x8000;
  }
  template <class T>
  void put(u64 address, T value) {
    guest_store<T>(ram_.host(GuestPhys(address)), value);
  }
  template <class T>
  T get(u64 address) const {
    return guest_load<T>(ram_.host(GuestPhys(address)));
  }
  void descriptor(u64 table, unsigned index, const DescriptorSpec& d, u16 flags, u16 last) {
    const u64 at = table + 16 * index;
    put<u64>(at, d.address), put<u32>(at + 8, d.length);
    if (packed_) {
      put<u16>(at + 12, last), put<u16>(at + 14, flags);
    } else {
      put<u16>(at + 12, flags), put<u16>(at + 14, last);
    }
  }
  /// Makes a chain available; its id is that of its first descriptor.
  u16 add(std::initializer_list<DescriptorSpec> chain) {
    const u16 first = next_;
    unsigned left = static_cast<unsigned>(chain.size());
    for (const auto& d : chain) {
      const bool more = --left != 0;
      u16 flags = static_cast<u16>((more ? 1 : 0) | (d.write ? 2 : 0));
      const u16 index = next_;
      next_ = static_cast<u16>((next_ + 1) % state.size);
      if (packed_) flags |= wrap_ ? 0x80 : 0x8000;
      descriptor(state.descriptors, index, d, flags, packed_ ? first : next_);
      if (next_ == 0) wrap_ = !wrap_;
    }
    if (!packed_) offer(first);
    return first;
  }
  /// Split: puts a head into the available ring.
  void offer(u16 head) {
    const u16 index = get<u16>(state.driver + 2);
    put<u16>(state.driver + 4 + 2 * (index % state.size), head);
    put<u16>(state.driver + 2, static_cast<u16>(index + 1));
  }
  u16 used_index() const { return get<u16>(state.device + 2); }
  u32 used_id(unsigned n) const { return get<u32>(state.device + 4 + 8 * (n % state.size)); }
  u32 used_length(unsigned n) const {
    return packed_ ? get<u32>(state.descriptors + 16 * n + 8)
                   : get<u32>(state.device + 8 + 8 * (n % state.size));
  }

  virtio::QueueState state;

 private:
  GuestRam& ram_;
  bool packed_;
  u16 next_ = 0;
  bool wrap_ = true;
};

/// Sets a device up as a driver does.
inline void start(virtio::Device& device, u64 features, std::initializer_list<Ring*> rings) {
  device.set_status(virtio::kAcknowledge | virtio::kDriver);
  device.set_driver_features(features | virtio::kVersion1);
  device.set_status(virtio::kAcknowledge | virtio::kDriver | virtio::kFeaturesOk);
  unsigned n = 0;
  for (Ring* ring : rings) {
    device.change_queue(n++, [&](virtio::QueueState& q) { q = ring->state; });
  }
  device.set_status(virtio::kAcknowledge | virtio::kDriver | virtio::kFeaturesOk | virtio::kDriverOk);
}

}  // namespace vellum::test
