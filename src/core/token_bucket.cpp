#include "core/token_bucket.h"

#include <algorithm>

namespace alerting {

void TokenBucket::SetRate(int per_minute) { per_minute_ = std::max(per_minute, 0); }

// No more than a burst ahead: the clock may have been put back, or the rate raised.
Micros TokenBucket::PaidUntil(Micros now) const {
  return std::min(paid_until_, AddTime(now, Burst() * Interval()));
}

Micros TokenBucket::NextAt(Micros now) const {
  if (per_minute_ == 0) return kNoTime;
  return SubtractTime(PaidUntil(now), (Burst() - 1) * Interval());
}

void TokenBucket::Take(Micros now) {
  if (per_minute_ == 0) return;
  paid_until_ = AddTime(std::max(PaidUntil(now), now), Interval());
}

bool TokenBucket::IsFull(Micros now) const { return per_minute_ == 0 || PaidUntil(now) <= now; }

}  // namespace alerting
