// Where the output of a device goes that works on the event loop, and so must not wait for a reader.
#pragma once

#include <span>

#include "base/int.hpp"

namespace vellum {

class PacedSink {
 public:
  virtual ~PacedSink() = default;
  /// Takes all of it. Waits for the reader if there was no room.
  virtual void write(std::span<const u8> bytes) = 0;
  /// Whether the reader keeps up. After a no the device is told when it does again.
  virtual bool has_room() = 0;
};

}  // namespace vellum
