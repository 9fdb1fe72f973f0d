// Implements ext/evaluator/evaluator.h: the loop, and the writing of transitions and state.
#include "ext/evaluator/evaluator.h"

#include <algorithm>
#include <chrono>

#include "core/batch_limit.h"
#include "ext/cuid.h"
#include "ext/evaluator/retry_pause.h"
#include "ext/version.h"
#include "pg/freeze_point.h"
#include "pg/guc.h"
#include "pg/notification.h"

extern "C" {
PGDLLEXPORT void alerting_evaluator_main(Datum database);
}

namespace alerting::ext {

namespace {

constexpr size_t kFirstTransaction = 25;
constexpr size_t kTransitionsPerTransaction = 20'000;
// Longer ones become smaller: for so long a user may have to wait who wants to lock one of the
// containers or rules, or to delete it.
constexpr std::chrono::milliseconds kLongestTransaction(200);
// But of a storm no more than so many: each looks through all that waits.
constexpr size_t kMostTransactions = 1'000;
// Alerts of one rule and container in a transaction, each a round of statements.
constexpr size_t kRoundsPerTransaction = 100;
constexpr size_t kOutboxLimit = 200'000;  // with more, the queue waits
constexpr int kMostLockWaits = 20;  // in a pass: to find one among so many as a transaction holds
constexpr Micros kSaveInterval = 5 * kSecond;
constexpr size_t kSaveBytesPerSecond = 1 << 20;
constexpr Micros kRefreshInterval = 2 * kMinute;

using Batch = std::vector<OutgoingTransition*>;

// Both workers wait until the versions agree. Nothing is lost meanwhile: what is inserted is read
// from the tables afterwards.
void TellOutdated(pg::DatabaseSlot* slot, const std::string& version) {
  const bool is_older = strverscmp(version.c_str(), kServedVersion) < 0;
  const char* hint = is_older ? "Run ALTER EXTENSION alerting UPDATE in this database."
                              : "Restart the server, so that it loads the new library.";
  const std::string problem = "extension \"alerting\" has version " + version +
                              ", but the library version " + kServedVersion + ": ";
  pg::SetProblem(slot, pg::kEvaluator, (problem + hint).c_str());
  pg::Call([&] {
    ereport(WARNING,
            (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
             errmsg("alerting: nothing is judged or sent in database \"%s\": its extension has "
                    "version %s, but the library version %s",
                    get_database_name(MyDatabaseId), version.c_str(), kServedVersion),
             errdetail("What is inserted meanwhile is read afterwards."), errhint("%s", hint)));
  });
}

// Whether a transition, or what it refers to, can be the cause of an error: then it is worth while
// to try the others without it. A full disk, a locked table or a shutdown is everybody's trouble.
bool IsAboutRows(int sqlstate) {
  switch (ERRCODE_TO_CATEGORY(sqlstate)) {
    case ERRCODE_INVALID_TRANSACTION_STATE:
    case ERRCODE_TRANSACTION_ROLLBACK:
    case ERRCODE_INSUFFICIENT_RESOURCES:
    case ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE:
    case ERRCODE_OPERATOR_INTERVENTION:
    case ERRCODE_SYSTEM_ERROR:
      return false;
    default:
      return true;
  }
}

}  // namespace

ExtensionTransaction::ExtensionTransaction(pg::DatabaseSlot* slot, const char* activity)
    : transaction_(activity) {
  const std::optional<std::string> version = pg::LockExtension();
  if (version == kServedVersion) return;
  // Unless somebody asked again meanwhile, there is nothing to run here.
  const pg::Wish wish = version ? pg::Wish::kOutdated : pg::Wish::kNothing;
  const bool changed = pg::ChangeWish(slot, {pg::Wish::kProbing, pg::Wish::kRun}, wish);
  if (changed && wish == pg::Wish::kOutdated) TellOutdated(slot, *version);
  throw pg::WorkerExit();
}

Evaluator::World::World(Binding loaded, Micros started, Micros watched_since)
    : binding(std::move(loaded)),
      engine(started, watched_since),
      directory(binding),
      alerts(binding, &directory),
      states(binding, engine) {}

Evaluator::Evaluator(pg::DatabaseSlot* slot) : slot_(slot), handover_(slot) {}

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
  const bool takes_input = outbox_.size() < kOutboxLimit;
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
  CollectTransitions();
  WriteOutbox(now);
  ApplyCorrections();
  CollectTransitions();
  Micros next = NextLookAtPrepared(now);
  if (takes_input) next = std::min(next, world_->engine.NextDeadline());
  SaveState(now, false);
  Notify();
  PublishCounters();
  for (const OutgoingTransition& outgoing : outbox_) {
    next = std::min(next, outgoing.retry_at == kNoTime ? now : outgoing.retry_at);
  }
  if (world_->states.has_changes()) next = std::min(next, state_saved_at_ + save_interval_);
  if (!to_replay_.empty()) next = std::min(next, replay_at_);
  if (held_up_.empty() &&
      std::none_of(outbox_.begin(), outbox_.end(),
                   [](const OutgoingTransition& outgoing) { return outgoing.failures > 0; })) {
    problem_.clear();
  }
  if (drained && outbox_.empty() && to_replay_.empty()) AnswerFlush(ticket);
  return takes_input && !drained ? now : next;
}

