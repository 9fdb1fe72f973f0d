// Implements ext/payload.h. Numbers are written by PostgreSQL's own functions, so that they are
// what SQL would make of them.
#include "ext/payload.h"

#include <cmath>

namespace alerting::ext {

namespace {

// --- texts -------------------------------------------------------------------------------------

void Append(StringInfo line, std::string_view words) {
  appendBinaryStringInfo(line, words.data(), static_cast<int>(words.size()));
}

// Without printf: an alert has three times in it.
char* PutDigits(char* at, int number, int digits) {
  for (int i = digits - 1; i >= 0; --i) {
    at[i] = static_cast<char>('0' + number % 10);
    number /= 10;
  }
  return at + digits;
}

// As text || round(value::numeric, 1).
const char* Rounded(double value) {
  const Datum exact = DirectFunctionCall1(float8_numeric, Float8GetDatum(value));
  const Datum rounded = DirectFunctionCall2(numeric_round, exact, Int32GetDatum(1));
  return DatumGetCString(DirectFunctionCall1(numeric_out, rounded));
}

// The same once more as float8, which leaves out ".0".
const char* RoundedShort(double value) {
  const Datum rounded = DirectFunctionCall2(
      numeric_round, DirectFunctionCall1(float8_numeric, Float8GetDatum(value)), Int32GetDatum(1));
  return float8out_internal(DatumGetFloat8(DirectFunctionCall1(numeric_float8, rounded)));
}

void AppendHeld(StringInfo line, std::optional<int32_t> duration) {
  if (duration.value_or(0) > 0) appendStringInfo(line, " for %d min", *duration);
}

// False where a missing part makes the whole NULL.
bool AppendUsage(StringInfo line, const char* what, std::optional<double> threshold,
                 std::optional<int32_t> duration, std::optional<double> value) {
  if (!threshold) return false;
  appendStringInfoString(line, what);
  if (value) appendStringInfo(line, " %s %%", Rounded(*value));
  appendStringInfo(line, " is above %s %%", float8out_internal(*threshold));
  AppendHeld(line, duration);
  return true;
}

bool AppendSummary(StringInfo line, OptionalText condition, std::optional<double> threshold,
                   std::optional<int32_t> duration, std::optional<double> value) {
  if (!condition) return false;
  if (*condition == "CPU_USAGE") return AppendUsage(line, "CPU usage", threshold, duration, value);
  if (*condition == "MEMORY_USAGE") {
    return AppendUsage(line, "memory usage", threshold, duration, value);
  }
  if (*condition == "CONTAINER_DOWN") {
    appendStringInfoString(line, "container is down");
    AppendHeld(line, duration);
  } else if (*condition == "RESTART_LOOP") {
    if (!duration) return false;
    if (value) appendStringInfo(line, "%s ", RoundedShort(*value));
    appendStringInfo(line, "restarts in %d min", *duration);
  } else {
    Append(line, *condition);
  }
  return true;
}

std::string_view WordsOf(const StringInfoData& line) {
  return {line.data, static_cast<size_t>(line.len)};
}

// --- jsonb -------------------------------------------------------------------------------------

JsonbValue Null() {
  JsonbValue value = {};
  value.type = jbvNull;
  return value;
}

JsonbValue Text(OptionalText text) {
  if (!text) return Null();
  JsonbValue value = {};
  value.type = jbvString;
  value.val.string.val = const_cast<char*>(text->data());
  value.val.string.len = static_cast<int>(text->size());
  return value;
}

JsonbValue Number(std::optional<double> number) {
  if (!number) return Null();
  char* digits = float8out_internal(*number);
  if (!std::isfinite(*number)) return Text(digits);
  JsonbValue value = {};
  value.type = jbvNumeric;
  value.val.numeric = DatumGetNumeric(DirectFunctionCall3(
      numeric_in, CStringGetDatum(digits), ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
  return value;
}

JsonbValue Number(std::optional<int32_t> number) {
  if (!number) return Null();
  JsonbValue value = {};
  value.type = jbvNumeric;
  value.val.numeric = int64_to_numeric(*number);
  return value;
}

JsonbPair Pair(std::string_view key, const JsonbValue& value) {
  JsonbPair pair = {};
  pair.key = Text(key);
  pair.value = value;
  return pair;
}

// `pairs` in the order in which jsonb keeps keys (shorter ones first); they stay where they are.
template <size_t N>
JsonbValue Object(JsonbPair (&pairs)[N]) {
  JsonbValue value = {};
  value.type = jbvObject;
  value.val.object.nPairs = N;
  value.val.object.pairs = pairs;
  return value;
}

}  // namespace

OptionalText Rfc3339(std::optional<TimestampTz> moment) {
  if (!moment || TIMESTAMP_NOT_FINITE(*moment)) return std::nullopt;
  pg_tm parts;
  fsec_t micros = 0;
  if (timestamp2tm(*moment, nullptr, &parts, &micros, nullptr, nullptr) != 0 || parts.tm_year < 1 ||
      parts.tm_year > 9999) {
    const Datum format = CStringGetTextDatum("YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"");
    const Datum words = DirectFunctionCall2Coll(timestamp_to_char, DEFAULT_COLLATION_OID,
                                                TimestampGetDatum(*moment), format);
    return std::string_view(TextDatumGetCString(words));
  }
  constexpr size_t kLength = sizeof("2026-03-02T10:05:00.250Z") - 1;
  char* const words = static_cast<char*>(palloc(kLength));
  char* at = PutDigits(words, parts.tm_year, 4);
  *at++ = '-';
  at = PutDigits(at, parts.tm_mon, 2);
  *at++ = '-';
  at = PutDigits(at, parts.tm_mday, 2);
  *at++ = 'T';
  at = PutDigits(at, parts.tm_hour, 2);
  *at++ = ':';
  at = PutDigits(at, parts.tm_min, 2);
  *at++ = ':';
  at = PutDigits(at, parts.tm_sec, 2);
  *at++ = '.';
  at = PutDigits(at, micros / 1000, 3);
  *at = 'Z';
  return std::string_view(words, kLength);
}

OptionalText ConditionSummary(OptionalText condition, std::optional<double> threshold,
                              std::optional<int32_t> duration, std::optional<double> value) {
  StringInfoData line;
  initStringInfo(&line);
  if (!AppendSummary(&line, condition, threshold, duration, value)) return std::nullopt;
  return WordsOf(line);
}

Datum FiringPayload(const FiringAlert& alert) {
  // JSON knows neither NaN nor Infinity.
  std::optional<double> value = alert.value;
  if (value && !std::isfinite(*value)) value = std::nullopt;

  OptionalText summary;
  if (const OptionalText container =
          alert.container_name ? alert.container_name : alert.container_id) {
    StringInfoData line;
    initStringInfo(&line);
    Append(&line, *container);
    Append(&line, ": ");
    if (AppendSummary(&line, alert.condition, alert.threshold, alert.duration, value)) {
      summary = WordsOf(line);
    }
  }
  const JsonbValue fired_at = Text(Rfc3339(alert.fired_at));

  JsonbPair of_alert[] = {
      Pair("id", Text(alert.alert_id)),    Pair("value", Number(value)),
      Pair("ruleId", Text(alert.rule_id)), Pair("status", Text("FIRING")),
      Pair("firedAt", fired_at),           Pair("startedAt", Text(Rfc3339(alert.started_at))),
      Pair("resolvedAt", Null()),          Pair("containerId", Text(alert.container_id)),
      Pair("resolveReason", Null())};
  JsonbPair rule[] = {Pair("id", Text(alert.rule_id)), Pair("name", Text(alert.rule_name)),
                      Pair("duration", Number(alert.duration)),
                      Pair("condition", Text(alert.condition)),
                      Pair("threshold", Number(alert.threshold))};
  JsonbPair container[] = {Pair("id", Text(alert.container_id)),
                           Pair("name", Text(alert.container_name))};
  JsonbPair organization[] = {Pair("id", Text(alert.organization_id)),
                              Pair("name", Text(alert.organization_name))};
  JsonbPair data[] = {Pair("rule", Object(rule)), Pair("alert", Object(of_alert)),
                      Pair("summary", Text(summary)), Pair("container", Object(container)),
                      Pair("organization", Object(organization))};
  JsonbPair payload[] = {Pair("data", Object(data)), Pair("type", Text("alert.firing")),
                         Pair("timestamp", fired_at)};
  JsonbValue whole = Object(payload);
  return JsonbPGetDatum(JsonbValueToJsonb(&whole));
}

}  // namespace alerting::ext
