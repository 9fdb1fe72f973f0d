// Reads a Retry-After header, which a hostile receiver may have written. Used by the sender; pure.
#ifndef ALERTING_CORE_RETRY_AFTER_H_
#define ALERTING_CORE_RETRY_AFTER_H_

#include <optional>
#include <string_view>

#include "core/time.h"

namespace alerting {

// No receiver can put a delivery off for longer.
inline constexpr Micros kMaxRetryAfter = 24 * kHour;

// The pause asked for, in [0, kMaxRetryAfter]: a number of seconds, or the time until an HTTP date
// in one of its three forms (RFC 9110, 5.6.7). nullopt: neither.
std::optional<Micros> ParseRetryAfter(std::string_view value, Micros now);

// The time of an HTTP date.
std::optional<Micros> ParseHttpDate(std::string_view text, Micros now);

}  // namespace alerting

#endif  // ALERTING_CORE_RETRY_AFTER_H_
