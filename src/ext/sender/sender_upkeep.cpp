// The sender's upkeep: flush(), what is parked or switched off, copies of a database, retention.
// See ext/sender/sender.h.
#include <algorithm>

#include "core/url.h"
#include "ext/sender/sender.h"
#include "pg/guc.h"

namespace alerting::ext {

namespace {

constexpr Micros kFailingCheckInterval = kHour;
constexpr Micros kRefusedPause = kMinute;
constexpr int kDeletedAtOnce = 1000;
constexpr uint32_t kBlocksAtOnce = 1024;
constexpr Micros kLongestCleanupInterval = 10 * kMinute;
constexpr Micros kShortestCleanupRound = 10 * kSecond;
// Parked deliveries are what a user still has to look at: they stay longer than delivered ones.
constexpr Micros kFailedRetentionFactor = 4;

std::vector<Micros> RemainingPausesByAttempts(const std::vector<Micros>& schedule) {
  constexpr Micros kLongest = 3650 * 24 * kHour;
  std::vector<Micros> remaining;
  for (size_t attempts = 0; attempts <= schedule.size(); ++attempts) {
    remaining.push_back(std::min(RemainingPauses(schedule, static_cast<int>(attempts)), kLongest));
  }
  return remaining;
}

}  // namespace

Micros PauseAfterCost(Micros cost) {
  constexpr Micros kFactor = 4;
  constexpr Micros kLongest = kSecond;
  return std::min(kFactor * std::max<Micros>(cost, 0), kLongest);
}

std::string LoggableOrigin(const std::string& text) {
  std::string ignored;
  const std::optional<Url> url = ParseUrl(text, &ignored);
  return url ? url->Origin() : "an invalid URL";
}

// In a savepoint: what a user's trigger or constraint refuses there must not undo what is recorded
// in the same transaction. It is tried again later, with all else of its kind.
template <typename F>
void Sender::WriteOfWebhooks(WebhookWrite* kind, bool has_any, Micros now, const F& write) {
  if (now < kind->not_before) return;
  if (!has_any) {
    *kind = {};
    return;
  }
  try {
    pg::Subtransaction savepoint;
    write();
    savepoint.Release();
    *kind = {};
  } catch (const pg::Error& error) {
    if (error.IsPassing()) throw;
    *kind = {AddTime(now, kRefusedPause), error.what()};
    pg::Call([&] {
      ereport(LOG, (errcode(error.sqlstate()),
                    errmsg("alerting: what became of webhooks could not be written: %s",
                           kind->problem.c_str()),
                    errdetail("It is tried again; what became of deliveries is not affected.")));
    });
  }
}

void Sender::ActOnAnswers(Micros now) {
  const auto write = [&](size_t kind, bool has_any, void (Sender::*what)()) {
    WriteOfWebhooks(&webhook_writes_[kind], has_any, now, [&] { (this->*what)(); });
  };
  write(kWriteGone, !gone_.empty(), &Sender::SwitchOffGone);
  write(kWriteFailing, !parked_.empty(), &Sender::SwitchOffFailing);
  write(kWriteOverdue, !probes_failed_.empty(), &Sender::ParkOverdue);
}

void Sender::AnswerFlushes(uint64_t requested, Results* results) {
  if (requested > flush_seen_) {
    flushes_.push_back({requested, store_.NewestSequence()});
    flush_seen_ = requested;
    next_flush_check_ = kNoTime;
  }
  if (flushes_.empty()) return;
  const Micros now = GetCurrentTimestamp();
  // While requests are under way the answer hardly changes, and asking costs.
  flush_check_due_ =
      now < next_flush_check_ && !(in_flight_.empty() && turns_.empty() && waiting_.empty());
  if (flush_check_due_) return;
  for (const FlushRequest& flush : flushes_) {
    if (!store_.IsFlushed(flush.sequence)) break;
    results->flushed = flush.number;
  }
  next_flush_check_ = AddTime(now, PauseAfterCost(GetCurrentTimestamp() - now));
}

void Sender::NoteFailedProbe(const std::string& webhook_id, const std::string& error) {
  const bool noted = std::any_of(probes_failed_.begin(), probes_failed_.end(),
                                 [&](const auto& probe) { return probe.webhook_id == webhook_id; });
  if (!noted) probes_failed_.push_back({webhook_id, error});
}

// In pieces, between which requests go on, and a few of them in a transaction: a dead endpoint's
// backlog is to hold up neither them nor the record of their outcomes.
void Sender::ParkOverdue() {
  constexpr int kPieces = 10;
  size_t done = 0;
  std::optional<FailedProbe> unfinished;
  for (int piece = 0; piece < kPieces && done < probes_failed_.size(); ++piece) {
    FailedProbe probe = unfinished ? *std::move(unfinished) : probes_failed_[done];
    unfinished.reset();
    const auto found = queues_.find(probe.webhook_id);
    if (found != queues_.end() &&
        store_.ParkOverdue(&probe, RemainingPausesByAttempts(found->second->schedule),
                           ClaimedOf(probe.webhook_id), GetCurrentTimestamp())) {
      unfinished = std::move(probe);
    } else {
      ++done;
    }
    Serve();
  }
  // After an error all of them are tried again.
  probes_failed_.erase(probes_failed_.begin(),
                       probes_failed_.begin() + static_cast<ptrdiff_t>(done));
  if (!unfinished) return;
  probes_failed_.pop_front();
  probes_failed_.push_back(*std::move(unfinished));  // behind those of other webhooks
}

void Sender::SwitchOffGone() {
  constexpr char kReason[] = "endpoint answered 410 Gone";
  decltype(gone_) locked;
  for (const auto& [id, url] : gone_) {
    const DeliveryStore::Switched switched = store_.SwitchOff(id, url, kReason);
    if (switched == DeliveryStore::Switched::kLocked) locked.emplace_back(id, url);
    if (switched != DeliveryStore::Switched::kOff) continue;
    pg::Call([&, id = id.c_str()] {
      ereport(LOG, (errmsg("alerting: webhook %s was switched off: %s", id, kReason)));
    });
  }
  gone_ = std::move(locked);
}

void Sender::SwitchOffFailing() {
  const Micros now = GetCurrentTimestamp();
  std::vector<std::string> ids;
  std::erase_if(parked_, [&](const std::string& id) {
    Micros& next_check = next_failing_check_[id];
    if (now < next_check) return false;
    next_check = AddTime(now, kFailingCheckInterval);
    ids.push_back(id);
    return true;
  });
  // One that may be checked again needs no note; webhooks come and go.
  std::erase_if(next_failing_check_, [&](const auto& entry) { return entry.second <= now; });
  if (ids.empty()) return;
  for (const std::string& id : store_.SwitchOffFailing(ids)) {
    look_ = true;
    pg::Call([&] {
      ereport(LOG, (errmsg("alerting: webhook %s was switched off: nothing but failures for five "
                           "days",
                           id.c_str())));
    });
  }
}

// Open breakers are written down for who looks, and for the sender's next start.
void Sender::NoteBreakers(Micros now, Results* results) {
  std::vector<std::string> ids;
  std::vector<Micros> probes;
  for (const WebhookQueue* queue : sleepers_.awake()) {
    const Micros probe = queue->endpoint.breaker().NextProbe();
    // While a probe is under way its time stands.
    if (probe == kNever || probe == queue->noted_probe) continue;
    ids.push_back(queue->id);
    probes.push_back(probe);
  }
  WriteOfWebhooks(&webhook_writes_[kWriteBreakers], !ids.empty(), now, [&] {
    for (const std::string& id : store_.NoteBreakers(ids, probes)) {
      const auto found = std::find(ids.begin(), ids.end(), id);
      results->noted.emplace_back(id, probes[static_cast<size_t>(found - ids.begin())]);
    }
  });
}

// Neither the delivery nor the endpoint is to pay for it. When the next try may be.
Micros Sender::TakeFailureHere(WebhookQueue* queue, const Attempt& attempt,
                               const std::string& error) {
  const Micros until = queue->endpoint.FailHere(attempt.ticket, GetCurrentTimestamp());
  if (std::exchange(failure_here_, error).empty()) {
    pg::Call([&] {
      ereport(LOG, (errmsg("alerting: requests fail on this machine: %s", error.c_str()),
                    errdetail("They are tried again, and count as no tries.")));
    });
  }
  return until;
}

// Over as soon as each endpoint that a request did not leave for got one.
void Sender::NoteFailuresHere() {
  if (failure_here_.empty()) return;
  const bool lasts = std::any_of(queues_.begin(), queues_.end(), [](const auto& entry) {
    return entry.second->endpoint.FailsHere();
  });
  if (!lasts) failure_here_.clear();
}

void Sender::NoteHeld(bool held) {
  slot_->held = held;
  if (held == held_) return;
  held_ = held;
  if (!held) return;
  for (auto& [id, queue] : queues_) Deactivate(queue.get());
  pg::Call([&] {
    ereport(WARNING,
            (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
             errmsg("alerting: webhooks are held: this database is a copy of the one that alerting "
                    "was attached in"),
             errdetail("Alerts are evaluated and their deliveries wait in alerting.delivery."),
             errhint("Call alerting.resume() if this database is to send webhooks.")));
  });
}

// Walks through the table, once in a tenth of the retention: no index, which each delivery would
// pay for when it is written and when it is settled, and no row that may not go yet stands in the
// way of others.
void Sender::DeleteExpired(Micros now) {
  next_cleanup_ = AddTime(now, kLongestCleanupInterval);
  if (pg::guc_delivery_retention_minutes < 0) return;
  const Micros retention = pg::guc_delivery_retention_minutes * kMinute;
  DeliveryStore::Deleted deleted;
  try {
    StoreTransaction transaction("deleting old deliveries");
    if (transaction.ready()) {
      deleted = store_.DeleteExpired(cleanup_block_, kBlocksAtOnce, now - retention,
                                     now - kFailedRetentionFactor * retention, kDeletedAtOnce);
    }
    transaction.Commit();
  } catch (...) {
    PauseAfterError();
    throw;
  }
  if (deleted.rows >= kDeletedAtOnce) {  // there may be more in these blocks
    next_cleanup_ = AddTime(now, kSecond / 5);
    return;
  }
  const auto steps = static_cast<Micros>(deleted.table_blocks / kBlocksAtOnce) + 1;
  cleanup_block_ += kBlocksAtOnce;
  if (cleanup_block_ >= deleted.table_blocks) cleanup_block_ = 0;
  const Micros round =
      std::clamp(retention / 10, kShortestCleanupRound, kLongestCleanupInterval * steps);
  next_cleanup_ = AddTime(now, round / steps);
}

}  // namespace alerting::ext
