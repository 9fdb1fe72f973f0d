// Recording what came of requests. See ext/delivery_store.h.
#include <unordered_set>

#include "ext/delivery_store.h"

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

// Adds those which are in none of the settled ones.
void AddUnsettled(const std::vector<const Outcome*>& outcomes,
                  const std::vector<std::string>& settled, std::vector<const Outcome*>* rest) {
  if (settled.size() == outcomes.size()) return;
  const std::unordered_set<std::string_view> done(settled.begin(), settled.end());
  for (const Outcome* outcome : outcomes) {
    if (!done.contains(outcome->delivery_id)) rest->push_back(outcome);
  }
}

}  // namespace

// What nearly all of a backlog comes to: no error, no other time, and whatever a user did to the
// delivery meanwhile, it arrived. Rows are found where they lay when they were fetched, without an
// index; the comparison of ids is written so that none is used for it.
const char DeliveryStore::kRecordDeliveredSql[] =
    "WITH free AS MATERIALIZED (SELECT d.ctid AS place, o.id, o.at, o.status_code, o.duration_ms,"
    "   o.response, o.dns_ms, o.connect_ms, o.tls_ms, o.wait_ms"
    "   FROM unnest($1::tid[], $2::text[], $3::timestamptz[], $4::int4[], $5::int4[], $6::text[],"
    "   $7::float4[], $8::float4[], $9::float4[], $10::float4[])"
    "   AS o (place, id, at, status_code, duration_ms, response, dns_ms, connect_ms, tls_ms, "
    "wait_ms)"
    "   JOIN alerting.delivery d ON d.ctid = o.place AND (d.id = o.id) IS TRUE"
    "   FOR NO KEY UPDATE OF d SKIP LOCKED),"
    " written AS (UPDATE alerting.delivery d SET attempts = d.attempts + 1, status = 'DELIVERED',"
    "   delivered_at = clock_timestamp(), last_status = o.status_code, last_error = NULL"
    "   FROM free o WHERE d.ctid = o.place RETURNING o.*),"
    " logged AS (INSERT INTO alerting.delivery_attempt"
    "  (delivery_id, at, status_code, duration_ms, response, dns_ms, connect_ms, tls_ms, wait_ms)"
    " SELECT w.id, w.at, w.status_code, w.duration_ms, w.response, w.dns_ms, w.connect_ms, "
    "w.tls_ms,"
    "   w.wait_ms FROM written w)"
    " SELECT w.id FROM written w";

// Each delivery is locked, so that the attempt's foreign key cannot fail. What a user did to it
// while it was under way stands, unless it arrived. No step joins two sets: without hash and merge
// joins that would take time by the square.
const char DeliveryStore::kRecordSql[] =
    "WITH free AS MATERIALIZED (SELECT o.* FROM unnest($1::text[], $2::timestamptz[], $3::int4[],"
    "   $4::text[], $5::int4[], $6::text[], $7::text[], $8::timestamptz[], $9::float4[],"
    "   $10::float4[], $11::float4[], $12::float4[], $13::timestamptz[])"
    "   AS o (id, at, status_code, error, duration_ms, response, status, next_attempt_at, dns_ms,"
    "         connect_ms, tls_ms, wait_ms, due)"
    "   JOIN alerting.delivery d ON d.id = o.id FOR NO KEY UPDATE OF d SKIP LOCKED),"
    " written AS (UPDATE alerting.delivery d SET attempts = d.attempts + 1,"
    "   status = CASE WHEN o.status = 'DELIVERED' OR d.status = 'PENDING'"
    "     AND d.next_attempt_at = coalesce(o.due, '-infinity') THEN o.status ELSE d.status END,"
    "   next_attempt_at = CASE WHEN d.next_attempt_at = coalesce(o.due, '-infinity')"
    "     THEN coalesce(o.next_attempt_at, d.next_attempt_at) ELSE d.next_attempt_at END,"
    "   delivered_at = CASE WHEN o.status = 'DELIVERED' THEN clock_timestamp() END,"
    "   last_status = nullif(o.status_code, 0), last_error = o.error"
    "   FROM free o WHERE d.id = o.id RETURNING o.*, d.status = 'PENDING'"
    "    AND d.next_attempt_at IS DISTINCT FROM o.next_attempt_at AS moved),"
    " logged AS (INSERT INTO alerting.delivery_attempt"
    "  (delivery_id, at, status_code, error, duration_ms, response, dns_ms, connect_ms, tls_ms,"
    "   wait_ms)"
    " SELECT w.id, w.at, nullif(w.status_code, 0), w.error, w.duration_ms, w.response, w.dns_ms,"
    "   w.connect_ms, w.tls_ms, w.wait_ms"
    "  FROM written w)"
    " SELECT w.id, w.moved FROM written w";

