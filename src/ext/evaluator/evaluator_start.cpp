// The evaluator's start: binding, saved states, FIRING alerts, and the rows since.
#include "core/chunk.h"
#include "ext/capture/transaction_buffer.h"
#include "ext/evaluator/evaluator.h"
#include "ext/evaluator/extension_transaction.h"
#include "pg/freeze_point.h"
#include "pg/guc.h"
#include "pg/sample_queue.h"

namespace alerting::ext {

void Evaluator::Load() {
  if (world_ != nullptr && !forget_all_ && !IsOtherBinding()) {
    SaveState(GetCurrentTimestamp(), true);
  }
  reload_ = true;  // until all of this has succeeded
  bool keeps_queue = MayKeepQueue();
  // What is not judged from the queue is read from the tables below; but which containers were
  // deleted is said here alone.
  drained_.erase(0, judged_bytes_);
  judged_bytes_ = 0;
  read_back_.clear();
  NoteForgotten(drained_);
  if (!keeps_queue) drained_.clear();
  marks_.clear();
  to_replay_.clear();
  held_up_.clear();
  rules_stale_ = containers_stale_ = false;
  const Micros watched_since = world_ != nullptr ? world_->engine.watched_since() : kNever;
  transitions_.Begin(nullptr);
  world_.reset();
  published_ = {};
  // First the queue, then the snapshot: what commits in between is in both, which does no harm.
  ring_ = pg::OpenQueue(slot_, static_cast<size_t>(pg::guc_queue_size_kb) * 1024);
  // What waits in it is in the tables, in its last form: an earlier form, judged after that, would
  // look like a correction of it.
  ring_->Drain(&drained_);
  SettlePrepared(GetCurrentTimestamp());
  NoteForgotten(drained_);
  const bool has_marks = TakeForgotten();
  keeps_queue = keeps_queue && only_sources_ && !has_marks && !forget_all_ && forgotten_.empty();
  only_sources_ = false;
  std::optional<std::vector<uint32_t>> to_read;

  const Micros started = GetCurrentTimestamp();
  const Micros since = std::min(watched_since, started);  // the clock may have been put back
  pg_atomic_write_u64(&slot_->evaluator_started, static_cast<uint64_t>(since));
  {
    ExtensionTransaction transaction(slot_, "loading rules and state");
    AdoptLayout();
    // First the versions: what changes in between is told again, and must look changed then.
    const Versions former = std::exchange(versions_, LoadVersions());
    std::optional<Binding> binding = LoadBinding();
    if (!binding) {
      (void)pg::ChangeWish(slot_, {pg::Wish::kProbing, pg::Wish::kRun}, pg::Wish::kNothing);
      throw pg::WorkerExit();
    }
    world_ = std::make_unique<World>(std::move(*binding), started, since);
    transitions_.Begin(world_.get());
    world_->binding.SetSources(&world_->engine);
    world_->engine.SetRules(LoadRules(world_->binding), started);
    if (keeps_queue) to_read = SourcesToRead(former);
    RestoreStates();
    transaction.Commit();
  }
  slot_->held = world_->binding.is_copy;
  if (pg::ChangeWish(slot_, {pg::Wish::kProbing, pg::Wish::kProbe}, pg::Wish::kRun)) {
    pg::WakeLauncher();
  }
  world_->states.MarkAllChanged();
  judged_until_ = state_saved_at_ = started;
  save_interval_ = 0;
  refreshed_at_ = started;
  ALERTING_FREEZE_POINT("loaded");
  if (to_read) {
    JudgeQueue(*to_read);
    judged_until_ = started;
  } else {
    // Those that are decided between this look and the reading are found by the next look.
    watched_ = ListPrepared();
    has_unlisted_ = false;
    marks_.push_back({0, kNoTime});
  }
  drained_.clear();
  judged_bytes_ = 0;
  CatchUp(GetCurrentTimestamp());
  reload_ = forget_all_ = false;
  forgotten_.clear();
}

// Whether all that was missed so far waits in the queue, and it may be only metrics tables that
// have come or changed. Then the rows of all others are judged from there: a table whose rows are
// updated in place has their last form only.
bool Evaluator::MayKeepQueue() {
  only_sources_ = only_sources_ && world_ != nullptr && !forget_all_ && marks_.empty() &&
                  to_replay_.empty() && watched_.empty() && !has_unlisted_;
  return only_sources_;
}

Evaluator::Versions Evaluator::LoadVersions() {
  const Oid owner = TablesOwner();
  if (!OidIsValid(owner) || !OidIsValid(OwnTable("host_binding"))) return {};
  const pg::UserScope user(owner, false);
  const pg::Rows rows = pg::Execute(
      "SELECT 0, xmin::text::int8 FROM alerting.host_binding"
      " UNION ALL SELECT id, xmin::text::int8 FROM alerting.metric_source");
  Versions versions;
  for (uint64_t row = 0; row < rows.size(); ++row) {
    versions[static_cast<uint32_t>(rows.Int(row, 0))] = static_cast<uint32_t>(rows.BigInt(row, 1));
  }
  return versions;
}

// Those that have come, gone or changed since; nullopt when all have to be read: the binding has
// changed, or others give the same metrics, whose newer rows would overtake theirs.
std::optional<std::vector<uint32_t>> Evaluator::SourcesToRead(const Versions& former) const {
  const auto is_same = [&](uint32_t id) {
    const auto before = former.find(id);
    const auto now = versions_.find(id);
    return before != former.end() && now != versions_.end() && before->second == now->second;
  };
  if (!is_same(0)) return std::nullopt;
  constexpr unsigned kMemoryReadings = kMemory | kMemoryUsed | kMemoryLimit;
  std::vector<uint32_t> changed;
  unsigned of_changed = 0;
  unsigned of_others = 0;
  for (const Source& source : world_->binding.sources) {
    unsigned readings = source.readings();
    if ((readings & kMemoryReadings) != 0) readings |= kMemoryReadings;
    if (is_same(source.mapping.id)) {
      of_others |= readings;
    } else {
      of_changed |= readings;
      changed.push_back(source.mapping.id);
    }
  }
  if ((of_changed & of_others) != 0) return std::nullopt;
  for (const auto& [id, version] : former) {
    if (id != 0 && world_->binding.FindSource(id) == nullptr) changed.push_back(id);
  }
  return changed;
}

// Judges what was drained, but for the rows of these sources: their tables are read afterwards.
void Evaluator::JudgeQueue(const std::vector<uint32_t>& to_read) {
  for (const uint32_t source : to_read) to_replay_.emplace(source, kNoTime);
  replay_at_ = judged_until_;
  JudgeChunks();
  std::erase_if(to_replay_, [&](const auto& source) {
    return world_->binding.FindSource(source.first) == nullptr;
  });
}

// Which containers the messages tell to have been deleted, and what is to be notified.
void Evaluator::NoteForgotten(std::string_view chunks) {
  ChunkHeader header;
  std::string_view messages;
  while (NextChunk(&chunks, &header, &messages)) {
    MessageReader reader(messages);
    Message message;
    while (reader.Next(&message)) {
      if (message.kind == MessageKind::kContainersTruncated) forget_all_ = true;
      if (message.kind == MessageKind::kNotice) notices_.emplace_back(message.sample.container);
      // It names a container whose key has changed.
      if (message.kind == MessageKind::kBindingChanged && !message.sample.container.empty()) {
        only_sources_ = false;
      }
      if (message.kind == MessageKind::kContainerDeleted) {
        forgotten_.insert(KeyHash(message.sample.container));
      }
    }
  }
}

// Clears what writers left because the queue could not take it; when there was something, all is
// read from the tables.
bool Evaluator::TakeForgotten() {
  LWLockAcquire(&slot_->lock, LW_EXCLUSIVE);
  const bool has_marks = slot_->replay_count > 0 || slot_->replay_all || slot_->rules_changed ||
                         slot_->binding_changed || slot_->containers_changed;
  slot_->replay_count = 0;
  slot_->replay_all = false;
  slot_->rules_changed = slot_->binding_changed = slot_->containers_changed = false;
  forget_all_ = std::exchange(slot_->containers_truncated, false) || forget_all_;
  std::array<uint64, pg::kMaxForgotten> hashes;
  const auto end = std::copy_n(slot_->forgotten, slot_->forgotten_count, hashes.begin());
  slot_->forgotten_count = 0;
  LWLockRelease(&slot_->lock);
  forgotten_.insert(hashes.begin(), end);
  return has_marks;
}

// Whether alerting was detached and attached to other containers: what is known of the former ones
// must not be saved among theirs.
bool Evaluator::IsOtherBinding() const {
  ExtensionTransaction transaction(slot_, "looking at the binding");
  const std::optional<Binding> binding = LoadBinding();
  transaction.Commit();
  return binding && binding->created_at != world_->binding.created_at &&
         binding->containers_oid != world_->binding.containers_oid;
}

// Rows that the saved state has brought to judgement are not judged again, as the new container's.
void Evaluator::LeaveOutForgotten(std::vector<SavedContainer>* saved) {
  std::erase_if(*saved, [&](const SavedContainer& container) {
    if (container.forgotten.empty()) return false;
    world_->states.Forget(container.key, container.forgotten);
    return true;
  });
  if (forgotten_.empty()) return;
  std::erase_if(*saved, [&](const SavedContainer& container) {
    if (!forgotten_.contains(KeyHash(container.key))) return false;
    Forget(container);
    return true;
  });
}

void Evaluator::Forget(const SavedContainer& container) {
  Engine past(GetCurrentTimestamp());
  const ContainerRef ref = past.Add(container.key, "");
  if (!past.Restore(ref, container.state)) return;
  RowsRead rows;
  for (const Source& source : world_->binding.sources) {
    const Micros read = past.LastRead(ref, source.readings());
    if (read != kNoTime) rows.emplace_back(source.mapping.id, read);
  }
  world_->states.Forget(container.key, rows);
}

void Evaluator::RestoreStates() {
  std::vector<SavedContainer> saved;
  if (!forget_all_) saved = LoadSavedContainers(world_->binding);
  // Those of containers whose keys were of another kind, before attach() or a change of the type.
  std::erase_if(saved, [&](const SavedContainer& container) {
    return !IsKey(world_->binding.key_kind, container.key);
  });
  LeaveOutForgotten(&saved);
  std::vector<std::string> keys;
  for (const SavedContainer& container : saved) keys.push_back(container.key);
  const auto known = world_->directory.Find(keys);
  std::unordered_set<std::string> resolving;
  for (const SavedContainer& container : saved) {
    const auto info = known.find(container.key);
    // What told of its deletion may have been lost.
    if (info == known.end()) Forget(container);
    if (info == known.end() || !info->second.organization) continue;
    if (world_->engine.Find(container.key) != kNoContainer) continue;
    const std::string& host_key = info->second.key;
    if (host_key != container.key) world_->engine.AddSpelling(container.key, host_key);
    if (world_->engine.Find(host_key) != kNoContainer) continue;
    const ContainerRef ref = world_->engine.Add(host_key, *info->second.organization);
    (void)world_->engine.Restore(ref, container.state);
    for (const OutgoingTransition& outgoing : container.outgoing) {
      if (outgoing.transition.kind == Transition::Kind::kResolve)
        resolving.insert(outgoing.alert_id);
    }
  }
  RestoreAlerts(resolving);
  // Numbers that the engine does not give: an alert's beginning and end share one.
  std::unordered_map<std::string, uint64_t> numbers;
  for (SavedContainer& container : saved) {
    const ContainerRef ref = world_->engine.Find(container.key);
    if (ref == kNoContainer) continue;
    for (OutgoingTransition& outgoing : container.outgoing) {
      Transition& transition = outgoing.transition;
      transition.container = ref;
      transition.container_key = world_->engine.Key(ref);
      transition.alert =
          numbers.try_emplace(outgoing.alert_id, UINT64_MAX - numbers.size()).first->second;
      if (transition.kind == Transition::Kind::kFire && !resolving.contains(outgoing.alert_id)) {
        transition.alert = world_->engine.RestoreAlert(
            ref, transition.rule_id, transition.started_at, transition.fired_at, transition.value);
        world_->alert_ids[transition.alert] = outgoing.alert_id;
      }
      transitions_.Add(std::move(outgoing));
    }
  }
  world_->engine.FinishRestore();
}

void Evaluator::RestoreAlerts(const std::unordered_set<std::string>& resolving) {
  struct FiringAlert {
    std::string id, rule, organization, container;
    Micros started_at, fired_at;
    double value;
  };
  std::vector<FiringAlert> alerts;
  {
    const pg::UserScope user(world_->binding.owner(), false);
    const std::string type = KeyTypeName(world_->binding.key_kind);
    const pg::Rows rows =
        pg::Execute("SELECT a.id, a.rule_id, a.container_id::" + type +
                    ", a.started_at, a.fired_at, coalesce(a.value, 'NaN'), " +
                    world_->binding.organization_type.Text("r.organization_id") +
                    " FROM alerting.alert a JOIN alerting.alert_rule r ON r.id = a.rule_id"
                    " WHERE a.status = 'FIRING'");
    for (uint64_t row = 0; row < rows.size(); ++row) {
      bool is_null = false;
      const Datum key_value = rows.Value(row, 2, &is_null);
      KeyBytes key;
      const std::string_view view =
          pg::Call([&] { return KeyFromDatum(world_->binding.key_kind, key_value, &key); });
      alerts.push_back({rows.Text(row, 0), rows.Text(row, 1), rows.Text(row, 6), std::string(view),
                        rows.Timestamp(row, 3), rows.Timestamp(row, 4), rows.Float(row, 5)});
    }
  }
  std::vector<std::string> missing;
  for (const FiringAlert& alert : alerts) {
    if (world_->engine.Find(alert.container) == kNoContainer) missing.push_back(alert.container);
  }
  const auto known = world_->directory.Find(missing);
  std::vector<std::string> gone;
  for (const std::string& key : missing) {
    if (!known.contains(key)) gone.push_back(key);
  }
  world_->alerts.DeleteOrphans(gone);
  for (const FiringAlert& alert : alerts) {
    if (resolving.contains(alert.id)) continue;
    ContainerRef ref = world_->engine.Find(alert.container);
    if (ref == kNoContainer) {
      const auto info = known.find(alert.container);
      if (info == known.end()) continue;
      ref = world_->engine.Add(info->second.key, info->second.organization_fails
                                                     ? alert.organization
                                                     : info->second.organization.value_or(""));
      if (info->second.key != alert.container) {
        world_->engine.AddSpelling(alert.container, info->second.key);
      }
    }
    const uint64_t number =
        world_->engine.RestoreAlert(ref, alert.rule, alert.started_at, alert.fired_at, alert.value);
    world_->alert_ids[number] = alert.id;
  }
}

}  // namespace alerting::ext