void Evaluator::FollowClock(Micros now) {
  const Micros by = clock_.PutBackBy(now);
  if (by == 0) return;
  PutBack({&state_saved_at_, &refreshed_at_, &replay_at_}, by);
  for (OutgoingTransition& outgoing : outbox_) PutBack({&outgoing.retry_at}, by);
  for (auto& [source, held_up] : held_up_) PutBack({&held_up.until}, by);
  for (HeldChunk& held : held_) PutBack({&held.prepared_at}, by);
}

void Evaluator::CollectTransitions() {
  for (Transition& transition : world_->engine.TakeTransitions()) {
    OutgoingTransition outgoing;
    if (transition.kind == Transition::Kind::kFire) {
      outgoing.alert_id = NewCuid();
      world_->alert_ids[transition.alert] = outgoing.alert_id;
    } else {
      const auto id = world_->alert_ids.find(transition.alert);
      if (id == world_->alert_ids.end()) continue;
      outgoing.alert_id = std::move(id->second);
      world_->alert_ids.erase(id);
    }
    outgoing.transition = std::move(transition);
    outbox_.push_back(std::move(outgoing));
  }
  for (const ContainerRef container : world_->engine.TakeChanged()) {
    world_->states.MarkChanged(container);
  }
}

void Evaluator::WriteOutbox(Micros now) {
  if (!outbox_.empty()) ALERTING_FREEZE_POINT("judged");
  told_.clear();
  lock_waits_ = 0;
  // Pairs whose earlier transition waits: their later ones wait behind it.
  std::unordered_set<std::string> waiting;
  std::unordered_map<std::string, size_t> fired;  // kFires in the batch, by pair
  Batch batch;
  const size_t least =
      std::clamp(outbox_.size() / kMostTransactions, kFirstTransaction, kTransitionsPerTransaction);
  BatchLimit limit(kFirstTransaction, least, kTransitionsPerTransaction, kLongestTransaction);
  const auto write = [&] {
    const auto begin = std::chrono::steady_clock::now();
    if (!batch.empty()) WriteBatch(batch);
    for (const OutgoingTransition* outgoing : batch) {
      if (!outgoing->settled) waiting.insert(PairOf(outgoing->transition));
    }
    limit.Took(batch.size(), std::chrono::steady_clock::now() - begin);
    batch.clear();
    fired.clear();
  };
  for (OutgoingTransition& outgoing : outbox_) {
    std::string pair = PairOf(outgoing.transition);
    if (waiting.contains(pair)) continue;
    if (outgoing.retry_at != kNoTime && outgoing.retry_at > now) {
      waiting.insert(std::move(pair));
      continue;
    }
    const bool fires = outgoing.transition.kind == Transition::Kind::kFire;
    if (batch.size() >= limit.get() || (fires && fired[pair] >= kRoundsPerTransaction)) {
      write();
      if (waiting.contains(pair)) continue;  // behind what the batch has found locked
    }
    if (fires) ++fired[pair];
    batch.push_back(&outgoing);
  }
  write();
  std::erase_if(outbox_, [](const OutgoingTransition& outgoing) { return outgoing.settled; });
}

