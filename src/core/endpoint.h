// How many requests one webhook's endpoint may have under way, and when it may be asked again: a
// circuit breaker, and a window that opens with each success. Lives in the sender's memory; pure.
//
// Invariant: an endpoint that has not answered well the last time has at most one request under
// way, one that answers slowly at most kSlowWindow, so that bad ones cannot fill up what all share.
#ifndef ALERTING_CORE_ENDPOINT_H_
#define ALERTING_CORE_ENDPOINT_H_

#include <vector>

#include "core/circuit_breaker.h"
#include "core/time.h"

namespace alerting {

class Endpoint {
 public:
  // An answer within this time is prompt.
  static constexpr Micros kPrompt = kSecond;
  static constexpr int kSlowWindow = 4;
  // For how long no request starts after one that failed on this machine.
  static constexpr Micros kFirstPause = 5 * kSecond;
  static constexpr Micros kLongestPause = kMinute;

  struct Ticket {
    Micros started_at = kNoTime;
    bool probe = false;
  };

  // More requests that may start now, as far as this endpoint goes; `most` caps its window.
  int Room(Micros now, int most) const;
  Ticket Start(Micros now);
  // `tidy`: its answer ended by itself. One that has to be cut off costs as much as one that fails.
  void Finish(const Ticket& ticket, bool success, Micros now, bool tidy = true);

  // The request did not come out of this machine, which says nothing of the endpoint. Of the pause,
  // which doubles from one to the next, it gives the end.
  Micros FailHere(const Ticket& ticket, Micros now);

  // Starts anew: it is another endpoint now, or somebody has repaired it.
  void Forgive();

  // Starts with an open breaker: the endpoint failed before this process looked at it.
  void Suspend(Micros next_probe);

  // The clock was put back by so much; tickets have to be, too.
  void PutBack(Micros by);

  // Answered promptly and well the last time, and makes nobody wait now.
  bool IsProven(Micros now) const;
  int in_flight() const { return static_cast<int>(started_.size()); }
  const CircuitBreaker& breaker() const { return breaker_; }
  // The last request failed on this machine.
  bool FailsHere() const { return pause_ > 0; }
  // When a request may start; kNoTime: at any time; kNever: once the probe under way has ended.
  Micros NotBefore(Micros now) const;

 private:
  void Remove(const Ticket& ticket);
  bool MakesWait(Micros now) const;

  CircuitBreaker breaker_;
  bool proven_ = false;
  int window_ = 1;
  Micros pause_ = 0;  // 0: the last request left this machine
  Micros paused_until_ = kNoTime;
  std::vector<Micros> started_;  // of the requests under way, oldest first
};

}  // namespace alerting

#endif  // ALERTING_CORE_ENDPOINT_H_
