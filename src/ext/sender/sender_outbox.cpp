// The sender's transactions: recording outcomes, looking for work. See ext/sender/sender.h.
#include <algorithm>
#include <tuple>
#include <unordered_map>

#include "core/url.h"
#include "ext/sender/sender.h"
#include "ext/webhook/signature.h"
#include "ext/webhook/text_encoding.h"
#include "ext/webhook/webhook_request.h"
#include "pg/freeze_point.h"
#include "pg/guc.h"

namespace alerting::ext {

namespace {

// Wakes can be missed only where no trigger runs at commit (COMMIT PREPARED).
constexpr Micros kLookInterval = kMinute;
constexpr Micros kHeldLookInterval = 5 * kSecond;
constexpr Micros kLockedPause = kSecond / 4;
constexpr Micros kPoisonPause = kMinute;
constexpr Micros kLongestErrorPause = kMinute;
constexpr size_t kMostQueuesFetched = 256;
constexpr size_t kMostIdle = 10'000;

// Each webhook's in the order in which they are to be sent.
std::unordered_map<std::string, std::vector<PendingDelivery>> ByWebhook(
    std::vector<PendingDelivery> fetched) {
  std::unordered_map<std::string, std::vector<PendingDelivery>> webhooks;
  for (PendingDelivery& delivery : fetched) {
    webhooks[delivery.webhook_id].push_back(std::move(delivery));
  }
  const auto is_before = [](const PendingDelivery& a, const PendingDelivery& b) {
    return std::tie(a.due, a.sequence) < std::tie(b.due, b.sequence);
  };
  for (auto& [id, deliveries] : webhooks) {
    // The usual plan gives them so, and sorting them again is a fiftieth of the sender's CPU.
    if (!std::is_sorted(deliveries.begin(), deliveries.end(), is_before)) {
      std::sort(deliveries.begin(), deliveries.end(), is_before);
    }
  }
  return webhooks;
}

}  // namespace

bool Sender::MayLook(Micros now) const {
  const bool wanted =
      look_ || now >= next_look_ || pg_atomic_read_u64(&slot_->sender_wakes) != wakes_seen_;
  return wanted && now >= look_not_before_;
}

bool Sender::HasWork(Micros now) const {
  if (MayLook(now)) return true;
  if (flush_check_due_ && now >= next_flush_check_) return true;
  // Outcomes gather for a moment while others are still to come.
  if (!outcomes_.empty() && (outcomes_.size() >= record_most_ || in_flight_.empty() ||
                             SubtractTime(now, oldest_outcome_at_) >= kLongestUnrecorded)) {
    return true;
  }
  for (const StuckOutcome& stuck : stuck_) {
    if (now >= stuck.retry_at) return true;
  }
  if (!probes_failed_.empty() && now >= webhook_writes_[kWriteOverdue].not_before) return true;
  if (held_) return false;
  return std::any_of(sleepers_.awake().begin(), sleepers_.awake().end(),
                     [&](const WebhookQueue* queue) { return queue->NeedsFetch(now); });
}

void Sender::RunTransaction() {
  // Read before the snapshot is taken: what was committed before them is seen.
  const uint64_t wakes = pg_atomic_read_u64(&slot_->sender_wakes);
  const uint64_t flush_requested = pg_atomic_read_u64(&slot_->sender_flush_requested);
  Results results;
  bool has_tables = false;
  ALERTING_FREEZE_POINT("looking");
  try {
    StoreTransaction transaction("recording and fetching deliveries");
    has_tables = transaction.ready();
    if (has_tables) {
      Exchange(flush_requested, &results);
    } else {
      next_look_ = AddTime(GetCurrentTimestamp(), kLookInterval);
      look_ = false;
      results.looked = true;
      results.flushed = flush_requested;  // no tables, nothing to deliver
    }
    if (results.recorded > 0) ALERTING_FREEZE_POINT("outcomes_written");
    transaction.Commit();
    if (results.recorded > 0) ALERTING_FREEZE_POINT("outcomes_committed");
  } catch (const std::exception& error) {
    PauseAfterError();
    SetAside(error.what());
    throw;
  }
  if (results.looked) wakes_seen_ = wakes;
  errors_ = 0;
  record_most_ = std::min(record_most_ * 2, kMostRecorded);
  ApplyResults(results);
  // What waits to be written waits for tables to write it to.
  const Micros now = GetCurrentTimestamp();
  if (!has_tables && HasWork(now)) not_before_ = AddTime(now, kSecond);
}

void Sender::Exchange(uint64_t flush_requested, Results* results) {
  const Micros now = GetCurrentTimestamp();
  SetStuckFree(now);
  RecordOutcomes(results);
  ActOnAnswers(now);
  if (MayLook(now)) {
    Look(now);
    results->looked = true;
  }
  if (!held_) Fetch(now);
  NoteBreakers(now, results);
  AnswerFlushes(flush_requested, results);
}

// The worker's loop reports the error.
void Sender::PauseAfterError() {
  look_ = true;
  ++errors_;
  const Micros pause = std::min(kLongestErrorPause, (kSecond / 10) << std::min(errors_, 10));
  not_before_ = AddTime(GetCurrentTimestamp(), pause);
}

// Smaller batches after each error find the outcome that cannot be recorded; it is set aside so
// that the others go on.
void Sender::SetAside(const char* problem) {
  if (outcomes_.empty()) return;
  const size_t tried = std::min(outcomes_.size(), record_most_);
  if (tried == 1) {
    stuck_.push_back(
        {std::move(outcomes_.front()), AddTime(GetCurrentTimestamp(), kPoisonPause), problem});
    outcomes_.pop_front();
  }
  record_most_ = std::max<size_t>(tried / 2, 1);
}

// Of an outcome that was set aside, of webhooks, or of this machine: the others go on meanwhile.
const char* Sender::Problem() const {
  for (const StuckOutcome& stuck : stuck_) {
    if (!stuck.problem.empty()) return stuck.problem.c_str();
  }
  for (const WebhookWrite& kind : webhook_writes_) {
    if (!kind.problem.empty()) return kind.problem.c_str();
  }
  return failure_here_.c_str();
}

void Sender::SetStuckFree(Micros now) {
  for (StuckOutcome& stuck : stuck_) {
    if (now < stuck.retry_at) continue;
    outcomes_.push_front(std::move(stuck.outcome));
    stuck.retry_at = kNoTime;
  }
  std::erase_if(stuck_, [](const StuckOutcome& stuck) { return stuck.retry_at == kNoTime; });
}

// In pieces, between which requests go on: neither the thread that sends nor who waits for a first
// request is to wait for all of them.
void Sender::RecordOutcomes(Results* results) {
  results->recorded = std::min(outcomes_.size(), record_most_);
  std::vector<const Outcome*> piece;
  for (size_t done = 0; done < results->recorded;) {
    piece.clear();
    while (done < results->recorded && piece.size() < kRecordedAtOnce) {
      piece.push_back(&outcomes_[done++]);
    }
    for (std::string& id : store_.Record(piece, &results->moved)) {
      results->settled.push_back(std::move(id));
    }
    Serve();
  }
}

void Sender::ApplyResults(const Results& results) {
  const Micros now = GetCurrentTimestamp();
  not_before_ = kNoTime;
  const bool all_settled = results.settled.size() == results.recorded;
  std::unordered_set<std::string_view> settled;
  if (!all_settled) settled.insert(results.settled.begin(), results.settled.end());
  for (size_t i = 0; i < results.recorded; ++i) {
    Outcome outcome = std::move(outcomes_.front());
    outcomes_.pop_front();
    if (all_settled || settled.contains(outcome.delivery_id)) {
      SettleOutcome(outcome);
    } else {
      stuck_.push_back({std::move(outcome), AddTime(now, kLockedPause), ""});
    }
  }
  oldest_outcome_at_ = now;
  for (const auto& [id, probe_at] : results.noted) {
    const auto found = queues_.find(id);
    if (found != queues_.end()) found->second->noted_probe = probe_at;
  }
  if (results.moved) look_ = true;
  while (!flushes_.empty() && flushes_.front().number <= results.flushed) flushes_.pop_front();
  if (results.flushed > pg_atomic_read_u64(&slot_->sender_flush_done)) {
    pg_atomic_write_u64(&slot_->sender_flush_done, results.flushed);
    pg::Call([&] { ConditionVariableBroadcast(&slot_->flushed); });
  }
  ForgetIdleQueues();
}

void Sender::SettleOutcome(const Outcome& outcome) {
  if (outcome.status == DeliveryStatus::kDelivered) {
    pg_atomic_fetch_add_u64(&slot_->deliveries, 1);
  } else {
    pg_atomic_fetch_add_u64(&slot_->failed_attempts, 1);
  }
  const auto found = queues_.find(outcome.webhook_id);
  if (found == queues_.end()) return;
  WebhookQueue* queue = found->second.get();
  --queue->unrecorded;
  if (outcome.status == DeliveryStatus::kPending) {
    queue->WaitFor(outcome.next_attempt_at);
  }
  if (std::exchange(queue->blocked, false)) queue->next_due = kNoTime;
}

void Sender::Look(Micros now) {
  look_ = false;
  NoteHeld(store_.IsCopy());
  next_look_ = AddTime(now, held_ ? kHeldLookInterval : kLookInterval);
  if (held_) return;
  std::unordered_set<std::string> listed;
  for (const PendingWebhook& webhook : store_.FindPending(Claimed())) {
    const bool gone = std::any_of(gone_.begin(), gone_.end(), [&](const auto& pair) {
      return pair.first == webhook.id && pair.second == webhook.url;
    });
    if (gone) continue;
    listed.insert(webhook.id);
    UpdateQueue(webhook);
  }
  look_not_before_ = AddTime(now, PauseAfterCost(GetCurrentTimestamp() - now));
  // What is claimed here is pending there: an absent webhook is inactive, gone, or has nothing.
  for (auto& [id, queue] : queues_) {
    if (!listed.contains(id)) Deactivate(queue.get());
  }
  WakeAll();
}

void Sender::UpdateQueue(const PendingWebhook& webhook) {
  WebhookQueue* queue = FindQueue(webhook.id);
  const bool is_new = queue == nullptr;
  if (is_new) {
    queue = (queues_[webhook.id] = std::make_unique<WebhookQueue>()).get();
  }
  if (queue->organization != webhook.organization) LeaveTurns(queue);
  const bool forgiven = webhook.probe_at == kNoTime && queue->noted_probe != kNoTime;
  if (queue->url != webhook.url || forgiven) {
    queue->origin = LoggableOrigin(webhook.url);
    queue->url = webhook.url;
    // Another endpoint than the one that failed, or somebody says that it is well again.
    queue->endpoint.Forgive();
  }
  if (is_new && webhook.probe_at != kNoTime) {
    queue->endpoint.Suspend(webhook.probe_at);  // as it was before the sender was started
  }
  queue->noted_probe = webhook.probe_at;
  queue->id = webhook.id;
  queue->version = webhook.version;
  queue->organization = webhook.organization;
  queue->rate.SetRate(webhook.rate_limit);
  queue->wanted = webhook.max_concurrent;
  queue->most = MostPerWebhook(queue->wanted);
  auto headers = HeaderLines(webhook.headers);
  queue->bad_headers = !headers.has_value();
  queue->headers = std::move(headers).value_or(std::vector<std::string>());
  queue->bad_secret = false;
  queue->keys.clear();
  if (webhook.secret) {
    auto keys = SecretKeys(ToUtf8(*webhook.secret).value_or(*webhook.secret));
    queue->bad_secret = !keys.has_value();
    if (keys) queue->keys = *std::move(keys);
  }
  if (webhook.schedule) {
    queue->schedule = *webhook.schedule;
  } else {
    queue->schedule.assign(DefaultRetrySchedule().begin(), DefaultRetrySchedule().end());
  }
  queue->active = true;
  queue->next_due = webhook.first_due;
  queue->from = webhook.first_due;
  queue->from_sequence = 0;
}

void Sender::Deactivate(WebhookQueue* queue) {
  queue->active = false;
  queue->ready.clear();
  queue->next_due = kNever;
  queue->blocked = false;
}

void Sender::ForgetIdleQueues() {
  const Micros now = GetCurrentTimestamp();
  std::vector<WebhookQueue*> forgotten;
  for (WebhookQueue* queue : sleepers_.awake()) {
    if (queue->IsForgettable(now)) forgotten.push_back(queue);
  }
  for (WebhookQueue* queue : forgotten) {
    LeaveTurns(queue);
    sleepers_.Remove(queue);
    auto entry = queues_.extract(queue->id);
    if (idle_.size() >= kMostIdle) idle_.erase(idle_.begin());
    if (!queue->version.empty()) idle_.insert(std::move(entry));
  }
}

// As many as one statement is to ask for: organizations in turn, and of each the webhooks that have
// waited for the longest.
std::vector<WebhookQueue*> Sender::QueuesToFetch(Micros now) const {
  std::vector<WebhookQueue*> queues;
  for (WebhookQueue* queue : sleepers_.awake()) {
    if (queue->NeedsFetch(now)) queues.push_back(queue);
  }
  if (queues.size() <= kMostQueuesFetched) return queues;
  std::sort(queues.begin(), queues.end(),
            [](const auto* a, const auto* b) { return a->fetched < b->fetched; });
  FairTurns<WebhookQueue*> turns;
  for (WebhookQueue* queue : queues) turns.Add(queue->organization, queue);
  queues.resize(kMostQueuesFetched);
  for (WebhookQueue*& queue : queues) queue = turns.Take();
  return queues;
}

void Sender::Fetch(Micros now) {
  std::vector<FetchRequest> requests;
  ++fetches_;
  fetching_ = QueuesToFetch(now);
  for (WebhookQueue* queue : fetching_) {
    queue->fetched = fetches_;
    requests.push_back(
        {queue->id, queue->Target(now) + queue->skip, queue->from, queue->from_sequence});
  }
  if (requests.empty()) return;
  std::vector<PendingDelivery> all = store_.Fetch(requests, ClaimedAhead(), now);
  // A user has given one of them another time meanwhile.
  if (HasClaimed(all)) all = store_.Fetch(requests, Claimed(), now);
  ForgetHanded(all);
  auto fetched = ByWebhook(std::move(all));
  std::vector<std::string> deferred;
  std::vector<Micros> until;
  for (const FetchRequest& request : requests) {
    TakeFetched(queues_[request.webhook_id].get(), fetched[request.webhook_id], request.limit, now,
                &deferred, &until);
  }
  if (!deferred.empty()) store_.Defer(deferred, until);
}

void Sender::TakeFetched(WebhookQueue* queue, std::span<PendingDelivery> fetched, int limit,
                         Micros now, std::vector<std::string>* deferred,
                         std::vector<Micros>* until) {
  const auto target = static_cast<size_t>(queue->Target(now));
  queue->next_due = kNever;
  queue->blocked = false;
  queue->skip = 0;
  bool left = false;  // one that comes again, at `from`
  const auto leave = [&](const PendingDelivery& delivery) {
    if (!std::exchange(left, true)) {
      queue->from = delivery.due;
      queue->from_sequence = delivery.sequence;
    }
  };
  int blocked = 0;
  bool more = fetched.size() > static_cast<size_t>(limit);  // perhaps, behind them
  for (PendingDelivery& delivery : fetched) {
    if (!left) {
      queue->from = delivery.due;
      queue->from_sequence = delivery.sequence + 1;
    }
    if (delivery.waits_until != kNoTime) {
      if (delivery.waits_until > delivery.due) {
        // Its FIRING comes later in the table's order: stand behind it.
        deferred->push_back(delivery.id);
        until->push_back(delivery.waits_until);
        queue->next_due = std::min(queue->next_due, delivery.waits_until);
      } else {
        ++blocked;
        leave(delivery);
      }
    } else if (delivery.due <= now && queue->ready.size() < target) {
      queue->ready.push_back(std::move(delivery));
    } else {
      queue->next_due = std::min(queue->next_due, delivery.due);
      leave(delivery);
      more = false;  // these are next
    }
  }
  queue->blocked = blocked > 0;
  if (more) {
    queue->skip = blocked;
    queue->next_due = kNoTime;
  }
  JoinTurns(queue);
}

}  // namespace alerting::ext
