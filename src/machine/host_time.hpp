// Host time, for statistics. What a guest sees comes from its Clock.
#pragma once

#include <chrono>

#include "base/int.hpp"

namespace vellum {

inline u64 host_ns() {
  return static_cast<u64>(std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1));
}

}  // namespace vellum
