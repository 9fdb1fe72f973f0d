// Implements ext/evaluator/outbox.h.
#include "ext/evaluator/outbox.h"

#include <algorithm>
#include <array>
#include <vector>

#include "ext/host/binding.h"
#include "pg/jsonb_text.h"
#include "pg/table_writer.h"
#include "pg/transaction.h"

namespace alerting::ext {

namespace {

constexpr char kInsert[] =
    "INSERT INTO alerting.delivery (id, webhook_id, alert_id, event, payload)"
    " SELECT k.id, k.webhook_id, k.alert_id, $5, k.payload"
    " FROM unnest($1::text[], $2::text[], $3::text[], $4::jsonb[]) WITH ORDINALITY"
    " AS k (id, webhook_id, alert_id, payload, ordinal) ORDER BY k.ordinal";

constexpr std::array<pg::ColumnType, 5> kColumns = {{{"id", TEXTOID},
                                                     {"webhook_id", TEXTOID},
                                                     {"alert_id", TEXTOID},
                                                     {"event", TEXTOID},
                                                     {"payload", JSONBOID}}};

// The text of a payload, once for all of its deliveries in a row.
class PayloadText {
 public:
  const std::string& Of(Datum payload) {
    if (payload == payload_) return text_;
    const StringInfoData text = pg::Call([&] { return pg::JsonbText(payload); });
    text_.assign(text.data, static_cast<size_t>(text.len));
    payload_ = payload;
    return text_;
  }

 private:
  Datum payload_ = 0;
  std::string text_;
};

// Whether the row is just as the sender takes it for granted of what is handed over.
bool IsFresh(const pg::TableWriter& writer, Micros* due) {
  bool no_due = false, no_status = false, no_attempts = false;
  *due = DatumGetTimestampTz(writer.Written("next_attempt_at", TIMESTAMPTZOID, &no_due));
  const Datum status = writer.Written("status", TEXTOID, &no_status);
  const Datum attempts = writer.Written("attempts", INT4OID, &no_attempts);
  if (no_due || no_status || no_attempts || DatumGetInt32(attempts) != 0) return false;
  const text* word = reinterpret_cast<const text*>(DatumGetPointer(status));
  return std::string_view(VARDATA_ANY(word), VARSIZE_ANY_EXHDR(word)) == "PENDING";
}

void WriteRows(pg::TableWriter* writer, const char* event, std::span<const NewDelivery> deliveries,
               const LockedWebhooks& locked, HandoverWriter* handover) {
  PayloadText payload_text;
  if (writer->may_change_rows()) handover->Decline();
  for (const NewDelivery& delivery : deliveries) {
    const std::array<pg::ColumnValue, 5> values = {{{delivery.id, 0},
                                                    {delivery.webhook_id, 0},
                                                    {delivery.alert_id, 0},
                                                    {event, 0},
                                                    {{}, delivery.payload}}};
    (void)writer->Insert(values);
    if (!handover->wants()) continue;
    HandedDelivery handed;
    const auto webhook = locked.find(delivery.webhook_id);
    if (!delivery.at_once || webhook == locked.end() || !IsFresh(*writer, &handed.due)) {
      handover->Decline();
      continue;
    }
    handed.id = delivery.id;
    handed.webhook_id = delivery.webhook_id;
    handed.webhook_version = webhook->second;
    handed.body = payload_text.Of(delivery.payload);
    const pg::RowPlace place = writer->WrittenPlace();
    handed.block = ItemPointerGetBlockNumberNoCheck(&place);
    handed.offset = ItemPointerGetOffsetNumberNoCheck(&place);
    handover->Add(std::move(handed));
  }
}

}  // namespace

Outbox::Outbox() : plan_(kColumns), insert_(kInsert) {}

void Outbox::Write(const char* event, std::span<const NewDelivery> deliveries,
                   const LockedWebhooks& locked, HandoverWriter* handover) {
  if (deliveries.empty()) return;
  handover->CountStatement();
  const pg::SettingsScope settings;  // for users' triggers
  const pg::LockedReference webhook = {"webhook_id", OwnTable("webhook"), "id"};
  const bool all_locked = std::all_of(
      deliveries.begin(), deliveries.end(),
      [&](const NewDelivery& delivery) { return locked.contains(delivery.webhook_id); });
  pg::TableWriter writer(&plan_, OwnTable("delivery"),
                         std::span(&webhook, all_locked ? size_t{1} : size_t{0}));
  if (writer.can_write()) {
    WriteRows(&writer, event, deliveries, locked, handover);
    writer.Finish();
    return;
  }
  handover->Decline();
  std::vector<std::string> ids, webhooks, alerts;
  std::vector<Datum> payloads;
  for (const NewDelivery& delivery : deliveries) {
    ids.push_back(delivery.id);
    webhooks.push_back(delivery.webhook_id);
    alerts.push_back(delivery.alert_id);
    payloads.push_back(delivery.payload);
  }
  (void)insert_.RunLists(deliveries.size(), pg::Params()
                                                .TextArray(ids)
                                                .TextArray(webhooks)
                                                .TextArray(alerts)
                                                .JsonbArray(std::move(payloads))
                                                .Text(std::string_view(event)));
}

}  // namespace alerting::ext
