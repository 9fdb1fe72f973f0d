// The statements of ext/alert_store.h. All go by lists of keys, and those that lock skip what
// somebody else has locked.
#ifndef ALERTING_EXT_ALERT_STATEMENTS_H_
#define ALERTING_EXT_ALERT_STATEMENTS_H_

#include <string>

#include "ext/binding.h"

namespace alerting::ext {

// The rules, then the webhooks that their alerts go to (their organizations beside both, and which
// version of its row a webhook is), then how many of those webhooks there are, locked or not: a
// delivery refers to its webhook.
inline constexpr char kLockRules[] =
    "WITH rule AS MATERIALIZED (SELECT r.id, r.organization_id FROM alerting.alert_rule r"
    "   WHERE r.id = ANY ($1) FOR KEY SHARE SKIP LOCKED),"
    " webhook AS MATERIALIZED (SELECT w.id, w.organization_id,"
    "   w.xmin::text || w.ctid::text AS version FROM alerting.webhook w"
    "   WHERE w.is_active"
    "   AND w.organization_id IN (SELECT r.organization_id FROM rule r)"
    "   FOR KEY SHARE OF w SKIP LOCKED)"
    " SELECT r.id, r.organization_id::text, NULL, NULL, NULL::int8 FROM rule r"
    " UNION ALL SELECT NULL, w.organization_id::text, w.id, w.version, NULL FROM webhook w"
    " UNION ALL SELECT NULL, NULL, NULL, NULL, (SELECT count(*) FROM alerting.webhook w"
    "   WHERE w.is_active AND w.organization_id IN (SELECT r.organization_id FROM rule r))";
inline constexpr char kFindRules[] = "SELECT id FROM alerting.alert_rule WHERE id = ANY ($1)";

inline constexpr char kFindWebhooks[] =
    "SELECT r.id, w.id FROM alerting.alert_rule r JOIN alerting.webhook w"
    " ON w.organization_id = r.organization_id WHERE w.is_active AND r.id = ANY ($1)";

inline constexpr char kFindFiring[] =
    "SELECT k.ordinal::int4, a.id FROM unnest($1::text[], $2::text[]) WITH ORDINALITY"
    " AS k (rule_id, container_id, ordinal) JOIN alerting.alert a ON a.rule_id = k.rule_id"
    " AND a.container_id::text = k.container_id AND a.status = 'FIRING'";

// The payload is rendered once per alert, not once per webhook.
inline constexpr char kRenderFiring[] =
    "SELECT k.ordinal::int4, alerting.firing_payload(k.alert_id, r.id, r.name, r.condition,"
    " r.threshold, r.duration, k.container_id, k.container_name, r.organization_id::text,"
    " k.organization_name, k.started_at, k.fired_at, k.value)"
    " FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[],"
    " $7::timestamptz[], $8::float8[]) WITH ORDINALITY AS k (alert_id, rule_id, container_id,"
    " container_name, organization_name, started_at, fired_at, value, ordinal)"
    " JOIN alerting.alert_rule r ON r.id = k.rule_id";
// The same for one alert, without lists.
inline constexpr char kRenderOneFiring[] =
    "SELECT 1, alerting.firing_payload($1, r.id, r.name, r.condition, r.threshold, r.duration,"
    " $3, $4, r.organization_id::text, $5, $6, $7, $8) FROM alerting.alert_rule r WHERE r.id = $2";

// What is FIRING has no resolved_at, a CHECK says so; asked by status, these statements could go by
// the index of all that is FIRING.
inline constexpr char kLockAlerts[] =
    "SELECT id FROM alerting.alert WHERE id = ANY ($1) AND resolved_at IS NULL"
    " FOR NO KEY UPDATE SKIP LOCKED";
inline constexpr char kFindAlerts[] =
    "SELECT id FROM alerting.alert WHERE id = ANY ($1) AND resolved_at IS NULL";

inline constexpr char kLockResolvedWebhooks[] =
    "SELECT w.id, w.xmin::text || w.ctid::text FROM alerting.webhook w WHERE w.id IN"
    " (SELECT f.webhook_id FROM alerting.delivery f"
    " WHERE f.alert_id = ANY ($1) AND f.event = 'alert.firing') FOR KEY SHARE OF w SKIP LOCKED";
inline constexpr char kFindResolvedWebhooks[] =
    "SELECT f.alert_id, f.webhook_id FROM alerting.delivery f"
    " WHERE f.alert_id = ANY ($1) AND f.event = 'alert.firing'";

inline constexpr char kResolveAlerts[] =
    "UPDATE alerting.alert a SET status = 'RESOLVED', resolved_at = k.resolved_at,"
    " resolve_reason = k.reason FROM unnest($1::text[], $2::timestamptz[], $3::text[])"
    " AS k (id, resolved_at, reason) WHERE a.id = k.id AND a.resolved_at IS NULL";

inline constexpr char kRenderResolved[] =
    "SELECT f.webhook_id, f.alert_id, alerting.resolved_payload(f.payload, k.resolved_at, "
    "k.reason),"
    " f.status = 'PENDING' FROM unnest($1::text[], $2::timestamptz[], $3::text[]) WITH ORDINALITY"
    " AS k (id, resolved_at, reason, ordinal)"
    " JOIN alerting.delivery f ON f.alert_id = k.id AND f.event = 'alert.firing'"
    " ORDER BY k.ordinal, f.seq";

inline std::string InsertAlertsSql(const Binding& binding) {
  return "INSERT INTO alerting.alert (id, rule_id, container_id, status, started_at, fired_at,"
         " value) SELECT k.id, k.rule_id, k.container_id::" +
         std::string(KeyTypeName(binding.key_kind)) +
         ", 'FIRING', k.started_at, k.fired_at, nullif(k.value, 'NaN')"
         " FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[],"
         " $6::float8[]) AS k (id, rule_id, container_id, started_at, fired_at, value)"
         " ON CONFLICT DO NOTHING RETURNING id";
}

inline std::string DeleteOrphansSql(const Binding& binding) {
  return "DELETE FROM alerting.alert WHERE id IN (SELECT id FROM alerting.alert WHERE container_id "
         "= "
         "ANY ($1::text[]::" +
         std::string(KeyTypeName(binding.key_kind)) + "[]) FOR UPDATE SKIP LOCKED)";
}

}  // namespace alerting::ext

#endif  // ALERTING_EXT_ALERT_STATEMENTS_H_
