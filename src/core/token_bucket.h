// How many requests a minute a webhook's endpoint is sent at most. Lives in the sender's memory,
// one per webhook; pure. A restart fills it, so that it lets one second's worth more through.
//
// Invariant: in any span of time no more than Burst() + rate x span requests are let through.
#ifndef ALERTING_CORE_TOKEN_BUCKET_H_
#define ALERTING_CORE_TOKEN_BUCKET_H_

#include "core/time.h"

namespace alerting {

class TokenBucket {
 public:
  // Requests a minute; 0: no limit. A change keeps what was spent.
  void SetRate(int per_minute);

  bool Allows(Micros now) const { return NextAt(now) <= now; }
  // A request that Allows() let through starts.
  void Take(Micros now);
  // When the next request may start; `now` or earlier: at once.
  Micros NextAt(Micros now) const;
  // Nothing is spent: forgetting the bucket lets no more through.
  bool IsFull(Micros now) const;

 private:
  Micros Interval() const { return kMinute / per_minute_; }
  // Requests that may start at once: what a second brings, but one at least.
  int Burst() const { return per_minute_ < 120 ? 1 : per_minute_ / 60; }
  Micros PaidUntil(Micros now) const;

  int per_minute_ = 0;
  Micros paid_until_ = kNoTime;  // an interval for each request, one after another
};

}  // namespace alerting

#endif  // ALERTING_CORE_TOKEN_BUCKET_H_
