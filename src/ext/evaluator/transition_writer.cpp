// Implements ext/evaluator/transition_writer.h.
#include "ext/evaluator/transition_writer.h"

#include <algorithm>
#include <chrono>
#include <set>
#include <utility>

#include "core/batch_limit.h"
#include "core/clock_steps.h"
#include "ext/cuid.h"
#include "ext/evaluator/extension_transaction.h"
#include "ext/evaluator/retry_pause.h"
#include "pg/freeze_point.h"

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
constexpr int kMostLockWaits = 20;  // in a pass: to find one among so many as a transaction holds

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

void TransitionWriter::Begin(World* world) {
  world_ = world;
  outbox_.clear();
  corrections_.clear();
}

void TransitionWriter::Collect() {
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

void TransitionWriter::Write(Micros now) {
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
  const auto has_failed = [](const OutgoingTransition& outgoing) { return outgoing.failures > 0; };
  if (std::none_of(outbox_.begin(), outbox_.end(), has_failed)) problem_.clear();
}

Micros TransitionWriter::NextDue(Micros now) const {
  Micros next = kNever;
  for (const OutgoingTransition& outgoing : outbox_) {
    next = std::min(next, outgoing.retry_at == kNoTime ? now : outgoing.retry_at);
  }
  return next;
}

void TransitionWriter::PutBackTimes(Micros by) {
  for (OutgoingTransition& outgoing : outbox_) PutBack({&outgoing.retry_at}, by);
}

// Writes the batch in one transaction; on an error halves it until the transition that cannot be
// written stands alone and is put off.
void TransitionWriter::WriteBatch(Batch batch) {
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
void TransitionWriter::PutOff(const Batch& batch, const pg::Error& error) {
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

void TransitionWriter::TryBatch(const Batch& batch) {
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
  (void)world_->states.SaveContainers(containers, WaitingExcept(written));
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
std::vector<WriteResult> TransitionWriter::WriteRounds(
    const Batch& batch, std::vector<ContainerCorrection>* corrections) {
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

std::vector<const OutgoingTransition*> TransitionWriter::WaitingExcept(
    const std::unordered_set<const OutgoingTransition*>& written) const {
  std::vector<const OutgoingTransition*> outgoing;
  for (const OutgoingTransition& transition : outbox_) {
    if (!transition.settled && !written.contains(&transition)) outgoing.push_back(&transition);
  }
  return outgoing;
}

// After the commit: marks what is to be forgotten, puts off the rest.
void TransitionWriter::Settle(const Batch& batch, const std::vector<WriteResult>& results) {
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

}  // namespace alerting::ext
