// alerting.test_webhook(), redeliver(), generate_secret(). The backend of whoever calls them.
//
// They read and write as the owner of alerting's tables: whoever may execute them needs no right on
// the tables, above all none to read secrets.
#include <iterator>
#include <optional>
#include <string>
#include <utility>

#include "ext/capture/transaction_buffer.h"
#include "ext/cuid.h"
#include "ext/host/binding.h"
#include "ext/webhook/signature.h"
#include "ext/webhook/text_encoding.h"
#include "ext/webhook/webhook_request.h"
#include "net/webhook_client.h"
#include "pg/spi.h"
#include "pg/transaction.h"

extern "C" {
PG_FUNCTION_INFO_V1(alerting_test_webhook);
PGDLLEXPORT Datum alerting_test_webhook(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(alerting_generate_secret);
PGDLLEXPORT Datum alerting_generate_secret(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(alerting_webhook_signature);
PGDLLEXPORT Datum alerting_webhook_signature(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(alerting_redeliver);
PGDLLEXPORT Datum alerting_redeliver(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(alerting_redeliver_failed);
PGDLLEXPORT Datum alerting_redeliver_failed(PG_FUNCTION_ARGS);
}

namespace alerting::ext {

namespace {

std::string RequireText(FunctionCallInfo fcinfo, const char* name) {
  if (PG_ARGISNULL(0)) {
    pg::Throw([&] {
      ereport(ERROR,
              (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be NULL", name)));
    });
  }
  const char* value = pg::Call([&] { return text_to_cstring(PG_GETARG_TEXT_PP(0)); });
  return value;
}

// `what`: a table of alerting, and what a row of it is called.
[[noreturn]] void ThrowMissing(const char* what, const std::string& id) {
  pg::Throw([&] {
    ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
                    errmsg("%s \"%s\" does not exist", what, id.c_str()),
                    errhint("The ids are in alerting.%s.", what)));
  });
}

struct Ping {
  std::string url;
  std::optional<std::string> secret;
  std::string headers;  // for HeaderLines
  std::string payload;  // as PostgreSQL prints it
};

Ping PreparePing(Oid owner, const std::string& webhook_id) {
  const pg::SafeSearchPath path;
  const pg::SpiConnection connection;
  const pg::UserScope user(owner, false);
  pg::Params params;
  params.Text(webhook_id);
  const pg::Rows rows = pg::Execute(
      "SELECT w.url, w.secret, jsonb_build_object('type', 'ping', 'timestamp',"
      " alerting.rfc3339(now()), 'data', jsonb_build_object('webhook',"
      " jsonb_build_object('id', w.id))), CASE WHEN w.headers IS NOT NULL THEN (SELECT"
      " string_agg(h.key || ': ' || h.value, E'\\n') FROM jsonb_each_text(w.headers) AS h) END"
      " FROM alerting.webhook w WHERE w.id = $1 FOR KEY SHARE OF w",
      params);
  if (rows.size() == 0) ThrowMissing("webhook", webhook_id);
  return {rows.Text(0, 0), rows.OptionalText(0, 1), rows.Text(0, 3), rows.Text(0, 2)};
}

net::Response Send(net::Request request) {
  net::ClientOptions options;
  options.policy = AllowedNetworks();
  options.tls = TlsSettings();
  std::string problem;
  const std::unique_ptr<net::WebhookClient> client =
      net::WebhookClient::Create(std::move(options), &problem);
  if (client == nullptr) {
    net::Response failed;
    failed.error = problem;
    return failed;
  }
  client->Start(std::move(request));
  for (;;) {
    client->OnReady();
    std::vector<net::Response> finished = client->TakeFinished();
    if (!finished.empty()) return std::move(finished.front());
    const long timeout = client->TimeoutMs().value_or(1000);
    const int descriptor = client->PollDescriptor();
    pg::Call([&] {
      const int events = WL_LATCH_SET | WL_SOCKET_READABLE | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH;
      (void)WaitLatchOrSocket(MyLatch, events, descriptor, timeout,
                              pg::ExtensionWaitEvent("AlertingTestWebhook"));
      ResetLatch(MyLatch);
      CHECK_FOR_INTERRUPTS();
    });
  }
}

struct PingResult {
  bool delivered = false;
  int status_code = 0;
  std::string error;
  int duration_ms = 0;
  Phases phases;
  std::string response;
};

void RecordPing(Oid owner, const std::string& delivery_id, const std::string& webhook_id,
                const std::string& payload, Micros at, const PingResult& result) {
  const pg::SafeSearchPath path;
  const pg::SpiConnection connection;
  const pg::UserScope user(owner, false);
  pg::Params params;
  params.Text(delivery_id).Text(webhook_id).Text(payload).Bool(result.delivered).Timestamp(at);
  params.Int(result.status_code).Text(result.error).Int(result.duration_ms).Text(result.response);
  const Phases& phases = result.phases;
  params.RealArray({phases.dns, phases.connect, phases.tls, phases.wait});
  (void)pg::Execute(
      "WITH delivery AS (INSERT INTO alerting.delivery (id, webhook_id, event, payload, status,"
      "  attempts, delivered_at, last_status, last_error)"
      "  VALUES ($1, $2, 'ping', $3::jsonb, CASE WHEN $4 THEN 'DELIVERED' ELSE 'FAILED' END, 1,"
      "  CASE WHEN $4 THEN clock_timestamp() END, nullif($6, 0), nullif($7, '')) RETURNING id)"
      " INSERT INTO alerting.delivery_attempt"
      "  (delivery_id, at, status_code, error, duration_ms, response, dns_ms, connect_ms, tls_ms,"
      "   wait_ms)"
      " SELECT delivery.id, $5, nullif($6, 0), nullif($7, ''), $8, $9,"
      "  $10[1], $10[2], $10[3], $10[4] FROM delivery",
      params);
}

Datum MakeRow(FunctionCallInfo fcinfo, const PingResult& result) {
  return pg::Call([&] {
    TupleDesc descriptor;
    if (get_call_result_type(fcinfo, nullptr, &descriptor) != TYPEFUNC_COMPOSITE) {
      elog(ERROR, "alerting.test_webhook() must return a row");
    }
    Datum values[5] = {BoolGetDatum(result.delivered), Int32GetDatum(result.status_code),
                       CStringGetTextDatum(result.error.c_str()), Int32GetDatum(result.duration_ms),
                       CStringGetTextDatum(result.response.c_str())};
    bool nulls[5] = {false, result.status_code == 0, result.error.empty(), false,
                     result.status_code == 0};
    return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, nulls));
  });
}

Datum TestWebhook(FunctionCallInfo fcinfo) {
  const std::string webhook_id = RequireText(fcinfo, "id");
  const Oid owner = RequireTables();
  // What is to be written after the request must not be found impossible only then.
  pg::Call([] { PreventCommandIfReadOnly("alerting.test_webhook()"); });
  const Ping ping = PreparePing(owner, webhook_id);
  const std::string delivery_id = NewCuid();
  const Micros started = GetCurrentTimestamp();

  PingResult result;
  const std::optional<std::string> body = ToUtf8(ping.payload);
  std::optional<std::vector<std::string>> keys = std::vector<std::string>();
  if (ping.secret) keys = SecretKeys(ToUtf8(*ping.secret).value_or(*ping.secret));
  const std::optional<std::vector<std::string>> headers = HeaderLines(ping.headers);
  if (!body) {
    result.error = "payload has no UTF-8 form";
  } else if (!keys) {
    result.error = "webhook's secret is malformed";
  } else if (!headers) {
    result.error = "webhook's headers are malformed";
  } else {
    const net::Response response =
        Send(MakeWebhookRequest(ping.url, *keys, *headers, delivery_id, *body, started));
    result.delivered = IsSuccess(response);
    result.status_code = response.status;
    result.error = FailureText(response);
    result.duration_ms = static_cast<int>(response.timings.total + 0.5);
    result.phases = PhasesOf(response.timings);
    result.response = ResponseText(response.body);
  }
  RecordPing(owner, delivery_id, webhook_id, ping.payload, started, result);
  return MakeRow(fcinfo, result);
}

// What the header webhook-signature says of a request. STRICT.
Datum WebhookSignature(FunctionCallInfo fcinfo) {
  const auto utf8 = [&](int argument) {
    const char* value = pg::Call([&] { return text_to_cstring(PG_GETARG_TEXT_PP(argument)); });
    std::optional<std::string> bytes = ToUtf8(value);
    if (!bytes) {
      pg::Throw([&] {
        ereport(ERROR, (errcode(ERRCODE_UNTRANSLATABLE_CHARACTER),
                        errmsg("argument has no UTF-8 form"), errhidestmt(true)));
      });
    }
    return *std::move(bytes);
  };
  const std::optional<std::vector<std::string>> keys = SecretKeys(utf8(0));
  if (!keys) {
    pg::Throw([&] {
      ereport(ERROR,
              (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("webhook's secret is malformed"),
               errhint("Give \"whsec_\" and the key in base64, or any other text."),
               errhidestmt(true)));
    });
  }
  const int64_t seconds = UnixSeconds(PG_GETARG_TIMESTAMPTZ(2));
  const std::string signature = Sign(*keys, utf8(1), seconds, utf8(3));
  return pg::Call([&] { return CStringGetTextDatum(signature.c_str()); });
}

Datum Redeliver(FunctionCallInfo fcinfo) {
  const std::string id = RequireText(fcinfo, "id");
  const Oid owner = RequireTables();
  const pg::SafeSearchPath path;
  const pg::SpiConnection connection;
  const pg::UserScope user(owner, false);
  pg::Params params;
  params.Text(id);
  const pg::Rows rows = pg::Execute(
      "UPDATE alerting.delivery d SET status = 'PENDING', attempts = 0, next_attempt_at = now(),"
      " delivered_at = NULL FROM alerting.webhook w WHERE d.id = $1 AND w.id = d.webhook_id"
      " RETURNING w.is_active",
      params);
  if (rows.size() == 0) ThrowMissing("delivery", id);
  if (!rows.Bool(0, 0)) {
    pg::Call([&] {
      ereport(NOTICE, (errmsg("delivery \"%s\" waits: its webhook is switched off", id.c_str()),
                       errhint("Set is_active to true in alerting.webhook.")));
    });
  }
  WakeSenderAtCommit();
  PG_RETURN_VOID();
}

Datum RedeliverFailed(FunctionCallInfo fcinfo) {
  const Oid owner = RequireTables();
  pg::Params params;
  constexpr Oid kTypes[] = {TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID};
  for (int i = 0; i < static_cast<int>(std::size(kTypes)); ++i) {
    if (PG_ARGISNULL(i)) {
      params.Null(kTypes[i]);
    } else {
      params.Value(PG_GETARG_DATUM(i), kTypes[i]);
    }
  }
  const pg::SafeSearchPath path;
  const pg::SpiConnection connection;
  const pg::UserScope user(owner, false);
  if (!PG_ARGISNULL(0)) {
    pg::Params webhook;
    webhook.Text(RequireText(fcinfo, "webhook"));
    const pg::Rows known = pg::Execute("SELECT FROM alerting.webhook w WHERE w.id = $1", webhook);
    if (known.size() == 0) ThrowMissing("webhook", RequireText(fcinfo, "webhook"));
  }
  const pg::Rows rows = pg::Execute(
      "UPDATE alerting.delivery d SET status = 'PENDING', attempts = 0, next_attempt_at = now()"
      " WHERE d.status = 'FAILED' AND d.event <> 'ping' AND ($1 IS NULL OR d.webhook_id = $1)"
      " AND ($2 IS NULL OR d.created_at >= $2) AND ($3 IS NULL OR d.created_at < $3)",
      params);
  WakeSenderAtCommit();
  PG_RETURN_INT64(static_cast<int64>(rows.size()));
}

}  // namespace

}  // namespace alerting::ext

Datum alerting_test_webhook(PG_FUNCTION_ARGS) {
  return alerting::pg::Entry([&] { return alerting::ext::TestWebhook(fcinfo); });
}
Datum alerting_generate_secret(PG_FUNCTION_ARGS) {
  return alerting::pg::Entry([&]() -> Datum {
    (void)fcinfo;
    const std::string secret = alerting::ext::NewSecret();
    return alerting::pg::Call([&] { return CStringGetTextDatum(secret.c_str()); });
  });
}
Datum alerting_webhook_signature(PG_FUNCTION_ARGS) {
  return alerting::pg::Entry([&] { return alerting::ext::WebhookSignature(fcinfo); });
}
Datum alerting_redeliver(PG_FUNCTION_ARGS) {
  return alerting::pg::Entry([&] { return alerting::ext::Redeliver(fcinfo); });
}
Datum alerting_redeliver_failed(PG_FUNCTION_ARGS) {
  return alerting::pg::Entry([&] { return alerting::ext::RedeliverFailed(fcinfo); });
}
