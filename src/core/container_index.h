// From a container's key to its number, and back: an open-addressing index over key bytes.
// Used by the evaluator, several million times a second.
// Invariant: a number is live from Insert to Erase; live keys are distinct; key bytes never move
// while their number lives.
#ifndef ALERTING_CORE_CONTAINER_INDEX_H_
#define ALERTING_CORE_CONTAINER_INDEX_H_

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "core/chunked_vector.h"

namespace alerting {

// Bytes of many keys, packed; room of an erased key serves the next of its size.
class KeyArena {
 public:
  // A copy of `key`, preceded by its length.
  const char* Store(std::string_view key);
  void Release(const char* stored);
  static std::string_view View(const char* stored);

 private:
  static constexpr size_t kBlock = 64 * 1024;
  static constexpr size_t kClasses = 136;  // sizes up to 1088 bytes, in steps of 8

  std::vector<std::unique_ptr<char[]>> blocks_;
  size_t used_ = kBlock;  // of the last block
  char* free_[kClasses] = {};
};

class ContainerIndex {
 public:
  // Keys are chosen by tenants: the seed keeps them from choosing colliding ones.
  explicit ContainerIndex(uint64_t seed);

  // kNil when the key is unknown.
  uint32_t Find(std::string_view key) const { return FindHashed(key, Hash(key)); }
  uint32_t Insert(std::string_view key);  // the key is not there yet
  void Erase(uint32_t number);

  // For lookups of many keys with the memory latency hidden: hash first, prefetch, then find.
  uint64_t Hash(std::string_view key) const;
  uint32_t FindHashed(std::string_view key, uint64_t hash) const;
  void PrefetchSlot(uint64_t hash) const { __builtin_prefetch(&slots_[hash & mask_]); }
  // The number that most likely is the key's; kNil when the key is unknown.
  uint32_t Candidate(uint64_t hash) const;
  void PrefetchStored(uint32_t number) const { __builtin_prefetch(&keys_[number]); }
  void PrefetchKey(uint32_t number) const { __builtin_prefetch(keys_[number]); }

  uint32_t limit() const { return keys_.size(); }
  uint32_t count() const { return count_; }
  bool IsLive(uint32_t number) const { return number < keys_.size() && keys_[number] != nullptr; }
  std::string_view Key(uint32_t number) const {
    return IsLive(number) ? KeyArena::View(keys_[number]) : std::string_view{};
  }

 private:
  struct Slot {
    uint32_t tag = 0;  // low half of the hash: also its home position
    uint32_t number = kNil;
  };

  void Place(uint32_t tag, uint32_t number);
  void Grow();

  uint64_t seed_;
  std::vector<Slot> slots_;
  size_t mask_;
  ChunkedVector<const char*, 10> keys_;
  std::vector<uint32_t> free_numbers_;
  uint32_t count_ = 0;
  KeyArena arena_;
};

}  // namespace alerting

#endif  // ALERTING_CORE_CONTAINER_INDEX_H_
