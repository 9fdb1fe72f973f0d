// Growable arrays whose elements never move: the evaluator's containers and rule states.
// Used by the evaluator. Invariant: memory grows by whole chunks, and only past the highest count
// of elements alive at one time.
#ifndef ALERTING_CORE_CHUNKED_VECTOR_H_
#define ALERTING_CORE_CHUNKED_VECTOR_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace alerting {

template <typename T, unsigned kShift>
class ChunkedVector {
 public:
  ChunkedVector() = default;
  ChunkedVector(const ChunkedVector&) = delete;
  ChunkedVector& operator=(const ChunkedVector&) = delete;
  ~ChunkedVector() {
    for (uint32_t i = 0; i < size_; ++i) std::destroy_at(&(*this)[i]);
  }

  T& operator[](size_t index) { return *At(index); }
  const T& operator[](size_t index) const { return *At(index); }
  uint32_t size() const { return size_; }

  // Appends a value-initialised element and returns its index.
  uint32_t Append() {
    if (size_ == chunks_.size() << kShift) {
      chunks_.push_back(std::make_unique_for_overwrite<Chunk>());
    }
    std::construct_at(At(size_));
    return size_++;
  }

 private:
  static constexpr size_t kMask = (size_t{1} << kShift) - 1;
  // Memory alone: what a chunk could hold costs nothing (not even pages) until it is used.
  struct Chunk {
    alignas(T) std::byte bytes[sizeof(T) << kShift];
  };

  T* At(size_t index) const {
    return reinterpret_cast<T*>(chunks_[index >> kShift]->bytes) + (index & kMask);
  }

  std::vector<std::unique_ptr<Chunk>> chunks_;
  uint32_t size_ = 0;
};

inline constexpr uint32_t kNil = UINT32_MAX;

// Elements known by number, with those given back used again. T has a member `uint32_t next`.
template <typename T, unsigned kShift>
class Pool {
 public:
  T& operator[](uint32_t index) { return items_[index]; }
  const T& operator[](uint32_t index) const { return items_[index]; }

  uint32_t Take() {
    if (free_ == kNil) return items_.Append();
    const uint32_t index = free_;
    free_ = items_[index].next;
    items_[index] = T{};
    return index;
  }

  void Give(uint32_t index) {
    items_[index] = T{};  // releases what it owns
    items_[index].next = free_;
    free_ = index;
  }

 private:
  ChunkedVector<T, kShift> items_;
  uint32_t free_ = kNil;
};

}  // namespace alerting

#endif  // ALERTING_CORE_CHUNKED_VECTOR_H_
