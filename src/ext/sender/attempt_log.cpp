// Implements ext/sender/attempt_log.h.
#include "ext/sender/attempt_log.h"

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "ext/host/binding.h"
#include "pg/table_writer.h"
#include "pg/transaction.h"

namespace alerting::ext {

namespace {

constexpr char kInsert[] =
    "INSERT INTO alerting.delivery_attempt (delivery_id, at, status_code, error, duration_ms,"
    " response, dns_ms, connect_ms, tls_ms, wait_ms)"
    " SELECT o.id, o.at, nullif(o.status_code, 0), o.error, o.duration_ms, o.response, o.dns_ms,"
    " o.connect_ms, o.tls_ms, o.wait_ms FROM unnest($1::text[], $2::timestamptz[], $3::int4[],"
    " $4::text[], $5::int4[], $6::text[], $7::float4[], $8::float4[], $9::float4[], $10::float4[])"
    " AS o (id, at, status_code, error, duration_ms, response, dns_ms, connect_ms, tls_ms,"
    " wait_ms)";

constexpr std::array<pg::ColumnType, 10> kColumns = {{{"delivery_id", TEXTOID},
                                                      {"at", TIMESTAMPTZOID},
                                                      {"status_code", INT4OID},
                                                      {"error", TEXTOID},
                                                      {"duration_ms", INT4OID},
                                                      {"response", TEXTOID},
                                                      {"dns_ms", FLOAT4OID},
                                                      {"connect_ms", FLOAT4OID},
                                                      {"tls_ms", FLOAT4OID},
                                                      {"wait_ms", FLOAT4OID}}};

pg::ColumnValue OfText(std::string_view text) { return {.text = text}; }

pg::ColumnValue OfPhase(const std::optional<float>& milliseconds) {
  return {.datum = Float4GetDatum(milliseconds.value_or(0)), .is_null = !milliseconds};
}

std::array<pg::ColumnValue, kColumns.size()> RowOf(const Outcome& outcome) {
  return {{OfText(outcome.delivery_id),
           {.datum = TimestampTzGetDatum(outcome.at)},
           {.datum = Int32GetDatum(outcome.status_code), .is_null = outcome.status_code == 0},
           {.text = outcome.error, .is_null = outcome.error.empty()},
           {.datum = Int32GetDatum(outcome.duration_ms)},
           OfText(outcome.response),
           OfPhase(outcome.phases.dns),
           OfPhase(outcome.phases.connect),
           OfPhase(outcome.phases.tls),
           OfPhase(outcome.phases.wait)}};
}

}  // namespace

AttemptLog::AttemptLog() : plan_(kColumns), insert_(kInsert) {}

void AttemptLog::Write(std::span<const Outcome* const> outcomes) {
  if (outcomes.empty()) return;
  const pg::SettingsScope settings;  // for users' triggers
  const pg::LockedReference delivery = {"delivery_id", OwnTable("delivery"), "id"};
  pg::TableWriter writer(&plan_, OwnTable("delivery_attempt"), std::span(&delivery, 1));
  if (!writer.can_write()) {
    WriteByStatement(outcomes);
    return;
  }
  for (const Outcome* outcome : outcomes) (void)writer.Insert(RowOf(*outcome));
  writer.Finish();
}

void AttemptLog::WriteByStatement(std::span<const Outcome* const> outcomes) {
  std::vector<std::string> ids, responses;
  std::vector<std::optional<std::string>> errors;
  std::vector<int32_t> codes, durations;
  std::vector<Micros> times;
  std::vector<std::optional<float>> dns, connect, tls, wait;
  for (const Outcome* outcome : outcomes) {
    ids.push_back(outcome->delivery_id);
    times.push_back(outcome->at);
    codes.push_back(outcome->status_code);
    errors.push_back(outcome->error.empty() ? std::nullopt : std::optional(outcome->error));
    durations.push_back(outcome->duration_ms);
    responses.push_back(outcome->response);
    dns.push_back(outcome->phases.dns);
    connect.push_back(outcome->phases.connect);
    tls.push_back(outcome->phases.tls);
    wait.push_back(outcome->phases.wait);
  }
  pg::Params params;
  params.TextArray(ids).TimestampArray(times).IntArray(codes).TextArray(errors);
  params.IntArray(durations).TextArray(responses);
  params.RealArray(dns).RealArray(connect).RealArray(tls).RealArray(wait);
  (void)insert_.Run(params);
}

}  // namespace alerting::ext
