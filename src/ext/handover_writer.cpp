// Implements ext/handover_writer.h.
#include "ext/handover_writer.h"

#include "ext/text_encoding.h"
#include "ext/transaction_buffer.h"
#include "pg/handover_ring.h"

namespace alerting::ext {

namespace {

constexpr size_t kMostTransitions = 32;

}  // namespace

// The last column but one says that the sender may take it just so: it is as the table makes them,
// and not the end of an alert whose FIRING is still to be delivered, or has to be marked as over.
std::string HandoverWriter::Returning() {
  return " RETURNING d.id, d.webhook_id, d.payload::text, d.next_attempt_at, (SELECT w.xmin::text "
         "||"
         " w.ctid::text FROM alerting.webhook w WHERE w.id = d.webhook_id), d.status = 'PENDING' "
         "AND d.attempts ="
         " 0 AND NOT (d.event = 'alert.resolved' AND EXISTS (SELECT FROM alerting.delivery f"
         " WHERE f.alert_id = d.alert_id AND f.webhook_id = d.webhook_id"
         " AND f.event = 'alert.firing' AND f.status = 'PENDING')), d.ctid";
}

void HandoverWriter::Begin(size_t transitions) {
  wants_ = transitions <= kMostTransitions && pg::WorkerRuns(slot_, pg::kSender);
  statements_ = 0;
  bytes_ = 0;
  deliveries_.clear();
}

void HandoverWriter::Add(const pg::Rows& rows) {
  ++statements_;
  for (uint64_t row = 0; row < rows.size() && wants_; ++row) {
    std::optional<std::string> body = ToUtf8(rows.Text(row, 2));
    bytes_ += body ? body->size() : 0;
    wants_ = body && !rows.IsNull(row, 5) && rows.Bool(row, 5) && bytes_ <= pg::kHandoverBytes;
    if (!wants_) return;
    HandedDelivery& delivery = deliveries_.emplace_back();
    delivery.id = rows.Text(row, 0);
    delivery.webhook_id = rows.Text(row, 1);
    delivery.body = *std::move(body);
    delivery.due = rows.Timestamp(row, 3);
    delivery.webhook_version = rows.Text(row, 4);
    const pg::RowPlace place = rows.Place(row, 6);
    delivery.block = ItemPointerGetBlockNumberNoCheck(&place);
    delivery.offset = ItemPointerGetOffsetNumberNoCheck(&place);
  }
}

void HandoverWriter::Publish() {
  if (!wants_ || statements_ == 0) return;
  // Read first: a sender that starts from now on is another one than that which is told.
  const uint64_t starts = pg_atomic_read_u64(&slot_->sender_starts);
  pg_memory_barrier();
  if (!deliveries_.empty()) {
    ByteRing* ring = pg::MapHandover(slot_);
    if (ring == nullptr) return;
    const TransactionId transaction = pg::Call([] { return GetTopTransactionId(); });
    if (!ring->Append(WriteHandover(transaction, deliveries_), {})) return;
  }
  CoverSenderWakes(statements_, starts);
}

}  // namespace alerting::ext
