// Implements pg/sample_queue.h.
#include "pg/sample_queue.h"

#include <optional>
#include <utility>

#include "pg/transaction.h"

namespace alerting::pg {

namespace {

constexpr size_t kLeastCapacity = 64 * 1024;  // of alerting.queue_size

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

void TellOfSmallQueue(size_t wanted, size_t made, const Error& error) {
  Call([&] {
    ereport(WARNING,
            (errcode(error.sqlstate()),
             errmsg("alerting: the sample queue has %zu kB instead of %zu kB: %s", made / 1024,
                    wanted / 1024, error.what()),
             errdetail("What has no room in it is read from the tables."),
             errhint("Give the server more shared memory (/dev/shm; docker run --shm-size), or "
                     "lower alerting.queue_size.")));
  });
}

dsm_segment* Create(size_t capacity) {
  Transaction transaction("starting");
  dsm_segment* made = Call([&] {
    dsm_segment* created = dsm_create(ByteRing::MemoryFor(capacity), 0);
    dsm_pin_mapping(created);
    dsm_pin_segment(created);
    return created;
  });
  transaction.Commit();
  ByteRing::Create(dsm_segment_address(made), capacity);
  return made;
}

// A half or a fourth of what is wanted, and so on, where shared memory has no room: a small queue
// costs some reading of tables, none would cost all alerts. nullptr: the present one is no smaller.
dsm_segment* CreateLargest(size_t wanted, size_t present) {
  std::optional<Error> no_room;
  dsm_segment* made = nullptr;
  size_t capacity = wanted;
  while (made == nullptr && capacity >= kLeastCapacity &&
         (capacity == wanted || capacity > present)) {
    try {
      made = Create(capacity);
    } catch (Error& error) {
      if (!error.IsForLackOfRoom()) throw;
      no_room.emplace(std::move(error));
      capacity /= 2;
    }
  }
  if (made == nullptr && present == 0) throw Error(std::move(*no_room));
  if (no_room) TellOfSmallQueue(wanted, made == nullptr ? present : capacity, *no_room);
  return made;
}

}  // namespace

ByteRing* OpenQueue(DatabaseSlot* slot, size_t capacity) {
  if (slot->queue != DSM_HANDLE_INVALID) {
    Call([&] { Map(slot->queue, slot->queue_generation); });
    if (segment != nullptr && Ring()->capacity() == capacity) return Ring();
  }
  const dsm_handle old = segment != nullptr ? mapped : DSM_HANDLE_INVALID;
  dsm_segment* made = CreateLargest(capacity, segment != nullptr ? Ring()->capacity() : 0);
  if (made == nullptr) return Ring();
  Call([] { Unmap(); });
  segment = made;
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
