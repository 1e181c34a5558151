// The machine's time as saved state. Device states hold guest times, so a restored clock goes on where the
// saved one stood.
#pragma once

#include "base/clock.hpp"
#include "base/snapshot.hpp"

namespace vellum {

struct ClockState {
  static constexpr std::string_view kKind = "clock";
  static constexpr u32 kVersion = 1;
  bool is_virtual = false;
  u64 now_ns = 0;
  u64 tsc = 0;
  u64 wall_start = 0;  ///< virtual: seconds since the epoch when now_ns was 0

  static ClockState of(const Clock& clock) {
    const u64 now = clock.now_ns();
    return {clock.is_virtual(), now, clock.tsc(),
            clock.is_virtual() ? clock.wall_time().seconds - now / VirtualClock::kHz : 0};
  }
  template <class V>
  void visit(V& v) {
    v(is_virtual), v(now_ns), v(tsc), v(wall_start);
  }
};

}  // namespace vellum
