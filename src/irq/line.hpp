// Interrupt signals between devices and controllers.
#pragma once

#include "base/int.hpp"

namespace vellum {

/// A level-sensitive wire from a device to an interrupt controller. Any thread; the device may hold its own
/// lock (lock order: device, I/O APIC or PIC, local APIC).
class InterruptLine {
 public:
  virtual ~InterruptLine() = default;
  virtual void set(bool asserted) = 0;
  /// An edge: asserted, then released.
  void pulse() {
    set(true);
    set(false);
  }
};

/// A message-signalled interrupt: a 32-bit write into the APICs' address range (SDM vol. 3A §11.11).
struct MsiMessage {
  u64 address = 0;
  u32 data = 0;
};

class MsiSink {
 public:
  virtual ~MsiSink() = default;
  virtual void deliver(const MsiMessage& message) = 0;
};

}  // namespace vellum