// Writes the batch in one transaction; on an error halves it until the transition that cannot be
// written stands alone and is put off.
void Evaluator::WriteBatch(Batch batch) {
  try {
    TryBatch(batch);
    return;
  } catch (const pg::Error& error) {
    world_->states.Discard();
    problem_ = error.what();
    // The host's tables may have changed under the statements that name them: what is loaded anew
    // fits, or fails in the same way.
    if (ERRCODE_TO_CATEGORY(error.sqlstate()) == ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION &&
        reloaded_for_ != problem_) {
      reloaded_for_ = problem_;
      reload_ = true;
      PutOff(batch, error);
      return;
    }
    // A lock that was waited for in vain (SKIP LOCKED waits for who holds a newer version of a row)
    // may be one transition's trouble or everybody's: that is found out, but not at any price.
    const bool waited = error.sqlstate() == ERRCODE_LOCK_NOT_AVAILABLE;
    const bool may_halve = waited ? ++lock_waits_ <= kMostLockWaits : IsAboutRows(error.sqlstate());
    if (batch.size() == 1 || !may_halve) {
      PutOff(batch, error);
      return;
    }
  }
  const auto middle = batch.begin() + static_cast<ptrdiff_t>(batch.size() / 2);
  WriteBatch(Batch(batch.begin(), middle));
  // What follows a transition that could not be written waits behind it.
  std::unordered_set<std::string> waiting;
  for (auto earlier = batch.begin(); earlier != middle; ++earlier) {
    if (!(*earlier)->settled) waiting.insert(PairOf((*earlier)->transition));
  }
  Batch rest(middle, batch.end());
  std::erase_if(rest, [&](const OutgoingTransition* outgoing) {
    return waiting.contains(PairOf(outgoing->transition));
  });
  if (!rest.empty()) WriteBatch(std::move(rest));
}

// To be tried again later, with growing pauses.
void Evaluator::PutOff(const Batch& batch, const pg::Error& error) {
  const int state = error.sqlstate();
  const bool locked = state == ERRCODE_LOCK_NOT_AVAILABLE || state == ERRCODE_T_R_DEADLOCK_DETECTED;
  const bool is_new = batch[0]->failures < 2;
  const Micros now = GetCurrentTimestamp();
  for (OutgoingTransition* outgoing : batch) {
    outgoing->retry_at = now + PauseAfterFailure(locked, outgoing->failures++);
  }
  const std::string problem = error.what();
  if (locked || !is_new || problem == told_) return;
  told_ = problem;
  pg::Call([&] {
    ereport(LOG, (errcode(state),
                  errmsg("alerting: %zu alerts, the first of rule \"%s\", could not be written: %s",
                         batch.size(), batch[0]->transition.rule_id.c_str(), problem.c_str()),
                  errdetail("They are kept and tried again; others are not affected.")));
  });
}

void Evaluator::TryBatch(const Batch& batch) {
  ExtensionTransaction transaction(slot_, "writing alerts");
  handover_.Begin(batch.size());
  std::vector<ContainerCorrection> corrections;
  const std::vector<WriteResult> results = WriteRounds(batch, &corrections);
  std::unordered_set<const OutgoingTransition*> written;
  std::set<ContainerRef> containers;
  for (size_t i = 0; i < batch.size(); ++i) {
    if (results[i] == WriteResult::kLocked) continue;
    written.insert(batch[i]);
    const ContainerRef container = world_->engine.Find(batch[i]->transition.container_key);
    if (container != kNoContainer) containers.insert(container);
  }
  (void)world_->states.SaveContainers(containers, Outgoing(written));
  ALERTING_FREEZE_POINT("alerts_written");
  handover_.Publish();
  ALERTING_FREEZE_POINT("handed_over");
  transaction.Commit();
  ALERTING_FREEZE_POINT("alerts_committed");
  world_->states.Committed();
  reloaded_for_.clear();
  Settle(batch, results);
  corrections_.insert(corrections_.end(), corrections.begin(), corrections.end());
}

