// Recording what came of requests. See ext/sender/delivery_store.h.
#include <algorithm>
#include <array>
#include <climits>
#include <string_view>
#include <unordered_set>

#include "ext/sender/delivery_store.h"
#include "pg/row_updater.h"

namespace alerting::ext {

namespace {

const char* StatusName(DeliveryStatus status) {
  switch (status) {
    case DeliveryStatus::kDelivered:
      return "DELIVERED";
    case DeliveryStatus::kFailed:
      return "FAILED";
    case DeliveryStatus::kPending:
      break;
  }
  return "PENDING";
}

constexpr std::array<pg::ColumnType, 5> kDeliveredColumns = {{{"attempts", INT4OID},
                                                              {"status", TEXTOID},
                                                              {"delivered_at", TIMESTAMPTZOID},
                                                              {"last_status", INT4OID},
                                                              {"last_error", TEXTOID}}};

// What the row has in a column of type text; empty where it has nothing.
std::string_view TextOf(const pg::RowUpdater& updater, const char* column) {
  bool is_null = false;
  const Datum value = updater.Value(column, TEXTOID, &is_null);
  if (is_null) return {};
  const text* words = pg::Call([&] { return DatumGetTextPP(value); });
  return {VARDATA_ANY(words), static_cast<size_t>(VARSIZE_ANY_EXHDR(words))};
}

std::unordered_set<const Outcome*> SetOf(const std::vector<const Outcome*>& outcomes) {
  return {outcomes.begin(), outcomes.end()};
}

}  // namespace

// What a user did to a delivery while it was under way stands, unless it arrived. No step joins two
// sets: without hash and merge joins that would take time by the square. No WITH: PostgreSQL takes
// none where a user's rule makes several queries of this.
const char DeliveryStore::kUpdateAnySql[] =
    "UPDATE alerting.delivery d SET"
    "   attempts = least(d.attempts, 2147483647 - o.counted) + o.counted,"
    "   status = CASE WHEN o.status = 'DELIVERED' OR d.status = 'PENDING'"
    "     AND d.next_attempt_at = coalesce(o.due, '-infinity') THEN o.status ELSE d.status END,"
    "   next_attempt_at = CASE WHEN d.next_attempt_at = coalesce(o.due, '-infinity')"
    "     THEN coalesce(o.next_attempt_at, d.next_attempt_at) ELSE d.next_attempt_at END,"
    "   delivered_at = CASE WHEN o.status = 'DELIVERED' THEN clock_timestamp() END,"
    "   last_status = nullif(o.status_code, 0), last_error = o.error"
    "   FROM (SELECT o.* FROM unnest($1::text[], $2::int4[], $3::text[], $4::text[],"
    "     $5::timestamptz[], $6::timestamptz[], $7::int4[]) WITH ORDINALITY"
    "     AS o (id, status_code, error, status, next_attempt_at, due, counted, n)"
    "     JOIN alerting.delivery d ON d.id = o.id FOR NO KEY UPDATE OF d SKIP LOCKED) o"
    "   WHERE d.id = o.id RETURNING o.n, d.status = 'PENDING'"
    "    AND d.next_attempt_at IS DISTINCT FROM o.next_attempt_at";

DeliveryStore::DeliveryStore() : delivered_plan_(kDeliveredColumns) {}

std::vector<std::string> DeliveryStore::Record(const std::vector<const Outcome*>& outcomes,
                                               bool* moved) {
  std::vector<const Outcome*> delivered, others;
  for (const Outcome* outcome : outcomes) {
    const bool simple =
        outcome->status == DeliveryStatus::kDelivered && ItemPointerIsValid(&outcome->place);
    (simple ? delivered : others).push_back(outcome);
  }
  std::vector<const Outcome*> written = UpdateDelivered(delivered);
  if (written.size() < delivered.size()) {
    const auto done = SetOf(written);
    for (const Outcome* outcome : delivered) {
      if (!done.contains(outcome)) others.push_back(outcome);
    }
  }
  for (const Outcome* outcome : UpdateAny(others, moved)) written.push_back(outcome);
  log_.Write(written);
  std::vector<std::string> settled;
  for (const Outcome* outcome : written) settled.push_back(outcome->delivery_id);
  if (written.size() == outcomes.size()) return settled;

  // What was not written is locked, or gone with its webhook.
  const auto done = SetOf(written);
  std::vector<std::string> rest;
  for (const Outcome* outcome : outcomes) {
    if (!done.contains(outcome)) rest.push_back(outcome->delivery_id);
  }
  pg::Params there;
  there.TextArray(rest);
  for (std::string& id :
       pg::Execute("SELECT k.id FROM unnest($1::text[]) AS k (id)"
                   " WHERE NOT EXISTS (SELECT 1 FROM alerting.delivery d WHERE d.id = k.id)",
                   there)
           .FirstColumn()) {
    settled.push_back(std::move(id));
  }
  return settled;
}

// What nearly all of a backlog comes to: no error, no other time, and whatever a user did to the
// delivery meanwhile, it arrived. Rows are found where they lay when they were fetched. Gives those
// whose rows were updated; the others are locked by somebody, or lie elsewhere by now.
std::vector<const Outcome*> DeliveryStore::UpdateDelivered(
    const std::vector<const Outcome*>& outcomes) {
  if (outcomes.empty()) return {};
  const pg::SettingsScope settings;  // for users' triggers
  pg::RowUpdater updater(&delivered_plan_, OwnTable("delivery"));
  if (!updater.can_update()) return {};
  std::vector<const Outcome*> written;
  for (const Outcome* outcome : outcomes) {
    if (!updater.Fetch(outcome->place)) continue;
    if (TextOf(updater, "id") != outcome->delivery_id) continue;
    bool is_null = false;
    const int attempts = DatumGetInt32(updater.Value("attempts", INT4OID, &is_null));
    if (is_null) continue;
    const std::array<pg::ColumnValue, kDeliveredColumns.size()> values = {
        {{.datum = Int32GetDatum(std::min(attempts, INT_MAX - 1) + 1)},
         {.text = StatusName(DeliveryStatus::kDelivered)},
         {.datum = TimestampTzGetDatum(GetCurrentTimestamp())},
         {.datum = Int32GetDatum(outcome->status_code)},
         {.is_null = true}}};
    if (updater.Update(values)) written.push_back(outcome);
  }
  updater.Finish();
  return written;
}

std::vector<const Outcome*> DeliveryStore::UpdateAny(const std::vector<const Outcome*>& outcomes,
                                                     bool* moved) {
  if (outcomes.empty()) return {};
  std::vector<std::string> ids, statuses;
  std::vector<std::optional<std::string>> errors;
  std::vector<int32_t> codes, counted;
  std::vector<Micros> next, due;
  for (const Outcome* outcome : outcomes) {
    ids.push_back(outcome->delivery_id);
    codes.push_back(outcome->status_code);
    errors.push_back(outcome->error.empty() ? std::nullopt : std::optional(outcome->error));
    statuses.emplace_back(StatusName(outcome->status));
    next.push_back(outcome->next_attempt_at);
    due.push_back(outcome->due);
    counted.push_back(outcome->counts ? 1 : 0);
  }
  pg::Params params;
  params.TextArray(ids).IntArray(codes).TextArray(errors).TextArray(statuses);
  params.TimestampArray(next).TimestampArray(due).IntArray(counted);
  const pg::Rows rows = update_any_.Run(params);
  std::vector<const Outcome*> written;
  for (uint64_t row = 0; row < rows.size(); ++row) {
    written.push_back(outcomes[static_cast<size_t>(rows.BigInt(row, 0)) - 1]);
    *moved = *moved || rows.Bool(row, 1);
  }
  return written;
}

}  // namespace alerting::ext