std::vector<std::string> DeliveryStore::Record(const std::vector<const Outcome*>& outcomes,
                                               bool* moved) {
  std::vector<const Outcome*> delivered, others;
  for (const Outcome* outcome : outcomes) {
    const bool simple =
        outcome->status == DeliveryStatus::kDelivered && ItemPointerIsValid(&outcome->place);
    (simple ? delivered : others).push_back(outcome);
  }
  std::vector<std::string> settled;
  if (!delivered.empty()) settled = RecordDelivered(delivered);
  // Locked by somebody, or lying elsewhere by now.
  AddUnsettled(delivered, settled, &others);
  if (!others.empty()) {
    for (std::string& id : RecordAny(others, moved)) settled.push_back(std::move(id));
  }
  return settled;
}

std::vector<std::string> DeliveryStore::RecordDelivered(
    const std::vector<const Outcome*>& outcomes) {
  std::vector<pg::RowPlace> places;
  std::vector<std::string> ids, responses;
  std::vector<int32_t> codes, durations;
  std::vector<Micros> times;
  std::vector<std::optional<float>> dns, connect, tls, wait;
  for (const Outcome* outcome : outcomes) {
    places.push_back(outcome->place);
    ids.push_back(outcome->delivery_id);
    times.push_back(outcome->at);
    codes.push_back(outcome->status_code);
    durations.push_back(outcome->duration_ms);
    responses.push_back(outcome->response);
    dns.push_back(outcome->phases.dns);
    connect.push_back(outcome->phases.connect);
    tls.push_back(outcome->phases.tls);
    wait.push_back(outcome->phases.wait);
  }
  pg::Params params;
  params.PlaceArray(places).TextArray(ids).TimestampArray(times).IntArray(codes);
  params.IntArray(durations).TextArray(responses);
  params.RealArray(dns).RealArray(connect).RealArray(tls).RealArray(wait);
  return record_delivered_.Run(params).FirstColumn();
}

std::vector<std::string> DeliveryStore::RecordAny(const std::vector<const Outcome*>& outcomes,
                                                  bool* moved) {
  std::vector<std::string> ids, responses, statuses;
  std::vector<std::optional<std::string>> errors;
  std::vector<int32_t> codes, durations;
  std::vector<Micros> times, next, due;
  std::vector<std::optional<float>> dns, connect, tls, wait;
  for (const Outcome* outcome : outcomes) {
    ids.push_back(outcome->delivery_id);
    times.push_back(outcome->at);
    codes.push_back(outcome->status_code);
    errors.push_back(outcome->error.empty() ? std::nullopt : std::optional(outcome->error));
    durations.push_back(outcome->duration_ms);
    responses.push_back(outcome->response);
    statuses.emplace_back(StatusName(outcome->status));
    next.push_back(outcome->next_attempt_at);
    due.push_back(outcome->due);
    dns.push_back(outcome->phases.dns);
    connect.push_back(outcome->phases.connect);
    tls.push_back(outcome->phases.tls);
    wait.push_back(outcome->phases.wait);
  }
  pg::Params params;
  params.TextArray(ids).TimestampArray(times).IntArray(codes).TextArray(errors);
  params.IntArray(durations).TextArray(responses).TextArray(statuses).TimestampArray(next);
  params.RealArray(dns).RealArray(connect).RealArray(tls).RealArray(wait).TimestampArray(due);
  const pg::Rows rows = record_.Run(params);
  for (uint64_t row = 0; row < rows.size(); ++row) *moved = *moved || rows.Bool(row, 1);
  std::vector<std::string> settled = rows.FirstColumn();
  if (settled.size() == ids.size()) return settled;

  // What was not written is locked, or gone with its webhook.
  const std::unordered_set<std::string> written(settled.begin(), settled.end());
  std::vector<std::string> rest;
  for (const std::string& id : ids) {
    if (!written.contains(id)) rest.push_back(id);
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

}  // namespace alerting::ext
