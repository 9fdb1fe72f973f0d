// What the evaluator takes in: the queue's chunks in commit order, changed rules and containers.
#include <algorithm>
#include <array>
#include <set>

#include "core/chunk.h"
#include "core/message.h"
#include "ext/evaluator/evaluator.h"
#include "ext/evaluator/extension_transaction.h"
#include "pg/freeze_point.h"
#include "pg/sample_queue.h"

namespace alerting::ext {

namespace {

constexpr size_t kKeysPerLookup = 10'000;
constexpr size_t kSamplesPerSearch = 256;
constexpr size_t kBytesAtOnce = 512 * 1024;

bool IsUsable(const ContainerInfo& info) { return info.organization.has_value(); }

}  // namespace

// Takes what waits in the queue, or a part of it, and what had no room there. False when there may
// be more already.
// What an error interrupts stays, and is taken up again before anything newer.
bool Evaluator::TakeInput(Micros now) {
  CatchUp(now);
  if (drained_.empty()) {
    DrainChunks(ring_, kBytesAtOnce, &drained_);
    const bool has_drained = !drained_.empty();
    SettlePrepared(now);
    WatchPrepared(now);
    if (has_drained && drained_.empty()) return false;
  }
  if (!drained_.empty()) {
    ALERTING_FREEZE_POINT("drained");
    if (!reload_) JudgeChunks();
    if (reload_) return false;  // the rest is looked through by Load()
    drained_.clear();
    read_back_.clear();
    judged_bytes_ = 0;
    return false;
  }
  judged_until_ = now;
  return !TakeMarks(now);
}

// Finds the containers of all samples in the chunks, in their order; one look-up in the database
// for all that are new.
std::vector<ContainerRef> Evaluator::FindContainers(std::string_view chunks) {
  std::vector<ContainerRef> containers;
  std::vector<std::string_view> unknown;
  std::vector<Sample> samples;
  const auto search = [&] {
    std::array<ContainerRef, kSamplesPerSearch> found;
    world_->engine.FindAll(samples, found);
    for (size_t i = 0; i < samples.size(); ++i) {
      if (found[i] == kNoContainer) unknown.push_back(samples[i].container);
    }
    containers.insert(containers.end(), found.begin(), found.begin() + samples.size());
    samples.clear();
  };
  ChunkHeader header;
  std::string_view messages;
  while (NextChunk(&chunks, &header, &messages)) {
    MessageReader reader(messages);
    Message message;
    while (reader.Next(&message)) {
      if (message.kind != MessageKind::kSample) continue;
      samples.push_back(message.sample);
      if (samples.size() == kSamplesPerSearch) search();
    }
  }
  search();
  if (!unknown.empty()) LookUpUnknown(unknown);
  return containers;
}

void Evaluator::JudgeChunks() {
  std::vector<Sample> samples;
  std::vector<ContainerRef> containers;
  ChunkHeader header;
  std::string_view messages;
  std::string_view rest = std::string_view(drained_).substr(judged_bytes_);
  const std::vector<ContainerRef> all_containers = FindContainers(rest);
  auto next_container = all_containers.begin();
  bool renumbered = false;     // containers have come or gone since
  bool rules_are_new = false;  // as of a moment when all of these chunks were committed
  while (NextChunk(&rest, &header, &messages)) {
    bool rules_changed = false;
    bool binding_changed = false;
    std::vector<std::string> changed_containers;
    std::vector<std::string_view> deleted_containers;
    std::unordered_map<std::string_view, size_t> samples_before_deletion;
    samples.clear();
    containers.clear();
    MessageReader reader(messages);
    Message message;
    while (reader.Next(&message)) {
      switch (message.kind) {
        case MessageKind::kSample: {
          const ContainerRef container = *next_container++;
          if (LeaveToReplay(message.sample) || IsReadBack(message.sample)) break;
          samples.push_back(message.sample);
          containers.push_back(container);
          break;
        }
        case MessageKind::kRulesChanged:
          rules_changed = true;
          break;
        case MessageKind::kContainerChanged:
          changed_containers.emplace_back(message.sample.container);
          break;
        case MessageKind::kBindingChanged:
          // While all is loaded, this is known already.
          if (!reload_) binding_changed = true;
          break;
        case MessageKind::kContainerDeleted:
          deleted_containers.push_back(message.sample.container);
          samples_before_deletion[KnownKey(message.sample.container)] = samples.size();
          break;
        case MessageKind::kContainersTruncated:
          binding_changed = forget_all_ = true;
          break;
        case MessageKind::kNotice:
          notices_.emplace_back(message.sample.container);
          break;
      }
    }
    // What follows may be of tables that this binding does not know, or has not read yet: judged
    // now, it would overtake their older rows.
    if (binding_changed) {
      reload_ = only_sources_ = true;
      return;
    }
    if (!samples_before_deletion.empty()) LeaveOutDeleted(samples_before_deletion, &samples);
    judged_until_ = header.committed_at;
    world_->engine.Advance(judged_until_);
    renumbered = renumbered || !deleted_containers.empty() || !changed_containers.empty();
    if (!deleted_containers.empty()) ForgetContainers(deleted_containers);
    if (!changed_containers.empty()) RefreshContainers(changed_containers);
    if (rules_changed && !std::exchange(rules_are_new, true)) ReloadRules();
    if (renumbered) {
      containers.resize(samples.size());
      world_->engine.FindAll(samples, containers);
    }
    JudgeSamples(samples, containers, header.committed_at);
    pg_atomic_write_u64(&slot_->evaluated_until, static_cast<uint64_t>(header.committed_at));
    judged_bytes_ = drained_.size() - rest.size();
  }
}

// Rows that a transaction wrote before it deleted their container: so many of the first samples.
void Evaluator::LeaveOutDeleted(const std::unordered_map<std::string_view, size_t>& deleted,
                                std::vector<Sample>* samples) const {
  size_t kept = 0;
  for (size_t i = 0; i < samples->size(); ++i) {
    const auto found = deleted.find(KnownKey((*samples)[i].container));
    if (found == deleted.end() || i >= found->second) (*samples)[kept++] = (*samples)[i];
  }
  samples->resize(kept);
}

// The key as the host's table has it, where it may be written otherwise and is known.
std::string_view Evaluator::KnownKey(std::string_view key) const {
  if (!world_->binding.container_type.varies) return key;
  const ContainerRef container = world_->engine.Find(key);
  return container == kNoContainer ? key : world_->engine.Key(container);
}

// A source whose table is still to be read is judged from there alone: newer rows must not come
// before older ones.
bool Evaluator::LeaveToReplay(const Sample& sample) {
  if (to_replay_.empty()) return false;
  const auto source = to_replay_.find(sample.source);
  if (source == to_replay_.end()) return false;
  source->second = std::min(source->second, sample.at);
  return true;
}

// The table may have had a newer form of it.
bool Evaluator::IsReadBack(const Sample& sample) const {
  if (read_back_.empty()) return false;
  const auto source = read_back_.find(sample.source);
  return source != read_back_.end() && judged_bytes_ < source->second;
}

void Evaluator::LookUpUnknown(const std::vector<std::string_view>& keys) {
  ExtensionTransaction transaction(slot_, "looking up containers");
  AddUnknown(keys);
  transaction.Commit();
}

// Adds those that exist and have an organization; the others stay unknown.
void Evaluator::AddUnknown(const std::vector<std::string_view>& keys) {
  std::unordered_set<std::string_view> seen;
  std::vector<std::string> wanted;
  for (const std::string_view key : keys) {
    if (seen.insert(key).second) wanted.emplace_back(key);
  }
  for (size_t start = 0; start < wanted.size(); start += kKeysPerLookup) {
    const size_t end = std::min(wanted.size(), start + kKeysPerLookup);
    const std::vector<std::string> part(wanted.begin() + static_cast<ptrdiff_t>(start),
                                        wanted.begin() + static_cast<ptrdiff_t>(end));
    for (const auto& [key, info] : world_->directory.Find(part)) {
      if (!IsUsable(info)) continue;
      (void)world_->engine.Add(info.key, *info.organization);
      if (info.key != key) world_->engine.AddSpelling(key, info.key);
    }
  }
}

// `containers`: those of the samples; what is unknown there may have been added since.
void Evaluator::JudgeSamples(std::span<const Sample> samples, std::span<ContainerRef> containers,
                             Micros arrival) {
  if (samples.empty()) return;
  uint64_t unknown = 0;
  for (size_t i = 0; i < samples.size(); ++i) {
    if (containers[i] == kNoContainer) {
      containers[i] = world_->engine.Find(samples[i].container);
      if (containers[i] == kNoContainer) ++unknown;
    }
    WarnOfBackfill(samples[i], arrival);
  }
  CountUnknown(unknown);
  world_->engine.Judge(samples, containers, arrival);
  samples_since_refresh_ = true;
}

void Evaluator::CountUnknown(uint64_t rows) {
  if (rows > 0) pg_atomic_fetch_add_u64(&slot_->unknown, static_cast<int64>(rows));
}

void Evaluator::WarnOfBackfill(const Sample& sample, Micros arrival) {
  const Source* source = world_->binding.FindSource(sample.source);
  if (source == nullptr || source->settings.max_age == kNever) return;
  if (sample.at >= SubtractTime(arrival, source->settings.max_age)) return;
  if (!warned_of_backfill_.insert(sample.source).second) return;
  pg::Call([&] {
    ereport(WARNING,
            (errmsg("alerting: rows of table %s are older than its max_age and are not evaluated",
                    source->label.c_str()),
             errdetail("They are counted as backfill in alerting.status(); this is told once."),
             errhint("For imports that should raise alerts, attach the table again with a larger "
                     "max_age, or max_age => NULL.")));
  });
}

void Evaluator::ReloadRules() {
  ExtensionTransaction transaction(slot_, "loading rules");
  std::vector<Rule> rules = LoadRules(world_->binding);
  transaction.Commit();
  world_->engine.SetRules(std::move(rules), judged_until_);
  // Their organization may be written otherwise by now, which nobody tells of the containers.
  if (world_->binding.organization_type.varies) containers_stale_ = true;
}

// Their alerts went with their rows. Some may have been made again, under the same key: those are
// other containers, without a past.
void Evaluator::ForgetContainers(const std::vector<std::string_view>& keys) {
  std::vector<std::string_view> forgotten;
  for (const std::string_view key : keys) {
    if (world_->engine.Find(key) != kNoContainer) forgotten.push_back(key);
  }
  if (forgotten.empty()) return;
  {
    ExtensionTransaction transaction(slot_, "forgetting containers");
    world_->alerts.DeleteOrphans({forgotten.begin(), forgotten.end()});
    transaction.Commit();
  }
  std::set<ContainerRef> removed;
  for (const std::string_view key : forgotten) {
    const ContainerRef container = world_->engine.Find(key);
    if (container == kNoContainer) continue;
    Remove(container);
    removed.insert(container);
  }
  // Nobody tells a restart of it again.
  transitions_.Collect();  // a saved state never runs ahead of the transitions saved with it
  ExtensionTransaction transaction(slot_, "forgetting containers");
  try {
    (void)world_->states.SaveContainers(removed, transitions_.Waiting());
    AddUnknown(forgotten);
    transaction.Commit();
  } catch (...) {
    world_->states.Discard();
    throw;
  }
  world_->states.Committed();
}

void Evaluator::Remove(ContainerRef container) {
  world_->states.Forget(container);
  world_->engine.Remove(container);
}

// Looks the containers up again: some have moved to another organization or are gone.
void Evaluator::RefreshContainers(const std::vector<std::string>& keys) {
  std::vector<std::string> known;
  for (const std::string& key : keys) {
    if (world_->engine.Find(key) != kNoContainer) known.push_back(key);
  }
  if (known.empty()) return;
  ExtensionTransaction transaction(slot_, "looking up containers");
  const auto found = world_->directory.Find(known);
  std::vector<std::string> gone;
  for (const std::string& key : known) {
    if (!found.contains(key)) gone.push_back(key);
  }
  world_->alerts.DeleteOrphans(gone);
  transaction.Commit();
  for (const std::string& key : known) {
    const ContainerRef container = world_->engine.Find(key);
    if (container == kNoContainer) continue;
    const auto info = found.find(key);
    if (info == found.end()) {
      Remove(container);
    } else if (!info->second.organization_fails) {
      world_->engine.SetOrganization(container, info->second.organization.value_or(""),
                                     judged_until_);
    }
  }
}

void Evaluator::RefreshAllContainers() {
  std::vector<std::string> keys;
  for (ContainerRef ref = 0; ref < world_->engine.ref_limit(); ++ref) {
    if (world_->engine.Has(ref)) keys.emplace_back(world_->engine.Key(ref));
  }
  for (size_t start = 0; start < keys.size(); start += kKeysPerLookup) {
    const size_t end = std::min(keys.size(), start + kKeysPerLookup);
    RefreshContainers(
        {keys.begin() + static_cast<ptrdiff_t>(start), keys.begin() + static_cast<ptrdiff_t>(end)});
  }
  refreshed_at_ = GetCurrentTimestamp();
  samples_since_refresh_ = false;
}

// What writers left when the queue could not take their rows. Only once the queue is empty: what
// lies in it was committed before. True when there was something.
bool Evaluator::TakeMarks(Micros now) {
  bool taken = false;
  marks_.reserve(pg::kMaxReplays + 1);  // nothing may throw while the lock is held
  LWLockAcquire(&slot_->lock, LW_EXCLUSIVE);
  if (ring_->size() == 0) {
    taken = slot_->replay_count > 0 || slot_->replay_all || slot_->rules_changed ||
            slot_->containers_changed || slot_->binding_changed;
    marks_.assign(slot_->replays, slot_->replays + slot_->replay_count);
    if (slot_->replay_all) marks_.push_back({0, slot_->replay_all_from});
    slot_->replay_count = 0;
    slot_->replay_all = false;
    rules_stale_ = std::exchange(slot_->rules_changed, false);
    containers_stale_ = std::exchange(slot_->containers_changed, false) || containers_stale_;
    if (std::exchange(slot_->binding_changed, false)) reload_ = true;
  }
  LWLockRelease(&slot_->lock);
  CatchUp(now);
  return taken;
}

// Does what is known to have been missed.
void Evaluator::CatchUp(Micros now) {
  if (rules_stale_) ReloadRules();
  rules_stale_ = false;
  if (containers_stale_) RefreshAllContainers();
  containers_stale_ = false;
  for (const Source& source : world_->binding.sources) {
    for (const pg::ReplayMark& mark : marks_) {
      if (mark.source != 0 && mark.source != source.mapping.id) continue;
      const auto [known, is_new] = to_replay_.try_emplace(source.mapping.id, mark.from);
      if (!is_new) known->second = std::min(known->second, mark.from);
      replay_at_ = now;
    }
  }
  marks_.clear();
  if (!to_replay_.empty() && now >= replay_at_) Replay(now);
}

}  // namespace alerting::ext
