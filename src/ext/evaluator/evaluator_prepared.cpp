// Prepared transactions (two-phase commit). They are decided later, by any session, perhaps after a
// restart, with no word to us. What they gave to the queue is held here until then; what had no
// room there, or was prepared before the evaluator started, is read from the tables.
#include <algorithm>

#include "core/chunk.h"
#include "core/chunk_order.h"
#include "ext/evaluator/evaluator.h"
#include "ext/evaluator/extension_transaction.h"
#include "pg/guc.h"

namespace alerting::ext {

namespace {

using pg::Decision;

constexpr Micros kShortestPause = kSecond / 1000;
constexpr Micros kLongestPause = kSecond;

bool HasPrepared(std::string_view chunks) {
  ChunkHeader header;
  std::string_view messages;
  while (NextChunk(&chunks, &header, &messages)) {
    if (header.prepared_xid != InvalidTransactionId) return true;
  }
  return false;
}

}  // namespace

// Holds what is undecided of what was drained, and gives what has been committed since a place
// among the rest.
void Evaluator::SettlePrepared(Micros now) {
  std::string_view rest = drained_;
  ChunkHeader header;
  std::string_view messages;
  Micros arrival = now;
  if (NextChunk(&rest, &header, &messages)) {
    arrival = judged_until_ = std::max(judged_until_, header.committed_at);
  }
  if (held_.empty() && !HasPrepared(drained_)) return;
  ChunkOrder order(
      arrival, [this](std::string_view key) { return world_ != nullptr ? KnownKey(key) : key; });
  std::vector<HeldChunk> before = std::exchange(held_, {});
  try {
    for (HeldChunk& held : before) {
      const Decision decision = pg::DecisionOf(held.xid);
      if (decision == Decision::kCommitted) order.AddPrepared(held.prepared_at, held.messages);
      if (decision == Decision::kNone) held_.push_back(std::move(held));
    }
    for (rest = drained_; NextChunk(&rest, &header, &messages);) {
      const TransactionId xid = header.prepared_xid;
      if (xid == InvalidTransactionId) {
        order.Add(header, messages);
        continue;
      }
      const Decision decision = pg::DecisionOf(xid);
      if (decision == Decision::kCommitted) order.AddPrepared(header.committed_at, messages);
      if (decision == Decision::kNone) {
        Hold({xid, std::min(header.committed_at, now), std::string(messages)});
      }
    }
    drained_ = order.Take();
  } catch (...) {
    held_.clear();
    reload_ = true;  // all are in the tables
    throw;
  }
}

void Evaluator::Hold(HeldChunk chunk) {
  size_t bytes = chunk.messages.size();
  for (const HeldChunk& held : held_) bytes += held.messages.size();
  if (bytes > static_cast<size_t>(pg::guc_queue_size_kb) * 1024) {
    has_unlisted_ = true;
  } else {
    held_.push_back(std::move(chunk));
  }
}

// Reads the tables once one of those has been decided that are not held.
void Evaluator::WatchPrepared(Micros now) {
  if (slot_->prepared) {  // who sets it wakes us afterwards
    LWLockAcquire(&slot_->lock, LW_EXCLUSIVE);
    has_unlisted_ = std::exchange(slot_->prepared, false) || has_unlisted_;
    LWLockRelease(&slot_->lock);
  }
  const auto is_decided = [](TransactionId xid) { return pg::DecisionOf(xid) != Decision::kNone; };
  if (!has_unlisted_ && !std::any_of(watched_.begin(), watched_.end(), is_decided)) return;
  if (HasOtherSources()) {
    reload_ = true;  // which reads the tables, too
    return;
  }
  rules_stale_ = containers_stale_ = true;
  marks_.push_back({0, kNoTime});
  // Those that are decided between this look and the reading are found by the next look.
  watched_ = ListPrepared();
  has_unlisted_ = false;
  CatchUp(now);
}

// Whether tables have been attached or detached.
bool Evaluator::HasOtherSources() const {
  ExtensionTransaction transaction(slot_, "looking at the binding");
  const std::optional<Binding> binding = LoadBinding();
  transaction.Commit();
  const auto id = [](const Source& source) { return source.mapping.id; };
  return !binding || binding->created_at != world_->binding.created_at ||
         !std::ranges::equal(binding->sources, world_->binding.sources, {}, id, id);
}

// The sooner after a PREPARE, the sooner its decision is to be expected.
Micros Evaluator::NextLookAtPrepared(Micros now) const {
  if (held_.empty()) return watched_.empty() ? kNever : now + kLongestPause;
  const Micros age = now - held_.back().prepared_at;
  return now + std::clamp(age, kShortestPause, kLongestPause);
}

// Those of this database that are not held.
std::vector<TransactionId> Evaluator::ListPrepared() const {
  ExtensionTransaction transaction(slot_, "watching prepared transactions");
  const pg::Rows rows = pg::Execute(
      "SELECT transaction::text::bigint FROM pg_prepared_xacts WHERE database = "
      "current_database()");
  std::vector<TransactionId> prepared;
  for (uint64_t row = 0; row < rows.size(); ++row) {
    const auto xid = static_cast<TransactionId>(rows.BigInt(row, 0));
    const auto is_it = [&](const HeldChunk& held) { return held.xid == xid; };
    if (std::none_of(held_.begin(), held_.end(), is_it)) prepared.push_back(xid);
  }
  transaction.Commit();
  return prepared;
}

}  // namespace alerting::ext
