#include "devices/legacy/rtc_time.hpp"

#include <chrono>

namespace vellum {

using namespace std::chrono;

RtcTime rtc_time_of(i64 epoch_seconds) {
  const sys_seconds when{seconds{epoch_seconds}};
  const sys_days date = floor<days>(when);
  const year_month_day ymd{date};
  const hh_mm_ss clock{when - date};
  RtcTime t;
  t.year = static_cast<int>(ymd.year());
  t.month = static_cast<unsigned>(ymd.month());
  t.day = static_cast<unsigned>(ymd.day());
  t.hour = static_cast<unsigned>(clock.hours().count());
  t.minute = static_cast<unsigned>(clock.minutes().count());
  t.second = static_cast<unsigned>(clock.seconds().count());
  t.weekday = weekday{date}.c_encoding() + 1;
  return t;
}

i64 epoch_seconds_of(const RtcTime& t) {
  const year_month_day first{year{static_cast<int>(t.year)}, month{t.month}, day{1}};
  const i64 days_to_first = sys_days{first}.time_since_epoch().count();
  return (days_to_first + static_cast<i64>(t.day) - 1) * 86'400 + i64{t.hour} * 3600 + i64{t.minute} * 60 +
         t.second;
}

}  // namespace vellum
