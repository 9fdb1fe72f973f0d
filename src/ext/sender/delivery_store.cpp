// Implements ext/sender/delivery_store.h.
#include "ext/sender/delivery_store.h"

#include <algorithm>
#include <charconv>
#include <climits>
#include <limits>
#include <unordered_set>

#include "ext/host/binding.h"
#include "ext/webhook/text_encoding.h"
#include "pg/notification.h"
#include "pg/worker.h"

namespace alerting::ext {

namespace {

// "{1,2,3}" of a bigint[].
std::vector<Micros> ParseMicrosArray(std::string_view text) {
  std::vector<Micros> values;
  const char* position = text.data();
  const char* end = position + text.size();
  while (position < end) {
    Micros value = 0;
    const auto [stop, failure] = std::from_chars(position, end, value);
    if (failure == std::errc()) values.push_back(value);
    position = failure == std::errc() ? stop : position + 1;
  }
  return values;
}

void Notify(const std::vector<std::string>& payloads) {
  if (payloads.empty() || !pg::MayNotify()) return;
  pg::Call([&] {
    List* list = NIL;
    for (const std::string& payload : payloads) list = lappend(list, pstrdup(payload.c_str()));
    pg::NotifyAtCommit(list);
    list_free_deep(list);
  });
}

}  // namespace

// Hops from webhook to webhook along delivery_pending_idx: the cost grows with the webhooks that
// have something pending, not with what they have pending.
const char DeliveryStore::kWithPendingWebhooks[] =
    "WITH RECURSIVE pending (webhook_id) AS ("
    " (SELECT d.webhook_id FROM alerting.delivery d WHERE d.status = 'PENDING'"
    "   ORDER BY d.webhook_id LIMIT 1)"
    " UNION ALL"
    " SELECT (SELECT d.webhook_id FROM alerting.delivery d WHERE d.status = 'PENDING'"
    "          AND d.webhook_id > p.webhook_id ORDER BY d.webhook_id LIMIT 1)"
    "   FROM pending p WHERE p.webhook_id IS NOT NULL)";

const char DeliveryStore::kFindPendingSql[] =
    " SELECT w.id, w.url, w.secret, CASE WHEN w.retry_schedule IS NOT NULL THEN ARRAY("
    "   SELECT (greatest(least(extract(epoch FROM s.pause), 31622400), 0) * 1000000)::int8"
    "     FROM unnest(w.retry_schedule) WITH ORDINALITY AS s (pause, n) ORDER BY s.n) END,"
    "  f.next_attempt_at, format('%s', w.organization_id), w.rate_limit, w.max_concurrent, "
    "w.probe_at,"
    "  CASE WHEN w.headers IS NOT NULL THEN (SELECT string_agg(h.key || ': ' || h.value, E'\\n')"
    "   FROM jsonb_each_text(w.headers) AS h) END, w.xmin::text || w.ctid::text"
    " FROM pending p JOIN alerting.webhook w ON w.id = p.webhook_id AND w.is_active"
    " LEFT JOIN LATERAL (SELECT d.next_attempt_at FROM alerting.delivery d"
    "   WHERE d.webhook_id = p.webhook_id AND d.status = 'PENDING'"
    "    AND d.id NOT IN (SELECT unnest($1::text[]))"
    "   ORDER BY d.next_attempt_at, d.seq LIMIT 1) f ON true";

// Claims are told apart by hash: an array's <> ALL would compare each row with each claim. What a
// RESOLVED's FIRING is asked for leaves one index to find it by, that of alert and webhook: no
// other gives the order of alert_id, which a plain "=" would make needless. By the others a plan
// would read all that a webhook has, and while the table is empty all of them cost the same. (A
// comparison of rows would do that too, but read all that comes after in the alert.)
const char DeliveryStore::kFetchSql[] =
    "SELECT d.id, d.webhook_id, CASE WHEN d.next_attempt_at <= $6 THEN d.payload END,"
    "  d.attempts, d.next_attempt_at, f.next_attempt_at, d.seq,"
    "  CASE WHEN d.event = 'alert.firing' AND d.next_attempt_at <= $6 THEN d.alert_id END, d.place"
    " FROM unnest($1::text[], $2::int4[], $3::timestamptz[], $4::int8[])"
    "   AS r (webhook_id, room, from_time, from_seq)"
    " CROSS JOIN LATERAL (SELECT d.*, d.ctid AS place FROM alerting.delivery d"
    "   WHERE d.webhook_id = r.webhook_id AND d.status = 'PENDING'"
    "    AND (d.next_attempt_at, d.seq) >= (coalesce(r.from_time, '-infinity'), r.from_seq)"
    "    AND d.id NOT IN (SELECT unnest($5::text[]))"
    "   ORDER BY d.next_attempt_at, d.seq LIMIT r.room + 1) d"
    " LEFT JOIN LATERAL (SELECT f.next_attempt_at FROM alerting.delivery f"
    "   WHERE d.event = 'alert.resolved' AND f.alert_id = ANY (ARRAY[d.alert_id])"
    "    AND f.webhook_id = d.webhook_id AND f.event = 'alert.firing'"
    "    AND f.status NOT IN ('DELIVERED', 'FAILED') ORDER BY f.alert_id LIMIT 1) f ON true";

// Not status = 'FIRING', for which a plan would read the index of all that is.
const char DeliveryStore::kStillFiringSql[] =
    "SELECT a.id FROM alerting.alert a WHERE a.id = ANY ($1) AND a.status <> 'RESOLVED'";

// In the order of the index of what is pending, so that no plan goes by the index of all.
const char DeliveryStore::kIsFlushedSql[] =
    "SELECT 1 FROM alerting.webhook w CROSS JOIN LATERAL (SELECT 1 FROM alerting.delivery d"
    "   WHERE d.webhook_id = w.id AND d.status = 'PENDING' AND d.seq <= $1"
    "   ORDER BY d.next_attempt_at, d.seq LIMIT 1) d"
    " WHERE w.is_active ORDER BY w.id LIMIT 1";

const char DeliveryStore::kParkOverdueSql[] =
    "WITH oldest AS (SELECT o.id, o.seq, o.attempts, o.next_attempt_at FROM alerting.delivery o"
    "   WHERE o.webhook_id = $1 AND o.status = 'PENDING'"
    "    AND (o.next_attempt_at, o.seq) >= (coalesce($7, '-infinity'), $8)"
    "    AND o.id NOT IN (SELECT unnest($3::text[])) AND o.next_attempt_at <= $4 ORDER BY "
    "o.next_attempt_at, o.seq LIMIT $6),"
    " overdue AS MATERIALIZED (SELECT d.id FROM oldest o JOIN alerting.delivery d ON d.id = o.id"
    "   WHERE o.next_attempt_at + ($2::int8[])[least(o.attempts, cardinality($2) - 1) + 1]"
    "         * interval '1 microsecond' <= $4 FOR NO KEY UPDATE OF d SKIP LOCKED),"
    " parked AS (UPDATE alerting.delivery d SET status = 'FAILED', last_error = $5"
    "   FROM overdue o WHERE d.id = o.id RETURNING 1)"
    " SELECT count(*), (SELECT count(*) FROM parked), max(o.next_attempt_at),"
    "  (SELECT max(l.seq) FROM oldest l"
    "    WHERE l.next_attempt_at = (SELECT max(m.next_attempt_at) FROM oldest m)) FROM oldest o";

StoreTransaction::StoreTransaction(const char* activity) : transaction_(activity) {
  if (!pg::LockExtension()) throw pg::WorkerExit();
  const Oid owner = TablesOwner();
  if (OidIsValid(owner)) user_.emplace(owner, false);
}

void StoreTransaction::Commit() {
  user_.reset();
  transaction_.Commit();
}

bool DeliveryStore::IsCopy() {
  pg::Params params;
  params.OidValue(MyDatabaseId).BigInt(static_cast<int64_t>(GetSystemIdentifier()));
  return is_copy_.Run(params).size() > 0;
}

std::vector<PendingWebhook> DeliveryStore::FindPending(const std::vector<std::string>& claimed) {
  pg::Params params;
  params.TextArray(claimed);
  const pg::Rows rows = find_pending_.Run(params);
  std::vector<PendingWebhook> webhooks(rows.size());
  for (uint64_t row = 0; row < rows.size(); ++row) {
    PendingWebhook& webhook = webhooks[row];
    webhook.id = rows.Text(row, 0);
    webhook.url = rows.Text(row, 1);
    webhook.secret = rows.OptionalText(row, 2);
    if (const auto schedule = rows.OptionalText(row, 3)) {
      webhook.schedule = ParseMicrosArray(*schedule);
    }
    if (!rows.IsNull(row, 4)) webhook.first_due = rows.Timestamp(row, 4);
    webhook.organization = rows.Text(row, 5);
    if (!rows.IsNull(row, 6)) webhook.rate_limit = rows.Int(row, 6);
    if (!rows.IsNull(row, 7)) webhook.max_concurrent = rows.Int(row, 7);
    webhook.probe_at = rows.Timestamp(row, 8);
    webhook.headers = rows.Text(row, 9);
    webhook.version = rows.Text(row, 10);
  }
  return webhooks;
}

std::vector<PendingDelivery> DeliveryStore::Fetch(const std::vector<FetchRequest>& requests,
                                                  const std::vector<std::string>& claimed,
                                                  Micros now) {
  std::vector<std::string> ids;
  std::vector<int32_t> limits;
  std::vector<Micros> from;
  std::vector<int64_t> from_sequences;
  for (const FetchRequest& request : requests) {
    ids.push_back(request.webhook_id);
    limits.push_back(request.limit);
    from.push_back(request.from);
    from_sequences.push_back(request.from_sequence);
  }
  pg::Params params;
  params.TextArray(ids).IntArray(limits).TimestampArray(from).BigIntArray(from_sequences);
  params.TextArray(claimed).Timestamp(now);
  const pg::Rows rows = fetch_.Run(params);
  std::vector<PendingDelivery> deliveries(rows.size());
  std::vector<size_t> firing;       // those of a FIRING
  std::vector<std::string> alerts;  // whose these are
  for (uint64_t row = 0; row < rows.size(); ++row) {
    PendingDelivery& delivery = deliveries[row];
    delivery.id = rows.Text(row, 0);
    delivery.webhook_id = rows.Text(row, 1);
    if (std::optional<std::string> payload = rows.OptionalText(row, 2)) {
      std::optional<std::string> body = ToUtf8(*std::move(payload));
      delivery.unsendable = !body.has_value();
      delivery.body = std::move(body).value_or(std::string());
    }
    // A user may have set it; there is one to be added.
    delivery.attempts = std::min(rows.Int(row, 3), INT_MAX - 1);
    delivery.due = rows.Timestamp(row, 4);
    delivery.waits_until = rows.Timestamp(row, 5);
    delivery.sequence = rows.BigInt(row, 6);
    if (std::optional<std::string> alert = rows.OptionalText(row, 7)) {
      firing.push_back(row);
      alerts.push_back(*std::move(alert));
    }
    delivery.place = rows.Place(row, 8);
  }
  if (firing.empty()) return deliveries;
  pg::Params of_alerts;
  of_alerts.TextArray(alerts);
  const std::vector<std::string> found = still_firing_.Run(of_alerts).FirstColumn();
  const std::unordered_set<std::string_view> still_firing(found.begin(), found.end());
  for (size_t i = 0; i < firing.size(); ++i) {
    deliveries[firing[i]].over = !still_firing.contains(alerts[i]);
  }
  return deliveries;
}

void DeliveryStore::Defer(const std::vector<std::string>& ids, const std::vector<Micros>& until) {
  pg::Params params;
  params.TextArray(ids).TimestampArray(until);
  (void)pg::Execute(
      "WITH free AS (SELECT d.id FROM alerting.delivery d WHERE d.id = ANY ($1)"
      "   AND d.status = 'PENDING' FOR NO KEY UPDATE SKIP LOCKED)"
      " UPDATE alerting.delivery d SET next_attempt_at = k.until"
      "  FROM free JOIN unnest($1::text[], $2::timestamptz[]) AS k (id, until) ON k.id = free.id"
      " WHERE d.id = k.id",
      params);
}

bool DeliveryStore::ParkOverdue(FailedProbe* probe, const std::vector<Micros>& remaining_pauses,
                                const std::vector<std::string>& claimed, Micros now) {
  constexpr int kAtOnce = 100;
  pg::Params params;
  params.Text(probe->webhook_id).BigIntArray(remaining_pauses).TextArray(claimed).Timestamp(now);
  params.Text("not tried again, the endpoint fails: " + probe->error).Int(kAtOnce);
  params.Timestamp(probe->from).BigInt(probe->from_sequence);
  const pg::Rows rows = park_overdue_.Run(params);
  if (rows.BigInt(0, 0) < kAtOnce || rows.BigInt(0, 1) < kAtOnce) return false;
  probe->from = rows.Timestamp(0, 2);
  probe->from_sequence = rows.BigInt(0, 3) + 1;
  return true;
}

DeliveryStore::Switched DeliveryStore::SwitchOff(const std::string& webhook_id,
                                                 const std::string& url,
                                                 const std::string& reason) {
  pg::Params params;
  params.Text(webhook_id).Text(url).Text(reason);
  const pg::Rows rows = pg::Execute(
      "WITH free AS (SELECT w.id FROM alerting.webhook w WHERE w.id = $1 AND w.url = $2"
      "   AND w.is_active FOR NO KEY UPDATE SKIP LOCKED),"
      " off AS (UPDATE alerting.webhook w SET is_active = false, disabled_reason = $3"
      "   FROM free WHERE w.id = free.id RETURNING w.id)"
      " SELECT jsonb_build_object('event', 'webhook.disabled', 'webhookId', off.id,"
      "   'reason', $3::text)::text FROM off",
      params);
  Notify(rows.FirstColumn());
  if (rows.size() > 0) return Switched::kOff;
  pg::Params same;
  same.Text(webhook_id).Text(url);
  const pg::Rows locked = pg::Execute(
      "SELECT 1 FROM alerting.webhook w WHERE w.id = $1 AND w.url = $2 AND w.is_active", same);
  return locked.size() > 0 ? Switched::kLocked : Switched::kNotAsItWas;
}

std::vector<std::string> DeliveryStore::SwitchOffFailing(
    const std::vector<std::string>& webhook_ids) {
  pg::Params params;
  params.TextArray(webhook_ids);
  const pg::Rows rows = pg::Execute(
      "WITH failing AS (SELECT w.id FROM alerting.webhook w WHERE w.id = ANY ($1) AND "
      "w.is_active"
      "   AND w.updated_at < now() - interval '5 days'"
      "   AND EXISTS (SELECT 1 FROM alerting.delivery d JOIN alerting.delivery_attempt a"
      "     ON a.delivery_id = d.id WHERE d.webhook_id = w.id AND d.status <> 'DELIVERED'"
      "     AND a.at < now() - interval '5 days' AND a.error IS NOT NULL)"
      "   AND NOT EXISTS (SELECT 1 FROM alerting.delivery d WHERE d.webhook_id = w.id"
      "     AND d.status = 'DELIVERED' AND d.delivered_at > now() - interval '5 days')"
      "   FOR NO KEY UPDATE SKIP LOCKED),"
      " off AS (UPDATE alerting.webhook w SET is_active = false,"
      "   disabled_reason = 'nothing but failures for five days' FROM failing"
      "   WHERE w.id = failing.id RETURNING w.id, w.disabled_reason)"
      " SELECT jsonb_build_object('event', 'webhook.disabled', 'webhookId', off.id,"
      "   'reason', off.disabled_reason)::text, off.id FROM off",
      params);
  Notify(rows.FirstColumn());
  std::vector<std::string> ids;
  for (uint64_t row = 0; row < rows.size(); ++row) ids.push_back(rows.Text(row, 1));
  return ids;
}

std::vector<std::string> DeliveryStore::NoteBreakers(const std::vector<std::string>& webhook_ids,
                                                     const std::vector<Micros>& probe_at) {
  pg::Params params;
  params.TextArray(webhook_ids).TimestampArray(probe_at);
  return pg::Execute(
             "WITH noted AS (SELECT * FROM unnest($1::text[], $2::timestamptz[]) AS n (id, "
             "probe_at)),"
             " free AS MATERIALIZED (SELECT n.* FROM noted n JOIN alerting.webhook w ON w.id = n.id"
             "   FOR NO KEY UPDATE OF w SKIP LOCKED),"
             " written AS (UPDATE alerting.webhook w SET probe_at = f.probe_at FROM free f WHERE "
             "w.id = "
             "f.id"
             "   RETURNING w.id)"
             " SELECT n.id FROM noted n LEFT JOIN written x ON x.id = n.id WHERE x.id IS NOT NULL"
             "   OR NOT EXISTS (SELECT FROM alerting.webhook w WHERE w.id = n.id)",
             params)
      .FirstColumn();
}

int64_t DeliveryStore::NewestSequence() {
  // By created_at would be wrong: a delivery may have been made with a time of its own.
  // Of each webhook the newest delivery, whatever became of that, and not all that is pending.
  return pg::Execute(std::string(kWithPendingWebhooks) +
                     " SELECT coalesce(max((SELECT d.seq FROM alerting.delivery d"
                     "   WHERE d.webhook_id = p.webhook_id ORDER BY d.seq DESC LIMIT 1)), 0)"
                     " FROM pending p WHERE p.webhook_id IS NOT NULL")
      .BigInt(0, 0);
}

bool DeliveryStore::IsFlushed(int64_t sequence) {
  pg::Params params;
  params.BigInt(sequence);
  return is_flushed_.Run(params).size() == 0;
}

DeliveryStore::Deleted DeliveryStore::DeleteExpired(uint32_t from_block, uint32_t blocks,
                                                    Micros delivered_before, Micros failed_before,
                                                    int limit) {
  const auto place = [](uint64_t block) { return "(" + std::to_string(block) + ",0)"; };
  Deleted deleted;
  deleted.table_blocks =
      static_cast<uint64_t>(pg::Execute("SELECT pg_relation_size('alerting.delivery')"
                                        " / current_setting('block_size')::int8")
                                .BigInt(0, 0));
  pg::Params params;
  params.Text(place(from_block))
      .Text(place(
          std::min<uint64_t>(uint64_t{from_block} + blocks, std::numeric_limits<uint32_t>::max())));
  params.Timestamp(delivered_before).Timestamp(failed_before).Int(limit);
  deleted.rows =
      pg::Execute(
          "DELETE FROM alerting.delivery WHERE id IN (SELECT d.id FROM alerting.delivery d"
          "  WHERE d.ctid >= $1::tid AND d.ctid < $2::tid AND d.created_at < CASE d.status"
          "    WHEN 'DELIVERED' THEN $3 WHEN 'FAILED' THEN $4 END"
          "  AND coalesce(d.delivered_at, d.next_attempt_at) < CASE d.status"
          "    WHEN 'DELIVERED' THEN $3 WHEN 'FAILED' THEN $4 END"
          "  AND NOT EXISTS (SELECT 1 FROM alerting.alert a"
          "    WHERE a.id = d.alert_id AND a.status = 'FIRING')"
          "  LIMIT $5 FOR UPDATE SKIP LOCKED)",
          params)
          .size();
  return deleted;
}

}  // namespace alerting::ext
