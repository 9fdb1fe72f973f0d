// Implements ext/capture/queue_writer.h.
#include "ext/capture/queue_writer.h"

#include "core/chunk.h"
#include "ext/capture/transaction_buffer.h"
#include "pg/sample_queue.h"

namespace alerting::ext {

namespace {

using pg::DatabaseSlot;

constexpr size_t kReservedShare = 8;  // of the queue, for what no table tells: who was deleted

// Puts messages about deleted containers into the part of the queue that is kept for them, after
// one that lets the evaluator start over, which is when it looks for them.
bool KeepDeletions(const DatabaseSlot* slot, std::string_view deletions) noexcept {
  ByteRing* ring = pg::MappedQueue(slot);
  if (ring == nullptr) return false;
  char begin[sizeof(ChunkHeader) + kMaxSampleBytes];
  Message start_over;
  start_over.kind = MessageKind::kBindingChanged;
  SampleContext context;
  const size_t size = WriteMessage(start_over, &context, begin + sizeof(ChunkHeader));
  ChunkHeader header;
  header.bytes = static_cast<uint32_t>(size + deletions.size());
  header.committed_at = GetCurrentTransactionStopTimestamp();
  memcpy(begin, &header, sizeof(header));
  return ring->Append(std::string_view(begin, sizeof(header) + size), deletions);
}

void RememberDeletions(DatabaseSlot* slot, std::string_view deletions) noexcept {
  MessageReader reader(deletions);
  Message message;
  while (slot->forgotten_count < pg::kMaxForgotten && reader.Next(&message)) {
    slot->forgotten[slot->forgotten_count++] = KeyHash(message.sample.container);
  }
}

}  // namespace

void RaiseFlags(DatabaseSlot* slot, MessageKind kind) noexcept {
  if (kind == MessageKind::kRulesChanged) slot->rules_changed = true;
  if (kind == MessageKind::kContainerChanged) slot->containers_changed = true;
  if (kind == MessageKind::kBindingChanged || kind == MessageKind::kContainerDeleted ||
      kind == MessageKind::kContainersTruncated) {
    slot->binding_changed = true;
  }
}

void LeaveMarks(DatabaseSlot* slot, char* messages, size_t size) noexcept {
  MessageReader reader(std::string_view(messages, size));
  Message message;
  SampleContext context;
  size_t kept = 0;  // bytes about deleted containers, which no table tells
  while (reader.Next(&message)) {
    if (message.kind == MessageKind::kSample) {
      pg::AddReplayMark(slot, message.sample.source, message.sample.at);
    } else {
      RaiseFlags(slot, message.kind);
    }
    if (message.kind == MessageKind::kContainersTruncated) slot->containers_truncated = true;
    if (message.kind == MessageKind::kContainerDeleted) {
      // Never longer than what stood before it, so this never overwrites unread bytes.
      kept += WriteMessage(message, &context, messages + kept);
    }
  }
  const std::string_view deletions(messages, kept);
  if (kept > 0 && !KeepDeletions(slot, deletions)) RememberDeletions(slot, deletions);
}

bool AppendToQueue(DatabaseSlot* slot, const KeptMessages& messages,
                   TransactionId prepared) noexcept {
  // Once rows, rules or a binding have been left to be read, later rows may not overtake them
  // through the queue.
  if (slot->replay_count > 0 || slot->replay_all || slot->rules_changed ||
      slot->containers_changed || slot->binding_changed) {
    return false;
  }
  ByteRing* ring = pg::MappedQueue(slot);
  if (ring == nullptr) return false;
  const size_t reserved = messages.tell_deletions ? 0 : ring->capacity() / kReservedShare;
  ChunkHeader header;
  if (ring->free() < sizeof(header) + messages.bytes.size() + reserved) return false;
  header.bytes = static_cast<uint32_t>(messages.bytes.size());
  header.prepared_xid = prepared;
  header.committed_at = GetCurrentTransactionStopTimestamp();
  return ring->Append(std::string_view(reinterpret_cast<const char*>(&header), sizeof(header)),
                      messages.bytes);
}

}  // namespace alerting::ext
