// Logging (spdlog) to standard error, and a limiter for messages that a guest can provoke.
#pragma once

#include <spdlog/spdlog.h>

#include <atomic>

#include "base/int.hpp"

namespace vellum {

/// Sends the log to standard error as "vellum: level: text". Call once, before threads start.
void init_logging(spdlog::level::level_enum level);

/// Lets the first `kBurst` messages of one call site through, then only every 2^k-th, so that a hostile guest
/// can't fill a disk. Thread-safe.
class RateLimit {
 public:
  bool allow() {
    const u64 n = count_.fetch_add(1, std::memory_order_relaxed) + 1;
    return n <= kBurst || (n & (n - 1)) == 0;
  }
  u64 count() const { return count_.load(std::memory_order_relaxed); }

 private:
  static constexpr u64 kBurst = 8;
  std::atomic<u64> count_{0};
};

}  // namespace vellum

/// Logs a warning about something the guest did; rate-limited for each call site.
#define VELLUM_WARN_GUEST(...)                                  \
  do {                                                          \
    static ::vellum::RateLimit vellum_rate_limit;               \
    if (vellum_rate_limit.allow()) ::spdlog::warn(__VA_ARGS__); \
  } while (false)
