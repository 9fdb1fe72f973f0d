// alerting.firing_payload(), resolved_payload() and their parts: ext/webhook/payload.h, for SQL.
// Any backend.
#include "ext/webhook/payload.h"

extern "C" {
PG_FUNCTION_INFO_V1(alerting_rfc3339);
PGDLLEXPORT Datum alerting_rfc3339(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(alerting_condition_summary);
PGDLLEXPORT Datum alerting_condition_summary(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(alerting_firing_payload);
PGDLLEXPORT Datum alerting_firing_payload(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(alerting_resolved_payload);
PGDLLEXPORT Datum alerting_resolved_payload(PG_FUNCTION_ARGS);
}

namespace alerting::ext {

namespace {

OptionalText TextArgument(FunctionCallInfo fcinfo, int number) {
  if (PG_ARGISNULL(number)) return std::nullopt;
  const text* value = PG_GETARG_TEXT_PP(number);
  return std::string_view(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
}

std::optional<double> FloatArgument(FunctionCallInfo fcinfo, int number) {
  if (PG_ARGISNULL(number)) return std::nullopt;
  return PG_GETARG_FLOAT8(number);
}

std::optional<int32_t> IntArgument(FunctionCallInfo fcinfo, int number) {
  if (PG_ARGISNULL(number)) return std::nullopt;
  return PG_GETARG_INT32(number);
}

std::optional<TimestampTz> TimeArgument(FunctionCallInfo fcinfo, int number) {
  if (PG_ARGISNULL(number)) return std::nullopt;
  return PG_GETARG_TIMESTAMPTZ(number);
}

Datum ReturnText(FunctionCallInfo fcinfo, OptionalText words) {
  if (!words) PG_RETURN_NULL();
  return PointerGetDatum(cstring_to_text_with_len(words->data(), static_cast<int>(words->size())));
}

Datum Rfc3339Function(FunctionCallInfo fcinfo) {
  return pg::Call([&] { return ReturnText(fcinfo, Rfc3339(TimeArgument(fcinfo, 0))); });
}

Datum ConditionSummaryFunction(FunctionCallInfo fcinfo) {
  return pg::Call([&] {
    return ReturnText(fcinfo, ConditionSummary(TextArgument(fcinfo, 0), FloatArgument(fcinfo, 1),
                                               IntArgument(fcinfo, 2), FloatArgument(fcinfo, 3)));
  });
}

Datum FiringPayloadFunction(FunctionCallInfo fcinfo) {
  return pg::Call([&] {
    FiringAlert alert;
    alert.alert_id = TextArgument(fcinfo, 0);
    alert.rule_id = TextArgument(fcinfo, 1);
    alert.rule_name = TextArgument(fcinfo, 2);
    alert.condition = TextArgument(fcinfo, 3);
    alert.threshold = FloatArgument(fcinfo, 4);
    alert.duration = IntArgument(fcinfo, 5);
    alert.container_id = TextArgument(fcinfo, 6);
    alert.container_name = TextArgument(fcinfo, 7);
    alert.organization_id = TextArgument(fcinfo, 8);
    alert.organization_name = TextArgument(fcinfo, 9);
    alert.started_at = TimeArgument(fcinfo, 10);
    alert.fired_at = TimeArgument(fcinfo, 11);
    alert.value = FloatArgument(fcinfo, 12);
    return FiringPayload(alert);
  });
}

Datum ResolvedPayloadFunction(FunctionCallInfo fcinfo) {
  if (PG_ARGISNULL(0)) PG_RETURN_NULL();
  return pg::Call([&] {
    return ResolvedPayload(PG_GETARG_JSONB_P(0), TimeArgument(fcinfo, 1), TextArgument(fcinfo, 2));
  });
}

}  // namespace

}  // namespace alerting::ext

Datum alerting_rfc3339(PG_FUNCTION_ARGS) {
  return alerting::pg::Entry([&] { return alerting::ext::Rfc3339Function(fcinfo); });
}
Datum alerting_condition_summary(PG_FUNCTION_ARGS) {
  return alerting::pg::Entry([&] { return alerting::ext::ConditionSummaryFunction(fcinfo); });
}
Datum alerting_firing_payload(PG_FUNCTION_ARGS) {
  return alerting::pg::Entry([&] { return alerting::ext::FiringPayloadFunction(fcinfo); });
}
Datum alerting_resolved_payload(PG_FUNCTION_ARGS) {
  return alerting::pg::Entry([&] { return alerting::ext::ResolvedPayloadFunction(fcinfo); });
}
