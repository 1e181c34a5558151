// A part of a device's registers as a bus device of its own, for devices whose ports lie apart (an 8259 at
// 0x20, 0xa0 and 0x4d0).
#pragma once

#include "memory/bus.hpp"

namespace vellum {

class PortView final : public BusDevice {
 public:
  /// Offset 0 of the view is offset `first` of `device`, which must outlive it.
  PortView(BusDevice& device, u64 first) : device_(device), first_(first) {}
  u64 read(u64 offset, unsigned size) override { return device_.read(first_ + offset, size); }
  void write(u64 offset, unsigned size, u64 value) override { device_.write(first_ + offset, size, value); }

 private:
  BusDevice& device_;
  u64 first_;
};

}  // namespace vellum
