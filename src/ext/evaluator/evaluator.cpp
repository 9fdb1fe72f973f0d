// Implements ext/evaluator/evaluator.h: the loop, and the saving of state.
#include "ext/evaluator/evaluator.h"

#include <algorithm>

#include "ext/evaluator/extension_transaction.h"
#include "pg/freeze_point.h"
#include "pg/guc.h"
#include "pg/notification.h"

extern "C" {
PGDLLEXPORT void alerting_evaluator_main(Datum database);
}

namespace alerting::ext {

namespace {

constexpr size_t kOutboxLimit = 200'000;  // with more, the queue waits
constexpr Micros kSaveInterval = 5 * kSecond;
constexpr size_t kSaveBytesPerSecond = 1 << 20;
constexpr Micros kRefreshInterval = 2 * kMinute;

}  // namespace

Evaluator::Evaluator(pg::DatabaseSlot* slot) : slot_(slot), transitions_(slot) {}

void Evaluator::BeforeStop() {
  if (world_ != nullptr) SaveState(GetCurrentTimestamp(), true);
}

Micros Evaluator::Step() {
  // Read before the queue: whatever was committed before the request is seen below.
  const uint64_t ticket = pg_atomic_read_u64(&slot_->flush_requested);
  Micros now = GetCurrentTimestamp();
  FollowClock(now);
  bool drained = false;
  if (reload_) Load();
  const bool takes_input = transitions_.size() < kOutboxLimit;
  if (takes_input) {
    drained = TakeInput(now);
    if (reload_) {
      Load();
      drained = TakeInput(now);
    }
  }
  if (!world_->binding.organization_is_column && samples_since_refresh_ &&
      now - refreshed_at_ >= kRefreshInterval) {
    RefreshAllContainers();
  }
  now = GetCurrentTimestamp();
  world_->engine.Advance(judged_until_);
  transitions_.Collect();
  transitions_.Write(now);
  if (transitions_.TakeReload()) reload_ = true;
  ApplyCorrections();
  transitions_.Collect();
  Micros next = NextLookAtPrepared(now);
  if (takes_input) next = std::min(next, world_->engine.NextDeadline());
  SaveState(now, false);
  Notify();
  PublishCounters();
  next = std::min(next, transitions_.NextDue(now));
  if (world_->states.has_changes()) next = std::min(next, state_saved_at_ + save_interval_);
  if (!to_replay_.empty()) next = std::min(next, replay_at_);
  if (held_up_.empty()) problem_.clear();
  if (drained && transitions_.empty() && to_replay_.empty()) AnswerFlush(ticket);
  return takes_input && !drained ? now : next;
}

void Evaluator::FollowClock(Micros now) {
  const Micros by = clock_.PutBackBy(now);
  if (by == 0) return;
  PutBack({&state_saved_at_, &refreshed_at_, &replay_at_}, by);
  transitions_.PutBackTimes(by);
  for (auto& [source, held_up] : held_up_) PutBack({&held_up.until}, by);
  for (HeldChunk& held : held_) PutBack({&held.prepared_at}, by);
}

void Evaluator::ApplyCorrections() {
  for (const ContainerCorrection& correction : transitions_.TakeCorrections()) {
    const ContainerRef container = world_->engine.Find(correction.key);
    if (container == kNoContainer) continue;
    if (correction.exists) {
      world_->engine.SetOrganization(container, correction.organization, judged_until_);
    } else {
      Remove(container);
    }
  }
}

void Evaluator::SaveState(Micros now, bool force) {
  transitions_.Collect();  // a saved state never runs ahead of the transitions saved with it
  if (!world_->states.has_changes()) return;
  if (!force && state_saved_at_ != kNoTime && now - state_saved_at_ < save_interval_) return;
  ExtensionTransaction transaction(slot_, "saving state");
  size_t bytes = 0;
  try {
    bytes = world_->states.SaveChanged(transitions_.Waiting());
    ALERTING_FREEZE_POINT("state_written");
    transaction.Commit();
  } catch (...) {
    world_->states.Discard();
    throw;
  }
  ALERTING_FREEZE_POINT("state_committed");
  world_->states.Committed();
  state_saved_at_ = now;
  // A large fleet's state is written less often, so that it costs a bounded rate of WAL.
  save_interval_ =
      std::max<Micros>(kSaveInterval, static_cast<Micros>(bytes / kSaveBytesPerSecond) * kSecond);
}

// What users' transactions would have to wait for.
void Evaluator::Notify() {
  if (notices_.empty()) return;
  const std::vector<std::string> notices = std::exchange(notices_, {});
  ExtensionTransaction transaction(slot_, "notifying");
  if (pg::MayNotify()) {
    pg::Call([&] {
      List* payloads = NIL;
      for (const std::string& notice : notices) {
        payloads = lappend(payloads, pstrdup(notice.c_str()));
      }
      pg::NotifyAtCommit(payloads);
      list_free_deep(payloads);
    });
  }
  transaction.Commit();
}

void Evaluator::AnswerFlush(uint64_t ticket) {
  if (pg_atomic_read_u64(&slot_->flush_done) >= ticket) return;
  pg_atomic_write_u64(&slot_->flush_done, ticket);
  pg::Call([&] { ConditionVariableBroadcast(&slot_->flushed); });
}

void Evaluator::PublishCounters() {
  const EngineCounters& counters = world_->engine.counters();
  const auto add = [](pg_atomic_uint64* shared, uint64_t now, uint64_t before) {
    if (now != before) pg_atomic_fetch_add_u64(shared, static_cast<int64>(now - before));
  };
  add(&slot_->samples, counters.samples, published_.samples);
  add(&slot_->late, counters.late, published_.late);
  add(&slot_->backfill, counters.backfill, published_.backfill);
  published_ = counters;
  pg_atomic_write_u64(&slot_->containers, world_->engine.container_count());
}

}  // namespace alerting::ext

void alerting_evaluator_main(Datum database) {
  using namespace alerting;
  pg::RunWorker(pg::kEvaluator, DatumGetObjectId(database), [](pg::DatabaseSlot* slot) {
    return std::unique_ptr<pg::WorkerTask>(std::make_unique<ext::Evaluator>(slot));
  });
}
