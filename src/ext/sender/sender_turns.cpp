// Which webhook's request starts next, and which webhooks need to be looked at at all. See
// ext/sender/sender.h.
//
// Invariant: what a step costs grows with the requests under way and with the webhooks that have
// something to do now, not with those that wait: for a place, for a time or for a probe.
#include <algorithm>

#include "ext/sender/sender.h"

namespace alerting::ext {

namespace {

bool MayBeAsked(const WebhookQueue& queue, Micros now) {
  return queue.rate.Allows(now) && queue.endpoint.Room(now, queue.most) > 0;
}

}  // namespace

Sender::Unproven Sender::CountUnproven(Micros now) const {
  Unproven unproven;
  for (const auto& [tag, attempt] : in_flight_) {
    if (attempt.queue->endpoint.IsProven(now)) continue;
    ++unproven.all;
    ++unproven.by_organization[attempt.queue->organization];
  }
  return unproven;
}

// One that has proven itself and one that has not in turn, so that neither waits for all of the
// others.
void Sender::StartReady() {
  HandOverRequests();  // which an error kept from it
  if (held_ || (turns_.empty() && waiting_.empty())) return;
  if (outcomes_.size() >= kMostUnrecorded) return;
  const Micros now = GetCurrentTimestamp();
  const auto most = static_cast<size_t>(MostRequests());
  std::optional<Unproven> unproven;
  bool proven = true, waiting = true;
  while (in_flight_.size() < most && (proven || waiting)) {
    proven = StartProven(now);
    waiting = in_flight_.size() < most && StartWaiting(now, &unproven);
    if (made_.size() >= kStartedAtOnce) HandOverRequests();
  }
  HandOverRequests();
}

// False: none of turns_ may start.
bool Sender::StartProven(Micros now) {
  while (!turns_.empty()) {
    WebhookQueue* queue = turns_.Take();
    queue->turn = WebhookQueue::Turn::kNone;
    if (queue->ready.empty() || !MayBeAsked(*queue, now)) continue;
    if (!queue->endpoint.IsProven(now)) {
      queue->turn = WebhookQueue::Turn::kWaiting;
      waiting_.Add(queue->organization, queue);
      continue;
    }
    StartRequest(queue, now);
    JoinTurns(queue);
    return true;
  }
  return false;
}

// Endpoints that have not proven themselves share three quarters of all requests, so that those
// which answer always find a place. Of what is free of that share an organization may have half, so
// that the next one finds a place too, however many webhooks the first has. False: none may start.
bool Sender::StartWaiting(Micros now, std::optional<Unproven>* counted) {
  if (waiting_.empty()) return false;
  if (!*counted) *counted = CountUnproven(now);
  Unproven* unproven = &**counted;
  const int free = std::max(MostRequests() * 3 / 4, 1) - unproven->all;
  if (free <= 0) return false;
  for (size_t passed = 0; passed < waiting_.groups();) {
    WebhookQueue* queue = waiting_.Next();
    int& of_organization = unproven->by_organization[queue->organization];
    const bool may_start = !queue->ready.empty() && MayBeAsked(*queue, now);
    if (may_start && of_organization >= free) {
      waiting_.PassOver();
      ++passed;
      continue;
    }
    (void)waiting_.Take();
    queue->turn = WebhookQueue::Turn::kNone;
    if (!may_start) {
      passed = 0;
      continue;
    }
    ++of_organization;
    ++unproven->all;
    StartRequest(queue, now);
    JoinTurns(queue);
    return true;
  }
  return false;
}

void Sender::JoinTurns(WebhookQueue* queue) {
  if (queue->turn != WebhookQueue::Turn::kNone || queue->ready.empty()) return;
  queue->turn = WebhookQueue::Turn::kNext;
  turns_.Add(queue->organization, queue);
}

void Sender::LeaveTurns(WebhookQueue* queue) {
  if (queue->turn == WebhookQueue::Turn::kNext) turns_.Remove(queue->organization, queue);
  if (queue->turn == WebhookQueue::Turn::kWaiting) waiting_.Remove(queue->organization, queue);
  queue->turn = WebhookQueue::Turn::kNone;
}

// Nothing but an answer, a look at the tables or what is handed over changes anything before.
std::optional<Micros> Sender::SleepsUntil(const WebhookQueue& queue, Micros now) const {
  const Endpoint& endpoint = queue.endpoint;
  const bool stays = endpoint.in_flight() > 0 || queue.unrecorded > 0 || queue.NeedsFetch(now) ||
                     endpoint.breaker().NextProbe() != queue.noted_probe ||
                     queue.IsForgettable(now);
  if (stays) return std::nullopt;
  const Micros probe = endpoint.NotBefore(now);
  if (queue.ready.empty()) return std::max(queue.next_due, probe);
  if (queue.turn == WebhookQueue::Turn::kNone) return std::max(probe, queue.rate.NextAt(now));
  const Micros due = std::max(queue.next_due, probe);
  return due > now ? due : kNever;
}

void Sender::WakeAll() {
  for (const auto& [id, queue] : queues_) {
    sleepers_.Wake(queue.get());
    JoinTurns(queue.get());
  }
}

}  // namespace alerting::ext
