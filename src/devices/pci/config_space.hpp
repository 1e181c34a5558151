// A function's 256 configuration bytes, each with the bits that software can write and those that it clears
// by writing 1. Described by data: what a register does beyond being stored is its function's business.
#pragma once

#include <array>
#include <span>

#include "devices/pci/registers.hpp"

namespace vellum::pci {

class ConfigSpace {
 public:
  /// Places a little-endian field of `size` bytes. `writable` and `clearable`: its bits of either kind.
  void define(unsigned offset, unsigned size, u64 value, u64 writable = 0, u64 clearable = 0);

  /// `offset` + `size` <= 256.
  u32 get(unsigned offset, unsigned size) const;
  /// Sets bits whatever software may write.
  void put(unsigned offset, unsigned size, u64 value);

  /// GUEST-CONTROLLED: `value`. As software writes it.
  void write(unsigned offset, unsigned size, u32 value);

  std::span<const u8, kConfigSize> bytes() const { return value_; }
  /// Takes what software can have changed from `saved`, and of the rest nothing. Untrusted.
  void restore(std::span<const u8, kConfigSize> saved);

 private:
  std::array<u8, kConfigSize> value_{}, writable_{}, clearable_{};
};

}  // namespace vellum::pci
