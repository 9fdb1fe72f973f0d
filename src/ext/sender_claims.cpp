// What the sender has claimed: fetched and not yet recorded. See ext/sender.h.
#include <string_view>

#include "ext/sender.h"

namespace alerting::ext {

// With the webhook's id, the delivery's, and its place in the webhook's order.
template <typename Visitor>
void Sender::VisitClaims(const Visitor& visit) const {
  const auto visit_delivery = [&](const std::string& webhook, const PendingDelivery& delivery) {
    visit(webhook, delivery.id, delivery.due, delivery.sequence);
  };
  const auto visit_outcome = [&](const Outcome& outcome) {
    visit(outcome.webhook_id, outcome.delivery_id, outcome.due, outcome.sequence);
  };
  for (const auto& [tag, attempt] : in_flight_) visit_delivery(attempt.queue->id, attempt.delivery);
  for (const auto& [id, queue] : queues_) {
    for (const PendingDelivery& delivery : queue->ready) visit_delivery(id, delivery);
  }
  for (const Outcome& outcome : outcomes_) visit_outcome(outcome);
  for (const StuckOutcome& stuck : stuck_) visit_outcome(stuck.outcome);
}

std::vector<std::string> Sender::Claimed() const {
  std::vector<std::string> ids;
  VisitClaims(
      [&](const std::string&, const std::string& id, Micros, int64_t) { ids.push_back(id); });
  return ids;
}

// Those which the fetch of now could meet: none, as long as webhooks are read in their order.
std::vector<std::string> Sender::ClaimedAhead() const {
  std::vector<std::string> ids;
  VisitClaims([&](const std::string& webhook, const std::string& id, Micros due, int64_t sequence) {
    const auto found = queues_.find(webhook);
    if (found == queues_.end()) return;
    const WebhookQueue& queue = *found->second;
    if (queue.fetched == fetches_ && !queue.IsBehind(due, sequence)) ids.push_back(id);
  });
  return ids;
}

bool Sender::HasClaimed(std::span<const PendingDelivery> fetched) const {
  std::unordered_set<std::string_view> ids;
  for (const PendingDelivery& delivery : fetched) ids.insert(delivery.id);
  bool has_claimed = false;
  VisitClaims([&](const std::string&, const std::string& id, Micros, int64_t) {
    has_claimed = has_claimed || ids.contains(id);
  });
  return has_claimed;
}

}  // namespace alerting::ext
