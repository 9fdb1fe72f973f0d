// Implements ext/evaluator/alert_rows.h.
#include "ext/evaluator/alert_rows.h"

#include <array>
#include <cmath>
#include <optional>
#include <string>
#include <unordered_set>

#include "pg/table_writer.h"
#include "pg/transaction.h"

namespace alerting::ext {

namespace {

constexpr std::array<pg::ColumnType, 7> kColumns = {{{"id", TEXTOID},
                                                     {"rule_id", TEXTOID},
                                                     {"container_id", InvalidOid},
                                                     {"status", TEXTOID},
                                                     {"started_at", TIMESTAMPTZOID},
                                                     {"fired_at", TIMESTAMPTZOID},
                                                     {"value", FLOAT8OID}}};

std::string InsertSql(const Binding& binding) {
  return "INSERT INTO alerting.alert (id, rule_id, container_id, status, started_at, fired_at,"
         " value) SELECT k.id, k.rule_id, k.container_id, 'FIRING', k.started_at, k.fired_at,"
         " nullif(k.value, 'NaN') FROM unnest($1::text[], $2::text[], " +
         binding.container_type.Array("$3") +
         ", $4::timestamptz[], $5::timestamptz[], $6::float8[]) AS k (id, rule_id, container_id, "
         "started_at, fired_at, value)"
         " ON CONFLICT DO NOTHING RETURNING id";
}

// In the order of the index of what is FIRING, so that no plan reads all that a rule has there.
std::string FindFiringSql(const Binding& binding) {
  const HostKey& type = binding.container_type;
  const std::string both = "(k.rule_id, k.container_id)";
  const std::string is_it =
      type.equals == "="
          ? "(a.rule_id, a.container_id) BETWEEN " + both + " AND " + both
          : "a.rule_id = k.rule_id AND a.container_id " + type.equals + " k.container_id";
  return "SELECT k.ordinal::int4, a.id FROM unnest($1::text[], " + type.Array("$2") +
         ") WITH ORDINALITY AS k (rule_id, container_id, ordinal) CROSS JOIN LATERAL (SELECT a.id"
         " FROM alerting.alert a WHERE " +
         is_it + " AND a.status = 'FIRING' ORDER BY a.rule_id, a.container_id LIMIT 1) a";
}

}  // namespace

AlertRows::AlertRows(const Binding& binding)
    : binding_(binding),
      plan_(kColumns),
      insert_(InsertSql(binding)),
      find_firing_(FindFiringSql(binding)) {}

std::vector<size_t> AlertRows::Insert(std::span<OutgoingTransition* const> batch,
                                      const std::vector<size_t>& fires) {
  const pg::SettingsScope settings;  // for users' triggers
  const std::string container_key = Unquoted(binding_.container_key);
  const std::array<pg::LockedReference, 2> locked = {
      {{"rule_id", OwnTable("alert_rule"), "id"},
       {"container_id", binding_.containers_oid, container_key.c_str()}}};
  pg::TableWriter writer(&plan_, OwnTable("alert"), locked, pg::OnConflict::kLeaveOut);
  std::vector<size_t> fresh;
  if (writer.can_write()) {
    for (const size_t i : fires) {
      const Transition& transition = batch[i]->transition;
      const std::string container = KeyText(binding_.key_kind, transition.container_key);
      const std::array<pg::ColumnValue, kColumns.size()> values = {
          {{batch[i]->alert_id},
           {transition.rule_id},
           {container},
           {"FIRING"},
           {.datum = TimestampTzGetDatum(transition.started_at)},
           {.datum = TimestampTzGetDatum(transition.fired_at)},
           {.datum = Float8GetDatum(transition.value), .is_null = std::isnan(transition.value)}}};
      if (writer.Insert(values)) fresh.push_back(i);
    }
    writer.Finish();
  } else {
    fresh = InsertByStatement(batch, fires);
  }
  if (fresh.size() < fires.size()) FindFiring(batch, fires);
  return fresh;
}

std::vector<size_t> AlertRows::InsertByStatement(std::span<OutgoingTransition* const> batch,
                                                 const std::vector<size_t>& fires) {
  std::vector<std::string> ids, rules, containers;
  std::vector<int64_t> started, fired;
  std::vector<double> values;
  for (const size_t i : fires) {
    const Transition& transition = batch[i]->transition;
    ids.push_back(batch[i]->alert_id);
    rules.push_back(transition.rule_id);
    containers.push_back(KeyText(binding_.key_kind, transition.container_key));
    started.push_back(transition.started_at);
    fired.push_back(transition.fired_at);
    values.push_back(transition.value);
  }
  // The statement checks the container's key by a query over the host's table, as its owner: what
  // his code queued there for the end of our transaction would run as ourselves.
  std::optional<pg::UserScope> restricted;
  const Oid host = binding_.containers_owner();
  if (!pg::Call([&] { return superuser_arg(host); })) {
    restricted.emplace(binding_.owner(), true);
  }
  const pg::Rows rows = insert_.RunLists(ids.size(), pg::Params()
                                                         .TextArray(ids)
                                                         .TextArray(rules)
                                                         .TextArray(containers)
                                                         .TimestampArray(started)
                                                         .TimestampArray(fired)
                                                         .FloatArray(values));
  std::unordered_set<std::string> inserted;
  for (uint64_t row = 0; row < rows.size(); ++row) inserted.insert(rows.Text(row, 0));
  std::vector<size_t> fresh;
  for (const size_t i : fires) {
    if (inserted.contains(batch[i]->alert_id)) fresh.push_back(i);
  }
  return fresh;
}

void AlertRows::FindFiring(std::span<OutgoingTransition* const> batch,
                           const std::vector<size_t>& fires) {
  std::vector<std::string> rules, containers;
  for (const size_t i : fires) {
    rules.push_back(batch[i]->transition.rule_id);
    containers.push_back(KeyText(binding_.key_kind, batch[i]->transition.container_key));
  }
  const pg::Rows rows =
      find_firing_.RunLists(rules.size(), pg::Params().TextArray(rules).TextArray(containers));
  for (uint64_t row = 0; row < rows.size(); ++row) {
    batch[fires[static_cast<size_t>(rows.Int(row, 0)) - 1]]->alert_id = rows.Text(row, 1);
  }
}

}  // namespace alerting::ext
