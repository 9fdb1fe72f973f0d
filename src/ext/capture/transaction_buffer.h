// What the current transaction has to tell the evaluator: kept in backend memory, cut back when a
// savepoint rolls back, handed to the queue right after COMMIT. Any backend.
//
// Invariant: nothing here makes the user's transaction fail or wait. What cannot be kept (no
// memory, too much, no queue) becomes a mark "read source S from time T on".
#ifndef ALERTING_EXT_CAPTURE_TRANSACTION_BUFFER_H_
#define ALERTING_EXT_CAPTURE_TRANSACTION_BUFFER_H_

#include "core/message.h"

namespace alerting::ext {

// Called once per process, from _PG_init.
void RegisterTransactionCallbacks();

// Makes ready for AddMessage in this transaction: finds the slot, wakes what has to run. May
// ereport only on memory or shared memory exhaustion of PostgreSQL itself. False: nothing can be
// told (no slot, a standby); the rows will be found by the evaluator's replay.
bool OpenTransactionBuffer();

// Keeps a message of the current (sub)transaction. Trivial code: may be called between PostgreSQL
// calls without a guard.
void AddMessage(const Message& message) noexcept;

// Rows of a source came by no statement that is seen: all are read that are not judged yet, and
// those of this transaction with them, in order of time.
void MarkSource(uint32_t source) noexcept;

// By which a deleted container's key is remembered where there is no room for it.
inline uint64_t KeyHash(std::string_view key) noexcept {
  return std::hash<std::string_view>{}(key);
}

// Notices as messages, told after COMMIT where the queue has room; they last until then.
void TellNoticesAtCommit(std::string_view messages) noexcept;

// Room to write samples of the current (sub)transaction without further checks: at least
// kMaxSampleBytes from `next` to `end`, or none (next is nullptr) when rows can only be marked,
// which AddMessage does. What has been written counts once CloseSampleSpace() is told its end.
struct SampleSpace {
  char* next;
  char* end;
  SampleContext* context;  // to write with
  bool HasRoom() const {
    return next != nullptr && end - next >= static_cast<ptrdiff_t>(kMaxSampleBytes);
  }
};
void OpenSampleSpace(SampleSpace* space) noexcept;
void CloseSampleSpace(const SampleSpace& space) noexcept;

// All rows of the source that this transaction writes, before and after, are read from the table.
void LeaveSourceToReplay(uint32_t source) noexcept;
bool IsSourceLeftToReplay(uint32_t source) noexcept;

// The transaction writes rows that are not captured, because alerting is switched off. A reload of
// the settings reaches one process after another: an evaluator that runs when the transaction ends
// reads them from their tables.
void NoteUncapturedRows();

// Counts rows that cannot be samples.
void CountSkipped(uint64_t rows) noexcept;

// After COMMIT: start this database's workers, unless alerting.stop() keeps them; forget that
// stop(); wake the sender.
void StartWorkersAtCommit();
void ForgetStopAtCommit();
void WakeSenderAtCommit();
// `wakes` of the calls of WakeSenderAtCommit in this transaction stand for nothing but what has
// been handed over to the sender. This holds unless another sender has started since sender_starts
// was read.
void CoverSenderWakes(int wakes, uint64_t sender_starts);

}  // namespace alerting::ext

#endif  // ALERTING_EXT_CAPTURE_TRANSACTION_BUFFER_H_
