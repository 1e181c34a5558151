// A ring of descriptors, as its registers say: the card's are those from head up to tail.
#pragma once

#include "base/address.hpp"
#include "devices/e1000/register_file.hpp"
#include "memory/dma_view.hpp"

namespace vellum::e1000 {

/// GUEST-CONTROLLED: all of it. A head or a tail outside of the ring makes it one without descriptors.
class Ring {
 public:
  /// `base`: of its registers.
  Ring(const RegisterFile& registers, u32 base)
      : address_(registers.get(base) | u64{registers.get(base + kRingBaseHigh)} << 32),
        count_(registers.get(base + kRingLength) / kDescriptorSize),
        head_(registers.get(base + kRingHead)),
        tail_(registers.get(base + kRingTail)) {}

  u32 count() const { return count_; }
  u32 head() const { return head_; }
  /// Descriptors that are the card's.
  u32 available() const {
    if (head_ >= count_ || tail_ >= count_) return 0;
    return tail_ >= head_ ? tail_ - head_ : count_ - head_ + tail_;
  }
  GuestPhys descriptor() const { return GuestPhys(address_ + u64{head_} * kDescriptorSize); }
  /// The one at the head is done.
  void advance() { head_ = head_ + 1 == count_ ? 0 : head_ + 1; }

 private:
  u64 address_;
  u32 count_, head_, tail_;
};

/// Stores a part of a descriptor in one go: a driver that sees one bit of it sees all.
template <class T>
void store_in(const DmaView& dma, GuestPhys at, T value) {
  const auto bytes = dma.bytes(at, sizeof value);
  if (bytes.empty()) return;
  guest_store<T>(bytes.data(), value);
  dma.wrote(at, sizeof value);
}

}  // namespace vellum::e1000
