// Implements pg/handover_ring.h.
#include "pg/handover_ring.h"

#include "pg/transaction.h"

namespace alerting::pg {

namespace {

dsm_segment* segment = nullptr;

// PostgreSQL code. False: the segment is not there.
bool Map(dsm_handle handle) {
  segment = dsm_attach(handle);
  if (segment == nullptr) return false;
  dsm_pin_mapping(segment);
  return true;
}

ByteRing* Ring() { return static_cast<ByteRing*>(dsm_segment_address(segment)); }

// PostgreSQL code. False: there are as many segments as there may be.
bool Make(DatabaseSlot* slot) {
  segment = dsm_create(ByteRing::MemoryFor(kHandoverBytes), DSM_CREATE_NULL_IF_MAXSEGMENTS);
  if (segment == nullptr) return false;
  dsm_pin_mapping(segment);
  dsm_pin_segment(segment);
  ByteRing::Create(dsm_segment_address(segment), kHandoverBytes);
  LWLockAcquire(&slot->lock, LW_EXCLUSIVE);
  slot->handover = dsm_segment_handle(segment);
  LWLockRelease(&slot->lock);
  return true;
}

}  // namespace

ByteRing* OpenHandover(DatabaseSlot* slot) {
  bool open = false;
  try {
    Transaction transaction("starting");
    const dsm_handle handle = slot->handover;
    open = Call([&] { return handle != DSM_HANDLE_INVALID && Map(handle); }) ||
           Call([&] { return Make(slot); });
    transaction.Commit();
  } catch (const Error&) {
    open = false;
  }
  if (open) Ring()->Discard();
  pg_atomic_fetch_add_u64(&slot->sender_starts, 1);
  return open ? Ring() : nullptr;
}

ByteRing* MapHandover(DatabaseSlot* slot) noexcept {
  LWLockAcquire(&slot->lock, LW_SHARED);
  const dsm_handle handle = slot->handover;
  LWLockRelease(&slot->lock);
  if (handle == DSM_HANDLE_INVALID) return nullptr;
  if (segment != nullptr && dsm_segment_handle(segment) == handle) return Ring();
  try {
    Subtransaction savepoint;
    Call([&] {
      if (segment != nullptr) dsm_detach(segment);
      segment = nullptr;
      (void)Map(handle);
    });
    savepoint.Release();
  } catch (...) {
    segment = nullptr;
  }
  return segment != nullptr ? Ring() : nullptr;
}

}  // namespace alerting::pg
