// How long the evaluator lets be what it could not write or read. Evaluator.
#ifndef ALERTING_EXT_EVALUATOR_RETRY_PAUSE_H_
#define ALERTING_EXT_EVALUATOR_RETRY_PAUSE_H_

#include <algorithm>

#include "core/time.h"

namespace alerting::ext {

// After something was found locked, without having been waited for.
inline constexpr Micros kLockedPause = kSecond / 2;

// After an error; `failures` of the same have come before. `is_locked`: a lock was waited for in
// vain, which itself takes half of kLockedPause.
inline Micros PauseAfterFailure(bool is_locked, int failures) {
  constexpr Micros kLongestPause = kMinute;
  return is_locked ? kLockedPause << std::min(failures, 3)
                   : std::min(kLongestPause, kSecond << std::min(failures, 6));
}

}  // namespace alerting::ext

#endif  // ALERTING_EXT_EVALUATOR_RETRY_PAUSE_H_
