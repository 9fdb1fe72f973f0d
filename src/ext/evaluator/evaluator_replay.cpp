// Rows that did not go through the queue, read back from the metrics tables: after a start, an
// overrun or a prepared transaction. Runs in the evaluator.
//
// Invariant: rows of all sources are judged as one stream in order of time, so that what several
// sources say of one container is judged as when it was written; rows judged before change nothing.
#include "core/chunk.h"
#include "core/message.h"
#include "ext/evaluator/evaluator.h"
#include "ext/evaluator/extension_transaction.h"
#include "ext/evaluator/retry_pause.h"
#include "ext/host/history_reader.h"
#include "pg/freeze_point.h"

namespace alerting::ext {

namespace {

constexpr Micros kMarkingPause = kSecond / 1000;

}  // namespace

// Reads the tables that have rows to be read. One that somebody has locked, or whose mapping reads
// what is locked, is tried again later, one whose mapping does not fit any more waits for a new
// mapping; neither delays the others.
void Evaluator::Replay(Micros now) {
  // Whoever has left a mark may have attached a partition, which is not seen before he has ended.
  if (pg_atomic_read_u32(&slot_->marking) > 0) {
    replay_at_ = now + kMarkingPause;
    return;
  }
  for (;;) {
    const Source* failed = nullptr;
    bool is_held_up = false;
    try {
      ReplaySources(now, &failed, &is_held_up);
      return;
    } catch (const pg::Error& error) {
      if (failed == nullptr) throw;
      if (is_held_up) {
        HoldUp(*failed, error);
        continue;
      }
      WarnOfSource(*failed, error);
      to_replay_.erase(failed->mapping.id);
      held_up_.erase(failed->mapping.id);
    }
  }
}

void Evaluator::HoldUp(const Source& source, const pg::Error& error) {
  HeldUp* held_up = &held_up_.try_emplace(source.mapping.id, HeldUp{kNoTime, 0}).first->second;
  const bool locked = error.sqlstate() == ERRCODE_LOCK_NOT_AVAILABLE;
  held_up->until = GetCurrentTimestamp() + PauseAfterFailure(locked, held_up->times);
  problem_ = error.what();
  if (held_up->times++ > 0 || locked) return;
  const std::string problem = problem_;
  pg::Call([&] {
    ereport(LOG, (errcode(error.sqlstate()),
                  errmsg("alerting: table %s cannot be read at the moment: %s",
                         source.label.c_str(), problem.c_str()),
                  errdetail("It is tried again; other tables are not affected.")));
  });
}

// Throws with *failed set when the error is that source's alone; *is_held_up when it will pass.
void Evaluator::ReplaySources(Micros now, const Source** failed, bool* is_held_up) {
  ExtensionTransaction transaction(slot_, "reading metrics");
  std::vector<HistoryInput> inputs;
  Micros next = kNever;
  for (const Source& source : world_->binding.sources) {
    const auto mark = to_replay_.find(source.mapping.id);
    if (mark == to_replay_.end()) continue;
    const auto held_up = held_up_.find(source.mapping.id);
    if (held_up != held_up_.end() && held_up->second.until > now) {
      next = std::min(next, held_up->second.until);
    } else if (pg::Call(
                   [&] { return ConditionalLockRelationOid(source.relation, AccessShareLock); })) {
      inputs.push_back({&source, RangeToReplay(source, mark->second, now)});
    } else {
      next = std::min(next, now + kLockedPause);
    }
  }
  if (inputs.empty()) {
    replay_at_ = next;
    return;
  }
  const size_t read_back = DrainBeforeReading(now);
  // With the locks that keep tables from being rewritten.
  transaction.TakeSnapshot();
  HistoryReader reader(std::move(inputs), world_->engine,
                       [&](const std::vector<std::string_view>& keys) { AddUnknown(keys); });
  std::vector<Sample> samples;
  std::vector<ContainerRef> containers;
  try {
    for (bool rules_are_new = false; reader.Next(&samples, &containers); rules_are_new = true) {
      // A rule counts for every row that was committed after it, so what is known of the rules must
      // not be older than the snapshots that the rows are read by.
      if (!rules_are_new) world_->engine.SetRules(LoadRules(world_->binding), now);
      world_->engine.ClearJudged(samples, containers);
      world_->engine.Judge(samples, containers, now);
      samples_since_refresh_ = true;
      ALERTING_FREEZE_POINT("replaying");
    }
  } catch (...) {
    for (const SourceHistory& history : reader.sources()) {
      if (!history.is_broken() && !history.is_held_up()) continue;
      *failed = &history.source();
      *is_held_up = history.is_held_up();
    }
    throw;
  }
  transaction.Commit();
  for (const SourceHistory& history : reader.sources()) {
    CountUnknown(history.unknown());
    pg_atomic_fetch_add_u64(&slot_->skipped, static_cast<int64>(history.failed()));
    pg_atomic_fetch_add_u64(&slot_->replays_done, 1);
    to_replay_.erase(history.source().mapping.id);
    held_up_.erase(history.source().mapping.id);
    if (read_back > 0) read_back_[history.source().mapping.id] = read_back;
  }
  replay_at_ = next;
}

// While all is loaded: what has come since Load() emptied the queue is in the tables, too, which
// are read next, in its last form. Gives up to where drained_ has such rows.
size_t Evaluator::DrainBeforeReading(Micros now) {
  if (!reload_) return 0;
  ring_->Drain(&drained_);
  SettlePrepared(now);
  std::string_view rest = drained_;
  ChunkHeader header;
  std::string_view messages;
  size_t read_back = 0;
  while (NextChunk(&rest, &header, &messages)) {
    MessageReader reader(messages);
    Message message;
    while (reader.Next(&message)) {
      // What follows are rows of another container, perhaps, whose key the read ones had.
      if (message.kind == MessageKind::kContainerDeleted ||
          message.kind == MessageKind::kContainersTruncated) {
        return read_back;
      }
    }
    read_back = drained_.size() - rest.size();
  }
  return read_back;
}

ReadRange Evaluator::RangeToReplay(const Source& source, Micros from, Micros now) const {
  ReadRange range;
  range.after = from == kNoTime ? kNoTime : from - 1;
  if (source.settings.max_age != kNever) {
    range.after = std::max(range.after, SubtractTime(now, source.settings.max_age));
  }
  // Rows that the saved state or the queue has brought to judgement are not read again.
  const Engine& engine = world_->engine;
  const auto read_after = [&](std::string_view key, Micros after) {
    if (after < range.after || after == kNoTime) return;
    range.containers.emplace_back(key);
    range.container_after.push_back(after);
  };
  // Rows that had no room are the new container's, whatever time they tell.
  std::unordered_map<std::string, Micros> forgotten;
  if (from == kNoTime) forgotten = world_->states.ForgottenRows(source.mapping.id);
  for (ContainerRef ref = 0; ref < engine.ref_limit(); ++ref) {
    if (!engine.Has(ref)) continue;
    const std::string_view key = engine.Key(ref);
    const Micros judged = engine.JudgedUntil(ref, source.readings());
    // At the very time of the last reading only a correction would count.
    Micros after = judged == kNoTime ? kNoTime : judged - 1;
    if (judged == kNoTime && !forgotten.empty()) {
      const auto found = forgotten.find(std::string(key));
      if (found != forgotten.end()) after = found->second;
    }
    read_after(key, after);
  }
  for (const auto& [key, judged] : forgotten) {
    const ContainerRef ref = engine.Find(key);
    if (ref == kNoContainer || engine.Key(ref) != key) read_after(key, judged);
  }
  if (source.is_indexed_by_container) {
    range.by_container = true;
    std::unordered_set<std::string> given;
    for (const std::string& key : range.containers) {
      given.insert(KeyText(source.mapping.key_kind, key));
    }
    range.other_containers = world_->directory.AllKeyTexts();
    std::erase_if(range.other_containers,
                  [&](const std::string& text) { return given.contains(text); });
  }
  return range;
}

void Evaluator::WarnOfSource(const Source& source, const pg::Error& error) {
  const std::string problem = error.what();
  pg::Call([&] {
    ereport(WARNING,
            (errcode(error.sqlstate()),
             errmsg("alerting: table %s cannot be read: %s", source.label.c_str(), problem.c_str()),
             errdetail("Rows that did not go through the queue are not evaluated."),
             errhint("Attach the table again with alerting.attach_metrics().")));
  });
}

}  // namespace alerting::ext