// A pair's second alert begins when its first has ended: a round for each. With a transaction for
// each, a metric that swings around its threshold would have its container's state, and with it all
// that waits, saved as many times as there are alerts.
std::vector<WriteResult> Evaluator::WriteRounds(const Batch& batch,
                                                std::vector<ContainerCorrection>* corrections) {
  std::vector<std::vector<size_t>> rounds;
  std::unordered_map<std::string, size_t> fired;
  for (size_t i = 0; i < batch.size(); ++i) {
    const Transition& transition = batch[i]->transition;
    size_t& fires = fired[PairOf(transition)];
    if (transition.kind == Transition::Kind::kFire) ++fires;
    const size_t round = std::max<size_t>(fires, 1) - 1;
    if (round >= rounds.size()) rounds.resize(round + 1);
    rounds[round].push_back(i);
  }
  std::vector<WriteResult> results(batch.size(), WriteResult::kLocked);
  std::unordered_set<std::string> waiting;  // pairs of which something is locked
  for (std::vector<size_t>& round : rounds) {
    if (!waiting.empty()) {
      std::erase_if(round,
                    [&](size_t i) { return waiting.contains(PairOf(batch[i]->transition)); });
    }
    if (round.empty()) continue;
    Batch part;
    for (const size_t i : round) part.push_back(batch[i]);
    const std::vector<WriteResult> part_results = world_->alerts.Write(part, &handover_);
    const auto& found = world_->alerts.corrections();
    corrections->insert(corrections->end(), found.begin(), found.end());
    for (size_t i = 0; i < round.size(); ++i) {
      results[round[i]] = part_results[i];
      if (part_results[i] == WriteResult::kLocked) waiting.insert(PairOf(part[i]->transition));
    }
  }
  return results;
}

std::vector<const OutgoingTransition*> Evaluator::Outgoing(
    const std::unordered_set<const OutgoingTransition*>& except) const {
  std::vector<const OutgoingTransition*> outgoing;
  for (const OutgoingTransition& transition : outbox_) {
    if (!transition.settled && !except.contains(&transition)) outgoing.push_back(&transition);
  }
  return outgoing;
}

// After the commit: marks what is to be forgotten, puts off the rest.
void Evaluator::Settle(const Batch& batch, const std::vector<WriteResult>& results) {
  const Micros retry_at = GetCurrentTimestamp() + kLockedPause;
  for (size_t i = 0; i < batch.size(); ++i) {
    if (results[i] == WriteResult::kLocked) {
      batch[i]->retry_at = retry_at;
      continue;
    }
    // The id may be that of an alert that was FIRING before.
    const auto known = world_->alert_ids.find(batch[i]->transition.alert);
    if (known != world_->alert_ids.end()) known->second = batch[i]->alert_id;
    batch[i]->settled = true;
    if (results[i] == WriteResult::kWritten) pg_atomic_fetch_add_u64(&slot_->transitions, 1);
  }
}

void Evaluator::ApplyCorrections() {
  for (const ContainerCorrection& correction : corrections_) {
    const ContainerRef container = world_->engine.Find(correction.key);
    if (container == kNoContainer) continue;
    if (correction.exists) {
      world_->engine.SetOrganization(container, correction.organization, judged_until_);
    } else {
      Remove(container);
    }
  }
  corrections_.clear();
}

void Evaluator::SaveState(Micros now, bool force) {
  CollectTransitions();  // a saved state never runs ahead of the transitions saved with it
  if (!world_->states.has_changes()) return;
  if (!force && state_saved_at_ != kNoTime && now - state_saved_at_ < save_interval_) return;
  ExtensionTransaction transaction(slot_, "saving state");
  size_t bytes = 0;
  try {
    bytes = world_->states.SaveChanged(Outgoing({}));
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
