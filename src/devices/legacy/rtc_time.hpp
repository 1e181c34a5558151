// Calendar arithmetic for the RTC: seconds since 1970-01-01T00:00:00Z to and from its registers' fields, and
// times to the nanosecond.
#pragma once

#include "base/int.hpp"
#include "devices/legacy/ticks.hpp"

namespace vellum {

/// A time, or the distance of two, of any sign: `seconds` + `ns` nanoseconds. Sums wrap around.
struct RtcSpan {
  i64 seconds = 0;
  u32 ns = 0;  ///< below 10^9

  bool operator==(const RtcSpan&) const = default;
};

constexpr RtcSpan span_of_ns(u64 ns) {
  return {static_cast<i64>(ns / kNsPerSecond), static_cast<u32>(ns % kNsPerSecond)};
}
constexpr RtcSpan operator+(RtcSpan a, RtcSpan b) {
  const u64 ns = u64{a.ns} + b.ns;
  const u64 seconds = static_cast<u64>(a.seconds) + static_cast<u64>(b.seconds) + ns / kNsPerSecond;
  return {static_cast<i64>(seconds), static_cast<u32>(ns % kNsPerSecond)};
}
constexpr RtcSpan operator-(RtcSpan a, RtcSpan b) {
  const u64 ns = kNsPerSecond + a.ns - b.ns;
  const u64 seconds = static_cast<u64>(a.seconds) - static_cast<u64>(b.seconds) + ns / kNsPerSecond - 1;
  return {static_cast<i64>(seconds), static_cast<u32>(ns % kNsPerSecond)};
}

struct RtcTime {
  i64 year = 1970;
  unsigned month = 1;  ///< 1 to 12
  unsigned day = 1;    ///< 1 to 31
  unsigned hour = 0, minute = 0, second = 0;
  unsigned weekday = 5;  ///< 1 (Sunday) to 7

  bool operator==(const RtcTime&) const = default;
};

RtcTime rtc_time_of(i64 epoch_seconds);

/// Fields beyond their range carry over: February 31st is March 3rd or 2nd. The month must be 1 to 12;
/// `weekday` is not looked at.
i64 epoch_seconds_of(const RtcTime& time);

}  // namespace vellum
