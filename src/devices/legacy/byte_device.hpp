// A device whose registers are bytes: wider accesses are that many byte accesses, lowest first, as the ISA
// bus splits them.
#pragma once

#include "memory/bus.hpp"

namespace vellum {

class ByteDevice : public BusDevice {
 public:
  u64 read(u64 offset, unsigned size) final {
    u64 value = 0;
    for (unsigned i = 0; i < size; ++i) value |= u64{read_byte(offset + i)} << (8 * i);
    return value;
  }
  void write(u64 offset, unsigned size, u64 value) final {
    for (unsigned i = 0; i < size; ++i) write_byte(offset + i, static_cast<u8>(value >> (8 * i)));
  }

 protected:
  virtual u8 read_byte(u64 offset) = 0;
  /// GUEST-CONTROLLED: `value`.
  virtual void write_byte(u64 offset, u8 value) = 0;
};

}  // namespace vellum
