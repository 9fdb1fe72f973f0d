#include "core/circuit_breaker.h"

#include <algorithm>

namespace alerting {

CircuitBreaker CircuitBreaker::Opened(Micros next_probe) {
  CircuitBreaker breaker;
  breaker.open_ = true;
  breaker.failures_ = kFailuresToOpen;
  breaker.pause_ = kFirstPause;
  breaker.next_probe_ = next_probe;
  return breaker;
}

bool CircuitBreaker::Allows(Micros now) const {
  return !open_ || (!probing_ && now >= next_probe_);
}

bool CircuitBreaker::Start() {
  if (!open_) return false;
  probing_ = true;
  return true;
}

void CircuitBreaker::RecordSuccess() { *this = CircuitBreaker(); }

void CircuitBreaker::RecordFailure(Micros now, bool probe) {
  if (!open_) {
    if (++failures_ < kFailuresToOpen) return;
    open_ = true;
    pause_ = kFirstPause;
  } else {
    if (!probe) return;
    probing_ = false;
    pause_ = std::min(2 * pause_, kLongestPause);
  }
  next_probe_ = AddTime(now, pause_);
}

void CircuitBreaker::Withdraw(Micros now, bool probe) {
  if (!open_ || !probe) return;
  probing_ = false;
  next_probe_ = now;
}

Micros CircuitBreaker::NextProbe() const {
  if (!open_) return kNoTime;
  return probing_ ? kNever : next_probe_;
}

}  // namespace alerting
