// What the evaluator hands over to the sender: see core/handover.h. See ext/sender/sender.h.
//
// Invariants: a delivery goes this way only if the sender knows its webhook by the very version of
// its row that the evaluator has seen, and nothing of that webhook is due before it. For whatever
// else is handed over, the sender looks at the tables.
#include "ext/sender/sender.h"
#include "pg/freeze_point.h"

namespace alerting::ext {

namespace {

TransactionState StateOf(TransactionId transaction) {
  return pg::Call([&] {
    // In this order: what ends in between is committed or not, but nothing else.
    if (TransactionIdIsInProgress(transaction)) return TransactionState::kInProgress;
    return TransactionIdDidCommit(transaction) ? TransactionState::kCommitted
                                               : TransactionState::kRolledBack;
  });
}

}  // namespace

void Sender::DrainHandover() {
  if (handover_ == nullptr || handover_->size() == 0) return;
  // Should memory run out, the table has it all.
  const bool looked = std::exchange(look_, true);
  std::string bytes;
  handover_->Drain(&bytes);
  look_ = !inbox_.Add(bytes) || looked;
}

void Sender::TakeHanded() {
  DrainHandover();
  if (inbox_.empty()) return;
  ALERTING_FREEZE_POINT("handed_drained");
  const bool looked = std::exchange(look_, true);
  std::vector<HandedDelivery> committed = inbox_.TakeCommitted(StateOf);
  // What somebody else has changed is to be seen first.
  const bool sees_all = !looked && pg_atomic_read_u64(&slot_->sender_wakes) == wakes_seen_;
  look_ = looked || (!committed.empty() && !sees_all);
  if (committed.empty() || held_ || !sees_all) return;
  const Micros now = GetCurrentTimestamp();
  for (HandedDelivery& delivery : committed) TakeHanded(std::move(delivery), now);
}

void Sender::TakeHanded(HandedDelivery handed, Micros now) {
  WebhookQueue* queue = FindAsHanded(handed);
  if (queue == nullptr) {
    look_ = true;
    return;
  }
  const bool is_first = handed.due <= now && handed.due < queue->next_due;
  if (!is_first || static_cast<int>(queue->ready.size()) >= queue->Target(now)) {
    queue->WaitFor(handed.due);
    return;
  }
  PendingDelivery delivery;
  delivery.id = std::move(handed.id);
  delivery.webhook_id = std::move(handed.webhook_id);
  delivery.body = std::move(handed.body);
  delivery.due = handed.due;
  delivery.place = {
      {static_cast<uint16>(handed.block >> 16), static_cast<uint16>(handed.block & 0xffff)},
      handed.offset};
  queue->ready.push_back(std::move(delivery));
  JoinTurns(queue);
}

// A statement's snapshot may show what has been handed over since the last look at the ring: hence
// after the statement.
void Sender::ForgetHanded(std::span<const PendingDelivery> fetched) {
  DrainHandover();
  if (inbox_.empty()) return;
  for (const PendingDelivery& delivery : fetched) inbox_.Forget(delivery.id);
}

// It is looked at, whatever it slept for.
WebhookQueue* Sender::FindQueue(const std::string& id) {
  const auto found = queues_.find(id);
  if (found != queues_.end()) {
    sleepers_.Wake(found->second.get());
    return found->second.get();
  }
  const auto idle = idle_.find(id);
  if (idle == idle_.end()) return nullptr;
  WebhookQueue* queue = idle->second.get();
  queue->most = MostPerWebhook(queue->wanted);
  queues_[id] = std::move(idle->second);
  idle_.erase(idle);
  sleepers_.Wake(queue);
  return queue;
}

// nullptr: it is not known as the evaluator has seen it. What is known comes from active webhooks,
// and each change of a row makes another version of it.
WebhookQueue* Sender::FindAsHanded(const HandedDelivery& delivery) {
  WebhookQueue* queue = FindQueue(delivery.webhook_id);
  if (queue == nullptr || queue->version.empty() || queue->version != delivery.webhook_version) {
    return nullptr;
  }
  // When it was looked for last, nothing of it was pending.
  queue->active = true;
  return queue;
}

}  // namespace alerting::ext
