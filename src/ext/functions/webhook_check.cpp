// alerting.check_webhook(): the trigger that refuses webhooks which could never be delivered to, or
// must not be. Any backend that writes alerting.webhook.
//
// Invariants: no error here shows a secret, or more of a URL than scheme, host and port; a column
// that an UPDATE leaves as it is is not judged again, so that the sender can always switch a
// webhook off.
#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>

#include "core/request_header.h"
#include "core/url.h"
#include "ext/webhook/signature.h"
#include "ext/webhook/webhook_request.h"
#include "pg/guard.h"

extern "C" {
PG_FUNCTION_INFO_V1(alerting_check_webhook);
PGDLLEXPORT Datum alerting_check_webhook(PG_FUNCTION_ARGS);
}

namespace alerting::ext {

namespace {

constexpr int kLongestSchedule = 100;
constexpr int32 kMostPerMinute = 1'000'000;
constexpr int32 kMostConcurrent = 1000;
constexpr int64 kLongestPauseDays = 366;

struct Column {
  Datum value = 0;
  bool is_null = true;
  bool changed = false;
};

// Of another type than ours it is as if it were not there. PostgreSQL code.
Column ReadColumn(const TriggerData* data, HeapTuple row, const char* name, Oid type) {
  TupleDesc descriptor = RelationGetDescr(data->tg_relation);
  const int number = SPI_fnumber(descriptor, name);
  Column column;
  if (number <= 0) return column;
  const Form_pg_attribute attribute = TupleDescAttr(descriptor, number - 1);
  const Oid given = getBaseType(attribute->atttypid);
  if (given != type && !(given == VARCHAROID && type == TEXTOID)) return column;
  column.value = heap_getattr(row, number, descriptor, &column.is_null);
  column.changed = true;
  if (TRIGGER_FIRED_BY_UPDATE(data->tg_event)) {
    bool old_is_null = true;
    const Datum old = heap_getattr(data->tg_trigtuple, number, descriptor, &old_is_null);
    column.changed = old_is_null != column.is_null ||
                     (!column.is_null &&
                      !datum_image_eq(old, column.value, attribute->attbyval, attribute->attlen));
  }
  return column;
}

std::string TextOf(Datum value) {
  struct View {
    const char* data;
    size_t size;
  };
  const View view = pg::Call([&] {
    text* detoasted = DatumGetTextPP(value);
    return View{VARDATA_ANY(detoasted), static_cast<size_t>(VARSIZE_ANY_EXHDR(detoasted))};
  });
  return std::string(view.data, view.size);
}

// The statement may hold the secret or the whole URL: it stays out of the log.
[[noreturn]] void Refuse(const std::string& message, const std::string& detail, const char* hint) {
  pg::Throw([&] {
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                    errmsg("invalid webhook: %s", message.c_str()),
                    detail.empty() ? 0 : errdetail("%s", detail.c_str()), errhint("%s", hint),
                    errhidestmt(true)));
  });
}

void CheckAddress(const Url& url, const IpAddress& address, const AddressPolicy& policy) {
  const std::string text = FormatIpAddress(address);
  const std::string add =
      "a superuser may add " + text + " to alerting.allowed_networks (ALTER SYSTEM, reload).";
  const std::string_view kind = policy.Refusal(address);
  if (!kind.empty()) {
    Refuse("URL leads to a network that webhooks must not reach",
           DescribeIpAddress(address, kind) + ".", ("If it shall be reached, " + add).c_str());
  }
  if (!url.https && !policy.IsListed(address)) {
    Refuse("URL is plain http to a network that is not listed",
           "Plain http goes only to networks in alerting.allowed_networks.",
           ("Use https, or " + add).c_str());
  }
}

