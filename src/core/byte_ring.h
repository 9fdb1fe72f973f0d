// A ring of bytes over memory that the caller provides: many writers (who take turns by a lock of
// theirs), one reader. The reader copies out without that lock: writers never touch bytes between
// tail and head. Holds no pointer, so it may lie in memory that processes map at different places.
//
// What is written where nothing waits begins at the memory's beginning. So a reader who keeps up
// needs few of its pages, which then are mapped by all writers and in the CPU's caches, where going
// round would bring a new page, and a fault for each process, with every few messages.
#ifndef ALERTING_CORE_BYTE_RING_H_
#define ALERTING_CORE_BYTE_RING_H_

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace alerting {

class ByteRing {
 public:
  // Bytes of memory that a ring with room for `capacity` bytes needs.
  static constexpr size_t MemoryFor(size_t capacity) { return sizeof(ByteRing) + capacity; }

  // Makes an empty ring in `memory`, which has MemoryFor(capacity) bytes.
  static ByteRing* Create(void* memory, size_t capacity) {
    ByteRing* ring = static_cast<ByteRing*>(memory);
    ring->capacity_ = capacity;
    ring->head_.store(0, std::memory_order_relaxed);
    ring->tail_.store(0, std::memory_order_relaxed);
    ring->origin_.store(0, std::memory_order_relaxed);
    return ring;
  }

  size_t capacity() const { return capacity_; }
  // Bytes ever written and read; their difference is what waits.
  uint64_t head() const { return head_.load(std::memory_order_acquire); }
  uint64_t tail() const { return tail_.load(std::memory_order_acquire); }
  size_t size() const { return static_cast<size_t>(head() - tail()); }
  size_t free() const { return capacity_ - size(); }

  // Writer, under the writers' lock: appends all parts or, when there is no room, nothing.
  bool Append(std::string_view first, std::string_view second) noexcept {
    if (free() < first.size() + second.size()) return false;
    const uint64_t head = head_.load(std::memory_order_relaxed);
    // The reader, who has read all there is, looks at the origin again when it has seen a new head.
    if (tail() == head) origin_.store(head, std::memory_order_relaxed);
    Copy(head, first);
    Copy(head + first.size(), second);
    head_.store(head + first.size() + second.size(), std::memory_order_release);
    return true;
  }

  // Reader: copies `bytes` that lie `offset` bytes behind the first that waits, all of which wait.
  void Peek(size_t offset, void* to, size_t bytes) const {
    const size_t start = Place(tail() + offset);
    const size_t until_end = std::min(bytes, capacity_ - start);
    std::memcpy(to, data() + start, until_end);
    std::memcpy(static_cast<char*>(to) + until_end, data(), bytes - until_end);
  }

  // Reader: appends the first `bytes` of what waits, all of it by default, to `out` and frees their
  // room. `out` must have the room reserved where an exception would hurt.
  void Drain(std::string* out) { Drain(out, size()); }
  void Drain(std::string* out, size_t bytes) {
    const uint64_t tail = tail_.load(std::memory_order_relaxed);
    const size_t start = Place(tail);
    const size_t until_end = std::min(bytes, capacity_ - start);
    out->append(data() + start, until_end);
    out->append(data(), bytes - until_end);
    tail_.store(tail + bytes, std::memory_order_release);
  }

  // Reader: frees what waits unread.
  void Discard() { tail_.store(head(), std::memory_order_release); }

 private:
  char* data() { return reinterpret_cast<char*>(this + 1); }
  const char* data() const { return reinterpret_cast<const char*>(this + 1); }

  size_t Place(uint64_t position) const {
    return static_cast<size_t>((position - origin_.load(std::memory_order_relaxed)) % capacity_);
  }

  void Copy(uint64_t position, std::string_view part) noexcept {
    if (part.empty()) return;  // memcpy takes no null pointer, be it for no bytes
    const size_t start = Place(position);
    const size_t until_end = std::min(part.size(), capacity_ - start);
    std::memcpy(data() + start, part.data(), until_end);
    std::memcpy(data(), part.data() + until_end, part.size() - until_end);
  }

  uint64_t capacity_;
  std::atomic<uint64_t> head_;
  std::atomic<uint64_t> tail_;
  std::atomic<uint64_t> origin_;  // what was written there begins the memory
};

}  // namespace alerting

#endif  // ALERTING_CORE_BYTE_RING_H_
