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
  bool empty() const { return walls_.empty(); }
  Micros nearest_wall() const { return walls_.empty() ? kNever : walls_.front(); }
  uint32_t nearest() const { return containers_.front(); }

  // Adds the container's entry or moves it.
  void Set(uint32_t container, Micros wall) {
    if (container >= positions_.size()) {
      MakeRoom(&positions_, container + size_t{1});
      positions_.resize(container + size_t{1}, kNil);
    }
    size_t i = positions_[container];
    if (i == kNil) {
      i = walls_.size();
      MakeRoom(&walls_, i + 1);
      MakeRoom(&containers_, i + 1);
      walls_.push_back(wall);
      containers_.push_back(container);
      SiftUp(i, wall, container);
    } else {
      Move(i, wall, container);
    }
  }

  void Remove(uint32_t container) {
    if (container >= positions_.size() || positions_[container] == kNil) return;
    const size_t i = positions_[container];
    positions_[container] = kNil;
    const Micros last_wall = walls_.back();
    const uint32_t last = containers_.back();
    walls_.pop_back();
    containers_.pop_back();
    if (i < walls_.size()) Move(i, last_wall, last);
  }

 private:
  static constexpr size_t kWays = 4;

  // By an eighth at a time: doubling would leave half of it unused in the worst case.
  template <typename T>
  static void MakeRoom(std::vector<T>* items, size_t count) {
    if (count > items->capacity()) items->reserve(count + count / 8);
  }

  // Puts an entry at `i`, or where it belongs from there.
  void Move(size_t i, Micros wall, uint32_t container) {
    wall < walls_[i] ? SiftUp(i, wall, container) : SiftDown(i, wall, container);
  }

  void Put(size_t i, Micros wall, uint32_t container) {
    walls_[i] = wall;
    containers_[i] = container;
    positions_[container] = static_cast<uint32_t>(i);
  }

  void SiftUp(size_t i, Micros wall, uint32_t container) {
    while (i > 0) {
      const size_t parent = (i - 1) / kWays;
      if (walls_[parent] <= wall) break;
      Put(i, walls_[parent], containers_[parent]);
      i = parent;
    }
    Put(i, wall, container);
  }

  void SiftDown(size_t i, Micros wall, uint32_t container) {
    for (;;) {
      const size_t first = i * kWays + 1;
      if (first >= walls_.size()) break;
      size_t least = first;
      const size_t end = std::min(first + kWays, walls_.size());
      for (size_t child = first + 1; child < end; ++child) {
        if (walls_[child] < walls_[least]) least = child;
      }
      if (walls_[least] >= wall) break;
      Put(i, walls_[least], containers_[least]);
      i = least;
    }
    Put(i, wall, container);
  }

  // The heap, in two arrays so that comparing touches times alone.
  std::vector<Micros> walls_;
  std::vector<uint32_t> containers_;
  std::vector<uint32_t> positions_;  // by container
};

}  // namespace alerting

#endif  // ALERTING_CORE_DEADLINE_QUEUE_H_