void CheckUrl(const std::string& text) {
  std::string error;
  const std::optional<Url> url = ParseUrl(text, &error);
  if (!url) {
    const bool is_ascii = std::ranges::all_of(
        text, [](char byte) { return static_cast<unsigned char>(byte) < 0x80; });
    Refuse(error, "",
           is_ascii ? "Give an absolute URL such as https://hooks.example.com/alerts."
                    : "Give the host's name in Punycode (xn--...) and the rest percent-encoded.");
  }
  // Other names are judged when a request has looked them up: they may change at any time.
  const AddressPolicy policy = AllowedNetworks();
  if (url->address) {
    CheckAddress(*url, *url->address, policy);
  } else if (url->IsLocalhost()) {
    const IpAddress v4 = *ParseIpAddress("127.0.0.1");
    const IpAddress v6 = *ParseIpAddress("::1");
    CheckAddress(*url, policy.IsListed(v6) ? v6 : v4, policy);
  } else if (!url->https && policy == AddressPolicy()) {
    Refuse("URL is plain http, and no network is listed",
           "Plain http goes only to networks in alerting.allowed_networks.",
           "Use https, or have a superuser add the endpoint's network to "
           "alerting.allowed_networks (ALTER SYSTEM, reload).");
  }
}

void CheckSecret(const std::string& secret) {
  if (secret.empty()) {
    Refuse("secret is empty", "", "Leave secret NULL to have requests sent without a signature.");
  }
  if (!SecretKeys(secret)) {
    Refuse("secret has no valid base64 after \"whsec_\"", "",
           "Give \"whsec_\" and the key in base64, or any other text to be used as it is.");
  }
}

void CheckSchedule(Datum schedule) {
  enum class Wrong { kNothing, kLength, kNull, kNegative, kTooLong };
  const Wrong wrong = pg::Call([&] {
    Datum* elements;
    bool* nulls;
    int count;
    deconstruct_array(DatumGetArrayTypeP(schedule), INTERVALOID, sizeof(Interval), false,
                      TYPALIGN_DOUBLE, &elements, &nulls, &count);
    if (count > kLongestSchedule) return Wrong::kLength;
    for (int i = 0; i < count; ++i) {
      if (nulls[i]) return Wrong::kNull;
      const Interval* pause = DatumGetIntervalP(elements[i]);
      const double days = double{DAYS_PER_MONTH} * pause->month + pause->day +
                          static_cast<double>(pause->time) / USECS_PER_DAY;
      if (days < 0) return Wrong::kNegative;
      if (days > kLongestPauseDays) return Wrong::kTooLong;
    }
    return Wrong::kNothing;
  });
  constexpr char kHint[] =
      "List the pause before each retry, such as '{5 seconds,5 minutes,1 hour}'.";
  switch (wrong) {
    case Wrong::kNothing:
      return;
    case Wrong::kLength:
      Refuse("retry_schedule has more than 100 pauses", "", kHint);
    case Wrong::kNull:
      Refuse("retry_schedule holds NULL", "", kHint);
    case Wrong::kNegative:
      Refuse("retry_schedule holds a negative pause", "", kHint);
    case Wrong::kTooLong:
      Refuse("retry_schedule holds a pause of more than 366 days", "", kHint);
  }
}

// One step through a jsonb; its strings stay where the jsonb is.
struct JsonToken {
  JsonbIteratorToken kind;
  JsonbValue value;
};
JsonToken NextToken(JsonbIterator** iterator) {
  return pg::Call([&] {
    JsonToken token;
    token.kind = JsonbIteratorNext(iterator, &token.value, /*skipNested=*/true);
    return token;
  });
}

void CheckHeaders(Datum headers) {
  constexpr char kHint[] = "Give an object of names and values, such as {\"X-Api-Key\": \"...\"}.";
  const auto refuse = [&](const std::string& problem) { Refuse("headers " + problem, "", kHint); };
  JsonbIterator* iterator =
      pg::Call([&] { return JsonbIteratorInit(&DatumGetJsonbP(headers)->root); });
  if (NextToken(&iterator).kind != WJB_BEGIN_OBJECT) refuse("is no JSON object");
  std::unordered_set<std::string> names;
  size_t bytes = 0;
  for (;;) {
    const JsonToken key = NextToken(&iterator);
    if (key.kind != WJB_KEY) break;
    const JsonToken item = NextToken(&iterator);
    const auto view = [](const JsonbValue& value) {
      return std::string_view(value.val.string.val, static_cast<size_t>(value.val.string.len));
    };
    if (item.value.type != jbvString) refuse("holds a value that is no string");
    const std::string_view name = view(key.value), value = view(item.value);
    const std::string problem = HeaderProblem(name, value);
    if (!problem.empty()) refuse(problem);
    if (!names.insert(LowerHeaderName(name)).second) {
      refuse("holds \"" + std::string(name) + "\" in two spellings");
    }
    bytes += name.size() + value.size();
  }
  if (names.size() > kMaxHeaders) {
    refuse("holds more than " + std::to_string(kMaxHeaders) + " headers");
  }
  if (bytes > kMaxHeadersBytes) {
    refuse("is larger than " + std::to_string(kMaxHeadersBytes / 1024) + " kB");
  }
}

