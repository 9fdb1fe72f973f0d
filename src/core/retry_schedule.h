// When a failed delivery is tried again. Used by the sender; pure.
//
// A schedule lists the pause before each retry: a delivery is tried once at its time and once after
// each pause; when the list is at its end, the delivery is parked.
#ifndef ALERTING_CORE_RETRY_SCHEDULE_H_
#define ALERTING_CORE_RETRY_SCHEDULE_H_

#include <optional>
#include <span>

#include "core/time.h"

namespace alerting {

// A tenth of the pauses at most is added at random, so that retries of one outage spread out.
inline constexpr double kMaxJitter = 0.1;

// 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h: the Standard Webhooks recommendation.
std::span<const Micros> DefaultRetrySchedule();

// The pause after the `failures`-th failed try (1 for the first); nullopt: no retry is left.
// `random` in [0, 1) chooses the jitter.
std::optional<Micros> PauseAfterFailure(std::span<const Micros> schedule, int failures,
                                        double random);

// All pauses that a delivery with `failures` failed tries may still wait, one after another.
Micros RemainingPauses(std::span<const Micros> schedule, int failures);

}  // namespace alerting

#endif  // ALERTING_CORE_RETRY_SCHEDULE_H_
