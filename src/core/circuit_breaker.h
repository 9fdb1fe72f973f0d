// Spares an endpoint that fails all the time: after kFailuresToOpen failures in a row requests
// stop, and after a pause that doubles from 10 s to 5 min one probe is let through. Lives in the
// sender's memory, one per webhook; pure.
#ifndef ALERTING_CORE_CIRCUIT_BREAKER_H_
#define ALERTING_CORE_CIRCUIT_BREAKER_H_

#include "core/time.h"

namespace alerting {

class CircuitBreaker {
 public:
  static constexpr int kFailuresToOpen = 10;
  static constexpr Micros kFirstPause = 10 * kSecond;
  static constexpr Micros kLongestPause = 5 * kMinute;

  // One that is open, with its first probe at this time.
  static CircuitBreaker Opened(Micros next_probe);

  // A request may start now. While open, that is one request (the probe) after each pause.
  bool Allows(Micros now) const;
  // A request that Allows() let through starts; true: it is a probe.
  bool Start();
  void RecordSuccess();
  // `probe`: what Start() returned. Requests started before the breaker opened change nothing more.
  void RecordFailure(Micros now, bool probe);
  // A request came to nothing that the endpoint had a part in: another one may test it.
  void Withdraw(Micros now, bool probe);

  // The clock was put back by so much.
  void PutBack(Micros by) { next_probe_ = SubtractTime(next_probe_, by); }

  bool is_open() const { return open_; }
  // When the next probe may start; kNoTime when closed, kNever while a probe is under way.
  Micros NextProbe() const;

 private:
  bool open_ = false;
  bool probing_ = false;
  int failures_ = 0;
  Micros pause_ = 0;
  Micros next_probe_ = kNoTime;
};

}  // namespace alerting

#endif  // ALERTING_CORE_CIRCUIT_BREAKER_H_
