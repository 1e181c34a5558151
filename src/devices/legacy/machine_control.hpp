// What a guest may ask of the machine through a device's register. Called on a vCPU's thread without any
// device's lock; implementations only note the wish (and stop the vCPUs), they don't tear anything down in
// place.
#pragma once

#include "base/int.hpp"

namespace vellum {

class MachineControl {
 public:
  virtual ~MachineControl() = default;
  virtual void power_off() = 0;
  virtual void reset() = 0;
  /// GUEST-CONTROLLED: the value written to the debug-exit port. Exit status (value << 1) | 1.
  virtual void debug_exit(u32 value) = 0;
};

}  // namespace vellum
