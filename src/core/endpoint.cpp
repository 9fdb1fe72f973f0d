#include "core/endpoint.h"

#include <algorithm>

namespace alerting {

bool Endpoint::MakesWait(Micros now) const {
  return !started_.empty() && SubtractTime(now, started_.front()) > kPrompt;
}

bool Endpoint::IsProven(Micros now) const { return proven_ && !MakesWait(now); }

int Endpoint::Room(Micros now, int most) const {
  if (!breaker_.Allows(now) || now < paused_until_) return 0;
  const int window = breaker_.is_open() ? 1 : std::min(window_, most);
  return std::max(window - in_flight(), 0);
}

Endpoint::Ticket Endpoint::Start(Micros now) {
  started_.push_back(now);
  return {now, breaker_.Start()};
}

void Endpoint::Remove(const Ticket& ticket) {
  const auto found = std::find(started_.begin(), started_.end(), ticket.started_at);
  if (found != started_.end()) started_.erase(found);
}

void Endpoint::Finish(const Ticket& ticket, bool success, Micros now, bool tidy) {
  Remove(ticket);
  pause_ = 0;
  paused_until_ = kNoTime;
  if (!success) {
    breaker_.RecordFailure(now, ticket.probe);
    proven_ = false;
    window_ = 1;
    return;
  }
  breaker_.RecordSuccess();
  if (!tidy) {
    proven_ = false;
    window_ = 1;
    return;
  }
  proven_ = SubtractTime(now, ticket.started_at) <= kPrompt;
  constexpr int kWidest = 1 << 20;  // Room() has the last word
  window_ = std::min(window_ * 2, proven_ ? kWidest : kSlowWindow);
}

Micros Endpoint::FailHere(const Ticket& ticket, Micros now) {
  Remove(ticket);
  breaker_.Withdraw(now, ticket.probe);
  window_ = 1;
  if (now >= paused_until_) {  // else it was under way when the pause began
    pause_ = pause_ == 0 ? kFirstPause : std::min(2 * pause_, kLongestPause);
    paused_until_ = AddTime(now, pause_);
  }
  return paused_until_;
}

Micros Endpoint::NotBefore(Micros now) const {
  return std::max(breaker_.NextProbe(), now < paused_until_ ? paused_until_ : kNoTime);
}

void Endpoint::Suspend(Micros next_probe) { breaker_ = CircuitBreaker::Opened(next_probe); }

void Endpoint::PutBack(Micros by) {
  breaker_.PutBack(by);
  paused_until_ = SubtractTime(paused_until_, by);
  for (Micros& started : started_) started = SubtractTime(started, by);
}

void Endpoint::Forgive() {
  breaker_ = CircuitBreaker();
  proven_ = false;
  window_ = 1;
}

}  // namespace alerting
