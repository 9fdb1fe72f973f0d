// The sample queue of a database: a ByteRing in dynamic shared memory. The evaluator makes it and
// reads; backends map it and write under slot->lock. It outlives the evaluator, so that a restart
// of the worker loses nothing that waits.
#ifndef ALERTING_PG_SAMPLE_QUEUE_H_
#define ALERTING_PG_SAMPLE_QUEUE_H_

#include "core/byte_ring.h"
#include "pg/shared_state.h"

namespace alerting::pg {

// Evaluator, outside of a transaction: maps the queue, making it when there is none or its size has
// been changed. It is smaller where shared memory has no room for it.
ByteRing* OpenQueue(DatabaseSlot* slot, size_t capacity);

// Backend: maps the current queue if this process has not yet. May be called in any transaction;
// a failure leaves the process without a queue, which only means that rows are read from the table.
void MapQueue(DatabaseSlot* slot) noexcept;

// The ring that this process has mapped if it is still the slot's, else nullptr. Needs slot->lock.
ByteRing* MappedQueue(const DatabaseSlot* slot) noexcept;

}  // namespace alerting::pg

#endif  // ALERTING_PG_SAMPLE_QUEUE_H_
