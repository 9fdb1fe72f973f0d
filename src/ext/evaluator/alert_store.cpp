// Implements ext/evaluator/alert_store.h: what fires.
#include "ext/evaluator/alert_store.h"

#include <algorithm>
#include <unordered_set>

#include "ext/cuid.h"
#include "ext/evaluator/alert_statements.h"
#include "ext/webhook/payload.h"
#include "pg/notification.h"
#include "pg/transaction.h"

namespace alerting::ext {

namespace {

// NOTIFY takes less than 8000 bytes; ids are short unless a client is strange.
constexpr int kLongestMessage = 7900;

}  // namespace

std::string PairOf(const Transition& transition) {
  return transition.rule_id + '\0' + transition.container_key;
}

std::unordered_set<std::string> AlertStore::Blocked(const pg::Rows& rows,
                                                    const LockedWebhooks& locked) {
  std::unordered_set<std::string> values;
  for (uint64_t row = 0; row < rows.size(); ++row) {
    if (!locked.contains(rows.Text(row, 1))) values.insert(rows.Text(row, 0));
  }
  return values;
}

std::unordered_set<std::string> AlertStore::FirstColumn(const pg::Rows& rows) {
  std::unordered_set<std::string> values;
  for (uint64_t row = 0; row < rows.size(); ++row) values.insert(rows.Text(row, 0));
  return values;
}

AlertStore::AlertStore(const Binding& binding, ContainerDirectory* directory)
    : binding_(binding),
      directory_(directory),
      alert_rows_(binding),
      rule_lookup_("id", "", {"organization_id", "name", "condition", "threshold", "duration"}),
      webhook_lookup_("organization_id", "is_active", {"id"}),
      lock_rules_(LockRulesSql(binding)),
      find_rules_(kFindRules),
      find_webhooks_(FindWebhooksSql(binding)),
      lock_alerts_(kLockAlerts),
      find_alerts_(kFindAlerts),
      lock_resolved_webhooks_(kLockResolvedWebhooks),
      find_resolved_webhooks_(kFindResolvedWebhooks),
      resolve_alerts_(kResolveAlerts),
      render_resolved_(kRenderResolved),
      delete_orphans_(DeleteOrphansSql(binding)) {}

void AlertStore::DeleteOrphans(const std::vector<std::string>& keys) {
  if (keys.empty()) return;
  std::vector<std::string> texts;
  texts.reserve(keys.size());
  for (const std::string& key : keys) texts.push_back(KeyText(binding_.key_kind, key));
  const pg::UserScope user(binding_.owner(), false);
  (void)delete_orphans_.Run(pg::Params().TextArray(texts));
}

std::vector<WriteResult> AlertStore::Write(std::span<OutgoingTransition* const> batch,
                                           HandoverWriter* handover) {
  handover_ = handover;
  corrections_.clear();
  containers_.clear();
  rules_.clear();
  webhooks_.clear();
  locked_webhooks_.clear();
  if (!LockTables()) return std::vector<WriteResult>(batch.size(), WriteResult::kLocked);
  std::vector<WriteResult> results(batch.size(), WriteResult::kWritten);
  std::unordered_map<uint64_t, size_t> begun;  // alerts that begin in this batch
  std::vector<size_t> fires, old_resolves, new_resolves;
  for (size_t i = 0; i < batch.size(); ++i) {
    const Transition& transition = batch[i]->transition;
    if (transition.kind == Transition::Kind::kFire) {
      begun[transition.alert] = i;
      fires.push_back(i);
    } else {
      (begun.contains(transition.alert) ? new_resolves : old_resolves).push_back(i);
    }
  }
  WriteResolves(batch, old_resolves, &results);
  // What follows an end that has to wait, waits with it.
  std::unordered_set<std::string> waiting;
  for (const size_t i : old_resolves) {
    if (results[i] == WriteResult::kLocked) waiting.insert(PairOf(batch[i]->transition));
  }
  std::erase_if(fires, [&](size_t i) {
    if (!waiting.contains(PairOf(batch[i]->transition))) return false;
    results[i] = WriteResult::kLocked;
    return true;
  });
  WriteFires(batch, fires, &results);
  std::erase_if(new_resolves, [&](size_t i) {
    const size_t beginning = begun[batch[i]->transition.alert];
    batch[i]->alert_id = batch[beginning]->alert_id;
    results[i] = results[beginning];
    return results[beginning] != WriteResult::kWritten;
  });
  WriteResolves(batch, new_resolves, &results);
  return results;
}

// Takes the locks that the statements below would wait for, if nobody stands in the way.
bool AlertStore::LockTables() {
  struct Wanted {
    Oid relation;
    LOCKMODE mode;
  };
  const Wanted wanted[] = {
      {binding_.containers_oid, RowShareLock},     {binding_.organizations_oid, AccessShareLock},
      {OwnTable("alert_rule"), RowShareLock},      {OwnTable("webhook"), RowShareLock},
      {OwnTable("alert"), RowExclusiveLock},       {OwnTable("delivery"), RowExclusiveLock},
      {OwnTable("series_state"), RowExclusiveLock}};
  return pg::Call([&] {
    for (const Wanted& one : wanted) {
      if (OidIsValid(one.relation) && !ConditionalLockRelationOid(one.relation, one.mode)) {
        return false;
      }
    }
    return true;
  });
}

std::vector<size_t> AlertStore::LockContainers(std::span<OutgoingTransition* const> batch,
                                               std::vector<size_t> fires,
                                               std::vector<WriteResult>* results) {
  std::vector<std::string> keys;
  std::unordered_set<std::string> seen;
  for (const size_t i : fires) {
    const std::string& key = batch[i]->transition.container_key;
    if (seen.insert(key).second) keys.push_back(key);
  }
  containers_ = directory_->FindAndLock(keys);
  std::vector<std::string> missing;
  for (const std::string& key : keys) {
    if (!containers_.contains(key)) missing.push_back(key);
  }
  const auto existing = directory_->Find(missing);
  for (const std::string& key : missing) {
    if (!existing.contains(key)) corrections_.push_back({key, false, {}});
  }
  std::erase_if(fires, [&](size_t i) {
    const std::string& key = batch[i]->transition.container_key;
    if (containers_.contains(key)) return false;
    (*results)[i] = existing.contains(key) ? WriteResult::kLocked : WriteResult::kObsolete;
    return true;
  });
  return fires;
}

void AlertStore::EnqueueFiring(std::span<OutgoingTransition* const> batch,
                               std::vector<size_t> fires) {
  struct Told {
    std::string_view organization;
    size_t index;
  };
  std::vector<Told> told;
  for (const size_t i : fires) {
    const auto& organization = containers_.at(batch[i]->transition.container_key).organization;
    if (organization && webhooks_.contains(*organization)) told.push_back({*organization, i});
  }
  // One organization's webhooks stand side by side in the outbox's indexes.
  std::ranges::stable_sort(told, {}, &Told::organization);
  std::vector<std::string> organizations;
  fires.clear();
  for (const Told& one : told) {
    if (organizations.empty() || organizations.back() != one.organization) {
      organizations.emplace_back(one.organization);
    }
    fires.push_back(one.index);
  }
  const auto known_names = directory_->OrganizationNames(organizations);
  const std::span<const size_t> all(fires);
  for (size_t first = 0; first < all.size(); first += kAlertsPerStatement) {
    const size_t count = std::min(kAlertsPerStatement, all.size() - first);
    EnqueueFiring(batch, all.subspan(first, count), known_names);
  }
}

// The payload is rendered once per alert, not once per webhook.
Datum AlertStore::RenderFiring(const OutgoingTransition& outgoing,
                               std::optional<std::string_view> organization_name,
                               MemoryContext memory) const {
  const Transition& transition = outgoing.transition;
  const LockedRule& rule = rules_.at(transition.rule_id);
  const ContainerInfo& container = containers_.at(transition.container_key);
  const std::string container_id = KeyText(binding_.key_kind, transition.container_key);
  FiringAlert alert;
  alert.alert_id = outgoing.alert_id;
  alert.rule_id = transition.rule_id;
  alert.rule_name = rule.name;
  alert.condition = rule.condition;
  alert.threshold = rule.threshold;
  alert.duration = rule.duration;
  alert.container_id = container_id;
  alert.container_name = container.name;
  alert.organization_id = rule.organization;
  alert.organization_name = organization_name;
  if (transition.started_at != kNoTime) alert.started_at = transition.started_at;
  if (transition.fired_at != kNoTime) alert.fired_at = transition.fired_at;
  alert.value = transition.value;
  return pg::Call([&] {
    const MemoryContext outer = MemoryContextSwitchTo(memory);
    const Datum payload = FiringPayload(alert);
    MemoryContextSwitchTo(outer);
    return payload;
  });
}

void AlertStore::EnqueueFiring(
    std::span<OutgoingTransition* const> batch, std::span<const size_t> fires,
    const std::unordered_map<std::string, std::string>& organization_names) {
  // What rendering leaves behind goes with each piece of a storm, not with its transaction.
  const MemoryContext memory = pg::Call([] {
    return AllocSetContextCreate(CurrentMemoryContext, "alerting payloads", ALLOCSET_DEFAULT_SIZES);
  });
  std::vector<NewDelivery> deliveries;
  for (const size_t i : fires) {
    const std::string& organization =
        *containers_.at(batch[i]->transition.container_key).organization;
    const auto found = organization_names.find(organization);
    std::optional<std::string_view> name;
    if (found != organization_names.end()) name = found->second;
    const Datum payload = RenderFiring(*batch[i], name, memory);
    for (const std::string& webhook : webhooks_[organization]) {
      deliveries.push_back({NewCuid(), webhook, batch[i]->alert_id, payload, true});
    }
  }
  outbox_.Write("alert.firing", deliveries, locked_webhooks_, handover_);
  pg::Call([&] { MemoryContextDelete(memory); });
}

// As jsonb would put it.
void AlertStore::Notify(std::span<OutgoingTransition* const> batch,
                        const std::vector<size_t>& indexes, const char* event) {
  if (indexes.empty() || !pg::MayNotify()) return;
  List* payloads = NIL;
  for (const size_t i : indexes) {
    const std::string key = KeyText(binding_.key_kind, batch[i]->transition.container_key);
    pg::Call([&] {
      StringInfoData message;
      initStringInfo(&message);
      appendStringInfo(&message, "{\"event\": \"%s\"", event);
      const int without_ids = message.len;
      appendStringInfoString(&message, ", \"ruleId\": ");
      escape_json(&message, batch[i]->transition.rule_id.c_str());
      appendStringInfoString(&message, ", \"alertId\": ");
      escape_json(&message, batch[i]->alert_id.c_str());
      appendStringInfoString(&message, ", \"containerId\": ");
      escape_json(&message, key.c_str());
      if (message.len > kLongestMessage) message.len = without_ids;
      appendStringInfoChar(&message, '}');
      payloads = lappend(payloads, message.data);
    });
  }
  pg::Call([&] {
    pg::NotifyAtCommit(payloads);
    list_free_deep(payloads);
  });
}

void AlertStore::WriteFires(std::span<OutgoingTransition* const> batch, std::vector<size_t> fires,
                            std::vector<WriteResult>* results) {
  if (fires.empty()) return;
  // As the containers table's owner; the rest as that of alerting's tables.
  fires = LockContainers(batch, std::move(fires), results);
  const pg::UserScope user(binding_.owner(), false);
  fires = LockRules(batch, std::move(fires), results);
  if (fires.empty()) return;
  const std::vector<size_t> fresh = alert_rows_.Insert(batch, fires);
  if (fresh.empty()) return;
  EnqueueFiring(batch, fresh);
  Notify(batch, fresh, "alert.firing");
}

}  // namespace alerting::ext
