// What the sender has claimed: fetched and not yet recorded. See ext/sender/sender.h.
#include <string_view>

#include "ext/sender/sender.h"

namespace alerting::ext {

struct Sender::Claim {
  const WebhookQueue* queue;  // nullptr: it is to be looked up
  const std::string& webhook_id;
  const std::string& delivery_id;
  // Its place in the webhook's order.
  Micros due;
  int64_t sequence;

  static Claim Of(const WebhookQueue* queue, const PendingDelivery& delivery) {
    return {queue, queue->id, delivery.id, delivery.due, delivery.sequence};
  }
  static Claim Of(const Outcome& outcome) {
    return {nullptr, outcome.webhook_id, outcome.delivery_id, outcome.due, outcome.sequence};
  }
};

template <typename Visitor>
void Sender::VisitClaims(const Visitor& visit) const {
  VisitStarted(visit);
  for (const auto& [id, queue] : queues_) VisitReady(queue.get(), visit);
}

// All that the fetch of now could meet, which asks for what is these webhooks'.
template <typename Visitor>
void Sender::VisitFetchedClaims(const Visitor& visit) const {
  VisitStarted(visit);
  for (const WebhookQueue* queue : fetching_) VisitReady(queue, visit);
}

template <typename Visitor>
void Sender::VisitStarted(const Visitor& visit) const {
  for (const auto& [tag, attempt] : in_flight_) visit(Claim::Of(attempt.queue, attempt.delivery));
  for (const Outcome& outcome : outcomes_) visit(Claim::Of(outcome));
  for (const StuckOutcome& stuck : stuck_) visit(Claim::Of(stuck.outcome));
}

template <typename Visitor>
void Sender::VisitReady(const WebhookQueue* queue, const Visitor& visit) {
  for (const PendingDelivery& delivery : queue->ready) visit(Claim::Of(queue, delivery));
}

std::vector<std::string> Sender::Claimed() const {
  std::vector<std::string> ids;
  VisitClaims([&](const Claim& claim) { ids.push_back(claim.delivery_id); });
  return ids;
}

std::vector<std::string> Sender::ClaimedOf(const std::string& webhook_id) const {
  std::vector<std::string> ids;
  const auto add = [&](const Claim& claim) {
    if (claim.webhook_id == webhook_id) ids.push_back(claim.delivery_id);
  };
  VisitStarted(add);
  if (const auto found = queues_.find(webhook_id); found != queues_.end()) {
    VisitReady(found->second.get(), add);
  }
  return ids;
}

// Those which the fetch of now will meet: none, as long as webhooks are read in their order.
std::vector<std::string> Sender::ClaimedAhead() const {
  std::vector<std::string> ids;
  VisitFetchedClaims([&](const Claim& claim) {
    const WebhookQueue* queue = claim.queue;
    if (queue == nullptr) {
      const auto found = queues_.find(claim.webhook_id);
      if (found == queues_.end()) return;
      queue = found->second.get();
    }
    if (queue->fetched == fetches_ && !queue->IsBehind(claim.due, claim.sequence)) {
      ids.push_back(claim.delivery_id);
    }
  });
  return ids;
}

bool Sender::HasClaimed(std::span<const PendingDelivery> fetched) const {
  // By number first: hashing all ids at each fetch took a fiftieth of the worker's time.
  std::unordered_set<int64_t> numbers;
  for (const PendingDelivery& delivery : fetched) numbers.insert(delivery.sequence);
  bool perhaps = false;
  VisitFetchedClaims([&](const Claim& claim) {
    perhaps = perhaps || claim.sequence == 0 || numbers.contains(claim.sequence);
  });
  if (!perhaps) return false;
  std::unordered_set<std::string_view> ids;
  for (const PendingDelivery& delivery : fetched) ids.insert(delivery.id);
  bool has_claimed = false;
  VisitFetchedClaims(
      [&](const Claim& claim) { has_claimed = has_claimed || ids.contains(claim.delivery_id); });
  return has_claimed;
}

}  // namespace alerting::ext
