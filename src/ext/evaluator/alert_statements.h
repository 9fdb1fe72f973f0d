// The statements of ext/evaluator/alert_store.h. All go by lists of keys, and those that lock skip
// what somebody else has locked.
#ifndef ALERTING_EXT_EVALUATOR_ALERT_STATEMENTS_H_
#define ALERTING_EXT_EVALUATOR_ALERT_STATEMENTS_H_

#include <string>

#include "ext/host/binding.h"

namespace alerting::ext {

// The rules with what their alerts' payloads say of them, then the webhooks that these alerts go to
// (their organizations beside both, and which version of its row a webhook is), then how many of
// those webhooks there are, locked or not: a delivery refers to its webhook.
inline std::string LockRulesSql(const Binding& binding) {
  const std::string of_rules = " FROM alerting.webhook w WHERE w.is_active AND w.organization_id " +
                               binding.organization_type.equals +
                               " ANY (SELECT r.organization_id FROM rule r)";
  return "WITH rule AS MATERIALIZED (SELECT r.id, r.organization_id, r.name, r.condition,"
         "   r.threshold::float8 AS threshold, r.duration::int4 AS duration"
         "   FROM alerting.alert_rule r WHERE r.id = ANY ($1) FOR KEY SHARE SKIP LOCKED),"
         " webhook AS MATERIALIZED (SELECT w.id, w.organization_id,"
         "   w.xmin::text || w.ctid::text AS version" +
         of_rules +
         "   FOR KEY SHARE OF w SKIP LOCKED)"
         " SELECT r.id, " +
         binding.organization_type.Text("r.organization_id") +
         ", NULL, NULL, NULL::int8, r.name, r.condition,"
         "   r.threshold, r.duration FROM rule r"
         " UNION ALL SELECT NULL, " +
         binding.organization_type.Text("w.organization_id") +
         ", w.id, w.version,"
         "   NULL, NULL, NULL, NULL, NULL FROM webhook w"
         " UNION ALL SELECT NULL, NULL, NULL, NULL, (SELECT count(*)" +
         of_rules + "), NULL, NULL, NULL, NULL";
}
inline constexpr char kFindRules[] = "SELECT id FROM alerting.alert_rule WHERE id = ANY ($1)";

inline std::string FindWebhooksSql(const Binding& binding) {
  return "SELECT r.id, w.id FROM alerting.alert_rule r JOIN alerting.webhook w"
         " ON w.organization_id " +
         binding.organization_type.equals +
         " r.organization_id WHERE w.is_active AND r.id = ANY ($1)";
}

// What is FIRING has no resolved_at, a CHECK says so; asked by status, these statements could go by
// the index of all that is FIRING.
inline constexpr char kLockAlerts[] =
    "SELECT id FROM alerting.alert WHERE id = ANY ($1) AND resolved_at IS NULL"
    " FOR NO KEY UPDATE SKIP LOCKED";
inline constexpr char kFindAlerts[] =
    "SELECT id FROM alerting.alert WHERE id = ANY ($1) AND resolved_at IS NULL";

// Who was told of an alert is asked alert by alert (OFFSET 0 keeps it so): without statistics a
// plan for many would read all deliveries.
#define ALERTING_TOLD_OF                                                                          \
  " CROSS JOIN LATERAL (SELECT d.webhook_id, d.payload, d.status, d.seq FROM alerting.delivery d" \
  "   WHERE d.alert_id = k.id AND d.event = 'alert.firing' OFFSET 0) f"
inline constexpr char kLockResolvedWebhooks[] =
    "SELECT w.id, w.xmin::text || w.ctid::text FROM alerting.webhook w WHERE w.id IN"
    " (SELECT f.webhook_id FROM unnest($1::text[]) AS k (id)" ALERTING_TOLD_OF
    ") FOR KEY SHARE OF w SKIP LOCKED";
inline constexpr char kFindResolvedWebhooks[] =
    "SELECT k.id, f.webhook_id FROM unnest($1::text[]) AS k (id)" ALERTING_TOLD_OF;

inline constexpr char kResolveAlerts[] =
    "UPDATE alerting.alert a SET status = 'RESOLVED', resolved_at = k.resolved_at,"
    " resolve_reason = k.reason FROM unnest($1::text[], $2::timestamptz[], $3::text[])"
    " AS k (id, resolved_at, reason) WHERE a.id = k.id AND a.resolved_at IS NULL";

inline constexpr char kRenderResolved[] =
    "SELECT f.webhook_id, k.id, alerting.resolved_payload(f.payload, k.resolved_at, k.reason),"
    " f.status = 'PENDING' FROM unnest($1::text[], $2::timestamptz[], $3::text[]) WITH ORDINALITY"
    " AS k (id, resolved_at, reason, ordinal)" ALERTING_TOLD_OF " ORDER BY k.ordinal, f.seq";
#undef ALERTING_TOLD_OF

inline std::string DeleteOrphansSql(const Binding& binding) {
  return "DELETE FROM alerting.alert WHERE id IN (SELECT id FROM alerting.alert"
         " WHERE container_id " +
         binding.container_type.equals + " ANY (" + binding.container_type.Array("$1") +
         ") FOR UPDATE SKIP LOCKED)";
}

}  // namespace alerting::ext

#endif  // ALERTING_EXT_EVALUATOR_ALERT_STATEMENTS_H_
