// Implements ext/evaluator/handover_writer.h.
#include "ext/evaluator/handover_writer.h"

#include "ext/capture/transaction_buffer.h"
#include "ext/webhook/text_encoding.h"
#include "pg/handover_ring.h"

namespace alerting::ext {

namespace {

constexpr size_t kMostTransitions = 32;

}  // namespace

void HandoverWriter::Begin(size_t transitions) {
  wants_ = transitions <= kMostTransitions && pg::WorkerRuns(slot_, pg::kSender);
  statements_ = 0;
  bytes_ = 0;
  deliveries_.clear();
}

void HandoverWriter::Add(HandedDelivery delivery) {
  std::optional<std::string> body = ToUtf8(std::move(delivery.body));
  bytes_ += body ? body->size() : 0;
  wants_ = body && bytes_ <= pg::kHandoverBytes;
  if (!wants_) return;
  delivery.body = *std::move(body);
  deliveries_.push_back(std::move(delivery));
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
