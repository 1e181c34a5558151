// Where a character device's output goes.
#pragma once

#include <span>

#include "base/int.hpp"

namespace vellum {

class ByteSink {
 public:
  virtual ~ByteSink() = default;
  /// Any thread, under the device's lock: must not call back into the device, and must not wait for another
  /// thread.
  virtual void write(std::span<const u8> bytes) = 0;
};

}  // namespace vellum