void CheckRange(const char* column, int32 value, int32 most, const char* hint) {
  if (value >= 1 && value <= most) return;
  Refuse(std::string(column) + " is not between 1 and " + std::to_string(most), "", hint);
}

// PostgreSQL's own message for a NULL or a failed CHECK shows the whole row, with the secret.
void CheckPresence(const TriggerData* data, HeapTuple row) {
  const char* missing = pg::Call([&]() -> const char* {
    TupleDesc descriptor = RelationGetDescr(data->tg_relation);
    for (int i = 0; i < descriptor->natts; ++i) {
      const Form_pg_attribute attribute = TupleDescAttr(descriptor, i);
      if (attribute->attnotnull && !attribute->attisdropped && attribute->attgenerated == '\0' &&
          heap_attisnull(row, i + 1, descriptor)) {
        return NameStr(attribute->attname);
      }
    }
    return nullptr;
  });
  if (missing != nullptr) {
    Refuse(std::string(missing) + " is null", "",
           "Give it a value, or leave it out if it has a default.");
  }
}

Datum CheckWebhook(FunctionCallInfo fcinfo) {
  if (!CALLED_AS_TRIGGER(fcinfo)) {
    pg::Throw([&] {
      ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
                      errmsg("alerting.check_webhook() must be called as a trigger")));
    });
  }
  const auto* data = reinterpret_cast<TriggerData*>(fcinfo->context);
  if (!TRIGGER_FIRED_FOR_ROW(data->tg_event) || TRIGGER_FIRED_BY_DELETE(data->tg_event)) {
    return PointerGetDatum(data->tg_trigtuple);
  }
  HeapTuple row = TRIGGER_FIRED_BY_UPDATE(data->tg_event) ? data->tg_newtuple : data->tg_trigtuple;
  CheckPresence(data, row);
  struct Columns {
    Column id, url, secret, schedule, headers, rate_limit, max_concurrent;
  };
  const Columns columns = pg::Call([&] {
    return Columns{ReadColumn(data, row, "id", TEXTOID),
                   ReadColumn(data, row, "url", TEXTOID),
                   ReadColumn(data, row, "secret", TEXTOID),
                   ReadColumn(data, row, "retry_schedule", INTERVALARRAYOID),
                   ReadColumn(data, row, "headers", JSONBOID),
                   ReadColumn(data, row, "rate_limit", INT4OID),
                   ReadColumn(data, row, "max_concurrent", INT4OID)};
  });
  const auto judged = [](const Column& column) { return column.changed && !column.is_null; };
  if (judged(columns.id) && TextOf(columns.id.value).empty()) {
    Refuse("id is empty", "", "Leave it out to have one made.");
  }
  if (judged(columns.url)) CheckUrl(TextOf(columns.url.value));
  if (judged(columns.secret)) CheckSecret(TextOf(columns.secret.value));
  if (judged(columns.schedule)) CheckSchedule(columns.schedule.value);
  if (judged(columns.headers)) CheckHeaders(columns.headers.value);
  if (judged(columns.rate_limit)) {
    CheckRange("rate_limit", DatumGetInt32(columns.rate_limit.value), kMostPerMinute,
               "Give requests a minute, or NULL for no limit.");
  }
  if (judged(columns.max_concurrent)) {
    CheckRange("max_concurrent", DatumGetInt32(columns.max_concurrent.value), kMostConcurrent,
               "Give the requests under way at a time, or NULL to leave it to the sender.");
  }
  return PointerGetDatum(row);
}

}  // namespace

}  // namespace alerting::ext

Datum alerting_check_webhook(PG_FUNCTION_ARGS) {
  return alerting::pg::Entry([&] { return alerting::ext::CheckWebhook(fcinfo); });
}
