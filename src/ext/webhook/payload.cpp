// Implements ext/webhook/payload.h. Numbers are written by PostgreSQL's own functions, so that they
// are what SQL would make of them.
#include "ext/webhook/payload.h"

#include <cmath>

namespace alerting::ext {

using pg::Joined;
using pg::JsonbOf;
using pg::JsonMember;
using pg::JsonNull;
using pg::JsonNumber;
using pg::JsonObject;
using pg::JsonText;
using pg::Member;
using pg::TextOf;
using pg::TreeOf;

namespace {

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

// round(value::numeric, 1)
Datum RoundToTenth(double value) {
  const Datum exact = DirectFunctionCall1(float8_numeric, Float8GetDatum(value));
  return DirectFunctionCall2(numeric_round, exact, Int32GetDatum(1));
}

const char* Rounded(double value) {
  return DatumGetCString(DirectFunctionCall1(numeric_out, RoundToTenth(value)));
}

// As float8, which leaves out ".0".
const char* RoundedShort(double value) {
  return float8out_internal(
      DatumGetFloat8(DirectFunctionCall1(numeric_float8, RoundToTenth(value))));
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

std::string_view ReasonWords(OptionalText reason) {
  if (!reason) return "for no known reason";
  struct Known {
    std::string_view reason, words;
  };
  constexpr Known kKnown[] = {
      {"RECOVERED", "recovered"},
      {"NO_DATA", "no data any more"},
      {"RULE_DISABLED", "its rule was disabled"},
      {"RULE_CHANGED", "its rule was changed"},
      {"RULE_DELETED", "its rule was deleted"},
      {"CONTAINER_MOVED", "the container moved to another organization"},
      {"CONTAINER_DELETED", "the container was deleted"},
      {"ALERT_DELETED", "the alert was deleted"},
  };
  for (const Known& known : kKnown) {
    if (*reason == known.reason) return known.words;
  }
  return str_tolower(reason->data(), reason->size(), DEFAULT_COLLATION_OID);
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
  const JsonbValue fired_at = JsonText(Rfc3339(alert.fired_at));

  JsonbPair of_alert[] = {JsonMember("id", JsonText(alert.alert_id)),
                          JsonMember("value", JsonNumber(value)),
                          JsonMember("ruleId", JsonText(alert.rule_id)),
                          JsonMember("status", JsonText("FIRING")),
                          JsonMember("firedAt", fired_at),
                          JsonMember("startedAt", JsonText(Rfc3339(alert.started_at))),
                          JsonMember("resolvedAt", JsonNull()),
                          JsonMember("containerId", JsonText(alert.container_id)),
                          JsonMember("resolveReason", JsonNull())};
  JsonbPair rule[] = {JsonMember("id", JsonText(alert.rule_id)),
                      JsonMember("name", JsonText(alert.rule_name)),
                      JsonMember("duration", JsonNumber(alert.duration)),
                      JsonMember("condition", JsonText(alert.condition)),
                      JsonMember("threshold", JsonNumber(alert.threshold))};
  JsonbPair container[] = {JsonMember("id", JsonText(alert.container_id)),
                           JsonMember("name", JsonText(alert.container_name))};
  JsonbPair organization[] = {JsonMember("id", JsonText(alert.organization_id)),
                              JsonMember("name", JsonText(alert.organization_name))};
  JsonbPair data[] = {
      JsonMember("rule", JsonObject(rule)), JsonMember("alert", JsonObject(of_alert)),
      JsonMember("summary", JsonText(summary)), JsonMember("container", JsonObject(container)),
      JsonMember("organization", JsonObject(organization))};
  JsonbPair payload[] = {JsonMember("data", JsonObject(data)),
                         JsonMember("type", JsonText("alert.firing")),
                         JsonMember("timestamp", fired_at)};
  return JsonbOf(JsonObject(payload));
}

Datum ResolvedPayload(Jsonb* firing, std::optional<TimestampTz> resolved_at, OptionalText reason) {
  const JsonbValue begun = TreeOf(&firing->root);
  const JsonbValue* of_data = Member(&begun, "data");
  const JsonbValue* of_alert = Member(of_data, "alert");
  const JsonbValue* container = Member(of_data, "container");

  OptionalText where = TextOf(Member(container, "name"));
  if (!where) where = TextOf(Member(container, "id"));
  OptionalText summary;
  if (where) {
    StringInfoData line;
    initStringInfo(&line);
    Append(&line, *where);
    Append(&line, ": resolved, ");
    Append(&line, ReasonWords(reason));
    if (const OptionalText rule = TextOf(Member(Member(of_data, "rule"), "name"))) {
      Append(&line, " (");
      Append(&line, *rule);
      Append(&line, ")");
    }
    summary = WordsOf(line);
  }
  const JsonbValue moment = JsonText(Rfc3339(resolved_at));

  JsonbPair end[] = {JsonMember("status", JsonText("RESOLVED")), JsonMember("resolvedAt", moment),
                     JsonMember("resolveReason", JsonText(reason))};
  JsonbPair data[] = {
      JsonMember("alert", of_alert ? Joined(*of_alert, JsonObject(end)) : JsonObject(end)),
      JsonMember("summary", JsonText(summary))};
  JsonbPair payload[] = {
      JsonMember("data", of_data ? Joined(*of_data, JsonObject(data)) : JsonObject(data)),
      JsonMember("type", JsonText("alert.resolved")), JsonMember("timestamp", moment)};
  return JsonbOf(Joined(begun, JsonObject(payload)));
}

}  // namespace alerting::ext
