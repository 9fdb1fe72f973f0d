// Rows that did not go through the queue, read back from the metrics tables: after a start, an
// overrun or a prepared transaction. Runs in the evaluator.
//
// Invariant: rows of all sources are judged as one stream in order of time, so that what several
// sources say of one container is judged as when it was written; rows judged before change nothing.
#include "ext/evaluator.h"
#include "ext/history_reader.h"
#include "pg/freeze_point.h"

namespace alerting::ext {

namespace {

constexpr Micros kFutureLimit = 5 * kMinute;
constexpr Micros kLockedPause = kSecond / 2;

}  // namespace

// Reads the tables that have rows to be read. One that somebody has locked is tried again later,
// one whose mapping does not fit any more waits for a new mapping; neither delays the others.
void Evaluator::Replay(Micros now) {
  for (;;) {
    const Source* broken = nullptr;
    try {
      ReplaySources(now, &broken);
      return;
    } catch (const pg::Error& error) {
      if (broken == nullptr) throw;
      WarnOfSource(*broken, error);
      to_replay_.erase(broken->mapping.id);
    }
  }
}

// Throws with *broken set when the error is that source's alone.
void Evaluator::ReplaySources(Micros now, const Source** broken) {
  ExtensionTransaction transaction(slot_, "reading metrics");
  std::vector<HistoryInput> inputs;
  for (const Source& source : world_->binding.sources) {
    const auto mark = to_replay_.find(source.mapping.id);
    if (mark == to_replay_.end()) continue;
    if (pg::Call([&] { return ConditionalLockRelationOid(source.relation, AccessShareLock); })) {
      inputs.push_back({&source, RangeToReplay(source, mark->second, now)});
    } else {
      replay_at_ = now + kLockedPause;
    }
  }
  HistoryReader reader(std::move(inputs), world_->engine,
                       [&](const std::vector<std::string_view>& keys) { AddUnknown(keys); });
  std::vector<Sample> samples;
  std::vector<ContainerRef> containers;
  try {
    for (bool rules_are_new = false; reader.Next(&samples, &containers); rules_are_new = true) {
      // A rule counts for every row that was committed after it, so what is known of the rules must
      // not be older than the snapshots that the rows are read by.
      if (!rules_are_new) world_->engine.SetRules(LoadRules(), now);
      world_->engine.Judge(samples, containers, now);
      samples_since_refresh_ = true;
      ALERTING_FREEZE_POINT("replaying");
    }
  } catch (...) {
    for (const SourceHistory& history : reader.sources()) {
      if (history.is_broken()) *broken = &history.source();
    }
    throw;
  }
  transaction.Commit();
  for (const SourceHistory& history : reader.sources()) {
    CountUnknown(history.unknown());
    pg_atomic_fetch_add_u64(&slot_->skipped, static_cast<int64>(history.failed()));
    pg_atomic_fetch_add_u64(&slot_->replays_done, 1);
    to_replay_.erase(history.source().mapping.id);
  }
}

ReadRange Evaluator::RangeToReplay(const Source& source, Micros from, Micros now) const {
  ReadRange range;
  range.after = from == kNoTime ? kNoTime : from - 1;
  if (source.settings.max_age != kNever) {
    range.after = std::max(range.after, SubtractTime(now, source.settings.max_age));
  }
  // Rows that the saved state or the queue has brought to judgement are not read again.
  const uint8_t readings = source.readings();
  for (ContainerRef ref = 0; ref < world_->engine.ref_limit(); ++ref) {
    if (world_->engine.Key(ref).empty()) continue;
    const Micros judged = world_->engine.JudgedUntil(ref, readings);
    if (judged <= range.after) continue;
    range.containers.emplace_back(world_->engine.Key(ref));
    // At the very time of the last reading only a correction would count.
    range.container_after.push_back(judged - 1);
  }
  const auto of_forgotten = rows_of_forgotten_.find(source.mapping.id);
  if (of_forgotten != rows_of_forgotten_.end()) {
    for (const auto& [key, judged] : of_forgotten->second) {
      const ContainerRef ref = world_->engine.Find(key);
      const bool has_rows =
          ref != kNoContainer && world_->engine.JudgedUntil(ref, readings) > judged;
      if (has_rows || judged <= range.after) continue;
      range.containers.push_back(key);
      range.container_after.push_back(judged);
    }
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
  // A row from the future was taken at its arrival; taking it again would judge it at a new time.
  range.until = now + kFutureLimit;
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
