// Calendar arithmetic for the RTC: seconds since 1970-01-01T00:00:00Z to and from its registers' fields.
#pragma once

#include "base/int.hpp"

namespace vellum {

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
