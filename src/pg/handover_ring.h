// The ring through which the evaluator hands fresh deliveries over to the sender (core/handover.h):
// a ByteRing in dynamic shared memory, written by the database's evaluator alone, read by its
// sender alone. The sender makes it; it outlives both.
#ifndef ALERTING_PG_HANDOVER_RING_H_
#define ALERTING_PG_HANDOVER_RING_H_

#include "core/byte_ring.h"
#include "pg/shared_state.h"

namespace alerting::pg {

// For some hundred deliveries. What finds no room is fetched from the table.
inline constexpr size_t kHandoverBytes = 256 * 1024;

// Sender, at its start: maps the ring, making it when there is none. What waits in it is discarded:
// this process looks at the tables first, and who is about to write is told by sender_starts that
// there is somebody else now. nullptr: no shared memory is left for it.
ByteRing* OpenHandover(DatabaseSlot* slot);

// Evaluator, in a transaction: the ring, nullptr while there is none or it cannot be mapped.
ByteRing* MapHandover(DatabaseSlot* slot) noexcept;

}  // namespace alerting::pg

#endif  // ALERTING_PG_HANDOVER_RING_H_
