// The containers that the clock may move, nearest wall-clock time first: an indexed 4-ary heap
// with one entry per container. Used by the evaluator.
// Invariant: a container's entry may come due too early (it is looked at and set again), never too
// late.
#ifndef ALERTING_CORE_DEADLINE_QUEUE_H_
#define ALERTING_CORE_DEADLINE_QUEUE_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/chunked_vector.h"
#include "core/time.h"

namespace alerting {

class DeadlineQueue {
 public:
  bool empty() const { return heap_.empty(); }
  Micros nearest_wall() const { return heap_.empty() ? kNever : heap_.front().wall; }
  uint32_t nearest() const { return heap_.front().container; }

  // Adds the container's entry or moves it.
  void Set(uint32_t container, Micros wall) {
    if (container >= positions_.size()) positions_.resize(container + size_t{1}, kNil);
    size_t i = positions_[container];
    if (i == kNil) {
      i = heap_.size();
      heap_.push_back({wall, container});
      SiftUp(i);
      return;
    }
    const bool earlier = wall < heap_[i].wall;
    heap_[i].wall = wall;
    earlier ? SiftUp(i) : SiftDown(i);
  }

  void Remove(uint32_t container) {
    if (container >= positions_.size() || positions_[container] == kNil) return;
    const size_t i = positions_[container];
    positions_[container] = kNil;
    const Entry last = heap_.back();
    heap_.pop_back();
    if (i == heap_.size()) return;
    const bool earlier = last.wall < heap_[i].wall;
    heap_[i] = last;
    earlier ? SiftUp(i) : SiftDown(i);
  }

 private:
  struct Entry {
    Micros wall;
    uint32_t container;
  };
  static constexpr size_t kWays = 4;

  void Put(size_t i, const Entry& entry) {
    heap_[i] = entry;
    positions_[entry.container] = static_cast<uint32_t>(i);
  }

  void SiftUp(size_t i) {
    const Entry entry = heap_[i];
    while (i > 0) {
      const size_t parent = (i - 1) / kWays;
      if (heap_[parent].wall <= entry.wall) break;
      Put(i, heap_[parent]);
      i = parent;
    }
    Put(i, entry);
  }

  void SiftDown(size_t i) {
    const Entry entry = heap_[i];
    for (;;) {
      const size_t first = i * kWays + 1;
      if (first >= heap_.size()) break;
      size_t least = first;
      const size_t end = std::min(first + kWays, heap_.size());
      for (size_t child = first + 1; child < end; ++child) {
        if (heap_[child].wall < heap_[least].wall) least = child;
      }
      if (heap_[least].wall >= entry.wall) break;
      Put(i, heap_[least]);
      i = least;
    }
    Put(i, entry);
  }

  std::vector<Entry> heap_;
  std::vector<uint32_t> positions_;  // by container
};

}  // namespace alerting

#endif  // ALERTING_CORE_DEADLINE_QUEUE_H_
