// How a transaction's messages get to the evaluator at its end: through the queue, or, where that
// cannot take them, as marks and flags in shared memory. Called by the inserting backend, after
// COMMIT: nothing here fails, and nothing waits.
//
// The caller of AppendToQueue() and LeaveMarks() holds slot->lock.
#ifndef ALERTING_EXT_CAPTURE_QUEUE_WRITER_H_
#define ALERTING_EXT_CAPTURE_QUEUE_WRITER_H_

#include <cstddef>
#include <string_view>

#include "core/message.h"
#include "pg/shared_state.h"

namespace alerting::ext {

struct KeptMessages {
  std::string_view bytes;
  bool tell_deletions;  // of containers, which no table tells
};

// `prepared`: the transaction, if it is prepared, not committed.
bool AppendToQueue(pg::DatabaseSlot* slot, const KeptMessages& messages,
                   TransactionId prepared) noexcept;

// The queue cannot take the messages, which are overwritten: marks and flags say what they would
// have said.
void LeaveMarks(pg::DatabaseSlot* slot, char* messages, size_t size) noexcept;
void RaiseFlags(pg::DatabaseSlot* slot, MessageKind kind) noexcept;

}  // namespace alerting::ext

#endif  // ALERTING_EXT_CAPTURE_QUEUE_WRITER_H_
