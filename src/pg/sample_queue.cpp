// Implements pg/sample_queue.h.
#include "pg/sample_queue.h"

#include "pg/transaction.h"

namespace alerting::pg {

namespace {

dsm_segment* segment = nullptr;
dsm_handle mapped = DSM_HANDLE_INVALID;
uint64 mapped_generation = 0;

void Unmap() {
  if (segment != nullptr) dsm_detach(segment);
  segment = nullptr;
  mapped = DSM_HANDLE_INVALID;
}

ByteRing* Ring() { return static_cast<ByteRing*>(dsm_segment_address(segment)); }

// PostgreSQL code only; may ereport.
void Map(dsm_handle handle, uint64 generation) {
  Unmap();
  segment = dsm_attach(handle);
  if (segment == nullptr) return;
  dsm_pin_mapping(segment);
  mapped = handle;
  mapped_generation = generation;
}

}  // namespace

ByteRing* OpenQueue(DatabaseSlot* slot, size_t capacity) {
  if (slot->queue != DSM_HANDLE_INVALID) {
    Call([&] { Map(slot->queue, slot->queue_generation); });
    if (segment != nullptr && Ring()->capacity() == capacity) return Ring();
  }
  const dsm_handle old = segment != nullptr ? mapped : DSM_HANDLE_INVALID;
  Call([&] {
    Unmap();
    segment = dsm_create(ByteRing::MemoryFor(capacity), 0);
    dsm_pin_mapping(segment);
    dsm_pin_segment(segment);
  });
  ByteRing::Create(dsm_segment_address(segment), capacity);
  mapped = dsm_segment_handle(segment);
  LWLockAcquire(&slot->lock, LW_EXCLUSIVE);
  slot->queue = mapped;
  mapped_generation = ++slot->queue_generation;
  LWLockRelease(&slot->lock);
  if (old != DSM_HANDLE_INVALID) Call([&] { dsm_unpin_segment(old); });
  return Ring();
}

void MapQueue(DatabaseSlot* slot) noexcept {
  const dsm_handle handle = slot->queue;
  const uint64 generation = slot->queue_generation;
  if (handle == DSM_HANDLE_INVALID ||
      (segment != nullptr && mapped == handle && mapped_generation == generation)) {
    return;
  }
  try {
    Subtransaction savepoint;
    Call([&] { Map(handle, generation); });
    savepoint.Release();
  } catch (...) {
    segment = nullptr;
    mapped = DSM_HANDLE_INVALID;
  }
}

ByteRing* MappedQueue(const DatabaseSlot* slot) noexcept {
  if (segment == nullptr || slot->queue != mapped || slot->queue_generation != mapped_generation) {
    return nullptr;
  }
  return Ring();
}

}  // namespace alerting::pg
