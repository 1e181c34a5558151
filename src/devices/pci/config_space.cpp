#include "devices/pci/config_space.hpp"

#include "base/assert.hpp"

namespace vellum::pci {

void ConfigSpace::define(unsigned offset, unsigned size, u64 value, u64 writable, u64 clearable) {
  VELLUM_ASSERT(offset + size <= kConfigSize, "{}+{}", offset, size);
  for (unsigned i = 0; i < size; ++i) {
    value_[offset + i] = static_cast<u8>(value >> (8 * i));
    writable_[offset + i] = static_cast<u8>(writable >> (8 * i));
    clearable_[offset + i] = static_cast<u8>(clearable >> (8 * i));
  }
}

u32 ConfigSpace::get(unsigned offset, unsigned size) const {
  VELLUM_ASSERT(offset + size <= kConfigSize, "{}+{}", offset, size);
  u32 value = 0;
  for (unsigned i = 0; i < size; ++i) value |= u32{value_[offset + i]} << (8 * i);
  return value;
}

void ConfigSpace::put(unsigned offset, unsigned size, u64 value) {
  VELLUM_ASSERT(offset + size <= kConfigSize, "{}+{}", offset, size);
  for (unsigned i = 0; i < size; ++i) value_[offset + i] = static_cast<u8>(value >> (8 * i));
}

void ConfigSpace::write(unsigned offset, unsigned size, u32 value) {
  VELLUM_ASSERT(offset + size <= kConfigSize, "{}+{}", offset, size);
  for (unsigned i = 0; i < size; ++i) {
    u8& byte = value_[offset + i];
    const u8 written = static_cast<u8>(value >> (8 * i));
    const u8 writable = writable_[offset + i];
    byte = static_cast<u8>((byte & ~writable) | (written & writable));
    byte = static_cast<u8>(byte & ~(written & clearable_[offset + i]));
  }
}

void ConfigSpace::restore(std::span<const u8, kConfigSize> saved) {
  for (unsigned i = 0; i < kConfigSize; ++i) {
    const u8 mutable_bits = writable_[i] | clearable_[i];
    value_[i] = static_cast<u8>((value_[i] & ~mutable_bits) | (saved[i] & mutable_bits));
  }
}

}  // namespace vellum::pci
