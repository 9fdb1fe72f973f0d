// The one notion of time of the core: microseconds since 2000-01-01 00:00 UTC, which is
// PostgreSQL's timestamptz. The core reads no clock; times are arguments.
#ifndef ALERTING_CORE_TIME_H_
#define ALERTING_CORE_TIME_H_

#include <cstdint>
#include <limits>

namespace alerting {

using Micros = int64_t;

inline constexpr Micros kMillisecond = 1'000;
inline constexpr Micros kSecond = 1'000'000;
inline constexpr Micros kMinute = 60 * kSecond;
inline constexpr Micros kHour = 60 * kMinute;

// "No such time" (before all times) and "never" (after all times).
inline constexpr Micros kNoTime = std::numeric_limits<Micros>::min();
inline constexpr Micros kNever = std::numeric_limits<Micros>::max();

// Additions that stop at kNoTime and kNever instead of overflowing.
constexpr Micros AddTime(Micros a, Micros b) {
  Micros sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) return b > 0 ? kNever : kNoTime;
  return sum;
}
constexpr Micros SubtractTime(Micros a, Micros b) {
  Micros difference = 0;
  if (__builtin_sub_overflow(a, b, &difference)) return b > 0 ? kNoTime : kNever;
  return difference;
}

}  // namespace alerting

#endif  // ALERTING_CORE_TIME_H_
