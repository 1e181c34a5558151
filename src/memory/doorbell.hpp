// Doorbells: places on a bus where a write says no more than that it was made, as a virtqueue's notification.
// An engine may answer one by itself, so that the write is no exit; the ring then arrives on the event loop.
// Writes that the engine does not answer reach the device as any other: each way is complete without the
// other.
#pragma once

#include <functional>
#include <optional>

#include "base/int.hpp"

namespace vellum {

struct DoorbellPlace {
  u64 address = 0;           ///< in its bus's space
  unsigned size = 0;         ///< bytes of the write; others are not the doorbell's
  std::optional<u32> value;  ///< nor are other values; nothing: all are
  bool operator==(const DoorbellPlace&) const = default;
};

class DoorbellTaker {
 public:
  virtual ~DoorbellTaker() = default;
  /// Returns the bell's number; it is nowhere yet. `ring` runs on the event loop's thread. While the board is
  /// built.
  virtual unsigned add(std::function<void()> ring) = 0;
  /// GUEST-CONTROLLED: where. No two bells are at the same place at a time. A ring from before the move may
  /// arrive after it. Any thread; device locks may be held.
  virtual void move(unsigned bell, const std::optional<DoorbellPlace>& place) = 0;
};

}  // namespace vellum
