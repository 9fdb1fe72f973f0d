// Implements ext/evaluator/alert_store.h: the locks on rules, and on the webhooks that their alerts
// go to.
#include <charconv>

#include "ext/evaluator/alert_statements.h"
#include "ext/evaluator/alert_store.h"

namespace alerting::ext {

namespace {

// More go by a statement, which costs as much as these one by one.
constexpr size_t kFewRules = 8;

// As rule_lookup_ asks for it. False: it is not what the statement would give.
bool ReadRule(const pg::KeyedRow& row, LockedRule* rule) {
  const pg::KeyedValue& organization = row.values[0];
  const pg::KeyedValue& threshold = row.values[3];
  const std::string& duration = row.values[4].text;
  *rule = {organization.text, row.values[1].text, row.values[2].text, std::nullopt, 0};
  if (threshold.is_key) return false;  // of another type
  if (!threshold.is_null) rule->threshold = DatumGetFloat8(threshold.datum);
  const char* end = duration.data() + duration.size();
  const auto parsed = std::from_chars(duration.data(), end, rule->duration);
  return !organization.is_null && parsed.ec == std::errc() && parsed.ptr == end;
}

}  // namespace

// One by one, without a statement. False: only the statement tells, also what was found here.
bool AlertStore::LockFewRules(const std::vector<std::string>& ids) {
  const Oid rule_table = OwnTable("alert_rule");
  const Oid webhook_table = OwnTable("webhook");
  std::unordered_map<std::string, LockedRule> rules;
  std::unordered_map<std::string, std::vector<pg::KeyedRow>> webhooks;  // by organization
  for (const std::string& id : ids) {
    const auto found = rule_lookup_.Lock(rule_table, id);
    LockedRule& rule = rules[id];
    if (!found || found->size() != 1 || !ReadRule(found->front(), &rule)) return false;
    if (webhooks.contains(rule.organization)) continue;
    auto rows = webhook_lookup_.Lock(webhook_table, rule.organization);
    if (!rows) return false;
    webhooks.emplace(rule.organization, *std::move(rows));
  }
  rules_ = std::move(rules);
  for (const auto& [organization, rows] : webhooks) {
    for (const pg::KeyedRow& row : rows) {
      const std::string& id = row.values[0].text;
      webhooks_[organization].push_back(id);
      locked_webhooks_.emplace(id, row.version);
    }
  }
  return true;
}

AlertStore::NotLocked AlertStore::LockManyRules(const std::vector<std::string>& ids) {
  NotLocked others;
  const pg::Params params = pg::Params().TextArray(ids);
  size_t free_count = 0;
  size_t webhook_count = 0;
  const pg::Rows rows = lock_rules_.RunLists(ids.size(), params);
  for (uint64_t row = 0; row < rows.size(); ++row) {
    if (!rows.IsNull(row, 0)) {
      const auto threshold = rows.IsNull(row, 7) ? std::nullopt : std::optional(rows.Float(row, 7));
      rules_[rows.Text(row, 0)] = {rows.Text(row, 1), rows.Text(row, 5), rows.Text(row, 6),
                                   threshold, rows.Int(row, 8)};
    } else if (!rows.IsNull(row, 2)) {
      webhooks_[rows.Text(row, 1)].push_back(rows.Text(row, 2));
      locked_webhooks_.emplace(rows.Text(row, 2), rows.Text(row, 3));
      ++free_count;
    } else {
      webhook_count = static_cast<size_t>(rows.BigInt(row, 4));
    }
  }
  if (rules_.size() < ids.size()) {
    others.existing = FirstColumn(find_rules_.RunLists(ids.size(), params));
  }
  if (free_count < webhook_count) {
    others.blocked = Blocked(find_webhooks_.RunLists(ids.size(), params), locked_webhooks_);
  }
  return others;
}

void AlertStore::RespellOrganizations() {
  std::vector<std::string> organizations;
  for (const auto& [id, rule] : rules_) organizations.push_back(rule.organization);
  for (const auto& [organization, ids] : webhooks_) organizations.push_back(organization);
  const auto spelling = HostSpelling(binding_, organizations);
  for (auto& [id, rule] : rules_) {
    const auto found = spelling.find(rule.organization);
    if (found != spelling.end()) rule.organization = found->second;
  }
  for (const auto& [here, there] : spelling) {
    const auto written_here = webhooks_.extract(here);
    if (written_here.empty()) continue;
    std::vector<std::string>& all = webhooks_[there];
    all.insert(all.end(), written_here.mapped().begin(), written_here.mapped().end());
  }
}

std::vector<size_t> AlertStore::LockRules(std::span<OutgoingTransition* const> batch,
                                          std::vector<size_t> fires,
                                          std::vector<WriteResult>* results) {
  std::vector<std::string> ids;
  std::unordered_set<std::string> seen;
  for (const size_t i : fires) {
    const std::string& id = batch[i]->transition.rule_id;
    if (seen.insert(id).second) ids.push_back(id);
  }
  NotLocked others;
  const bool varies = binding_.organization_type.varies;
  if (varies || ids.size() > kFewRules || !LockFewRules(ids)) others = LockManyRules(ids);
  if (varies) RespellOrganizations();
  std::erase_if(fires, [&](size_t i) {
    const std::string& id = batch[i]->transition.rule_id;
    if (rules_.contains(id)) return false;
    (*results)[i] = others.existing.contains(id) ? WriteResult::kLocked : WriteResult::kObsolete;
    return true;
  });
  fires = LeaveOutMoved(batch, std::move(fires), results);
  std::erase_if(fires, [&](size_t i) {
    if (!others.blocked.contains(batch[i]->transition.rule_id)) return false;
    (*results)[i] = WriteResult::kLocked;
    return true;
  });
  return fires;
}

// Where the organization comes by an expression, nothing tells when it changes: what it says now
// decides whether the rule concerns the container at all.
std::vector<size_t> AlertStore::LeaveOutMoved(std::span<OutgoingTransition* const> batch,
                                              std::vector<size_t> fires,
                                              std::vector<WriteResult>* results) {
  std::erase_if(fires, [&](size_t i) {
    const Transition& transition = batch[i]->transition;
    ContainerInfo& container = containers_.at(transition.container_key);
    auto& organization = container.organization;
    if (container.organization_fails) organization = rules_.at(transition.rule_id).organization;
    if (organization == rules_.at(transition.rule_id).organization) return false;
    corrections_.push_back({transition.container_key, true, organization.value_or("")});
    (*results)[i] = WriteResult::kObsolete;
    return true;
  });
  return fires;
}

}  // namespace alerting::ext
