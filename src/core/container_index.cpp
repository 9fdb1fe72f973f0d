// Linear probing over 8-byte slots, at most 7/8 full, erased by shifting back: no tombstones, so
// churn of containers never slows it down. Used by the evaluator.
#include "core/container_index.h"

#include <cstring>

namespace alerting {
namespace {

constexpr size_t kFirstSlots = 1024;

uint64_t Load(const char* bytes, size_t count) {
  uint64_t value = 0;
  std::memcpy(&value, bytes, count);
  return value;
}

// The high and the low half of the 128-bit product, folded.
uint64_t Fold(uint64_t a, uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

constexpr uint64_t kOdd1 = 0x9e3779b97f4a7c15;
constexpr uint64_t kOdd2 = 0xd1342543de82ef95;

size_t StoredSize(size_t length) { return (sizeof(uint32_t) + length + 7) / 8 * 8; }

}  // namespace

const char* KeyArena::Store(std::string_view key) {
  const size_t size = StoredSize(key.size());
  const size_t size_class = size / 8;
  char* place = nullptr;
  if (size_class < kClasses && free_[size_class] != nullptr) {
    place = free_[size_class];
    std::memcpy(&free_[size_class], place, sizeof(char*));
  } else if (size_class >= kClasses) {
    // Longer than any key of a real host: a block of its own, never given back.
    blocks_.push_back(std::make_unique_for_overwrite<char[]>(size));
    place = blocks_.back().get();
    used_ = kBlock;
  } else {
    if (used_ + size > kBlock) {
      blocks_.push_back(std::make_unique_for_overwrite<char[]>(kBlock));
      used_ = 0;
    }
    place = blocks_.back().get() + used_;
    used_ += size;
  }
  const auto length = static_cast<uint32_t>(key.size());
  std::memcpy(place, &length, sizeof length);
  if (!key.empty()) std::memcpy(place + sizeof length, key.data(), key.size());
  return place;
}

void KeyArena::Release(const char* stored) {
  const size_t size_class = StoredSize(View(stored).size()) / 8;
  if (size_class >= kClasses) return;
  char* place = const_cast<char*>(stored);  // all of it lies in our own blocks
  std::memcpy(place, &free_[size_class], sizeof(char*));
  free_[size_class] = place;
}

std::string_view KeyArena::View(const char* stored) {
  uint32_t length = 0;
  std::memcpy(&length, stored, sizeof length);
  return {stored + sizeof length, length};
}

ContainerIndex::ContainerIndex(uint64_t seed)
    : seed_(Fold(seed ^ kOdd1, kOdd2)), slots_(kFirstSlots), mask_(kFirstSlots - 1) {}

uint64_t ContainerIndex::Hash(std::string_view key) const {
  const char* bytes = key.data();
  size_t left = key.size();
  uint64_t hash = seed_ ^ (left * kOdd1);
  while (left > 16) {
    hash = Fold(Load(bytes, 8) ^ kOdd1, Load(bytes + 8, 8) ^ hash);
    bytes += 16;
    left -= 16;
  }
  uint64_t first = 0;
  uint64_t last = 0;
  if (left >= 8) {
    first = Load(bytes, 8);
    last = Load(bytes + left - 8, 8);
  } else if (left > 0) {
    first = Load(bytes, left);
  }
  return Fold(first ^ kOdd2, Fold(last ^ kOdd1, hash ^ kOdd2));
}

uint32_t ContainerIndex::FindHashed(std::string_view key, uint64_t hash) const {
  const auto tag = static_cast<uint32_t>(hash);
  for (size_t i = tag & mask_; slots_[i].number != kNil; i = (i + 1) & mask_) {
    if (slots_[i].tag == tag && KeyArena::View(keys_[slots_[i].number]) == key) {
      return slots_[i].number;
    }
  }
  return kNil;
}

uint32_t ContainerIndex::Candidate(uint64_t hash) const {
  const auto tag = static_cast<uint32_t>(hash);
  for (size_t i = tag & mask_; slots_[i].number != kNil; i = (i + 1) & mask_) {
    if (slots_[i].tag == tag) return slots_[i].number;
  }
  return kNil;
}

uint32_t ContainerIndex::Insert(std::string_view key) {
  if ((count_ + 1) * size_t{8} > slots_.size() * 7) Grow();
  uint32_t number = 0;
  if (free_numbers_.empty()) {
    number = keys_.Append();
  } else {
    number = free_numbers_.back();
    free_numbers_.pop_back();
  }
  keys_[number] = arena_.Store(key);
  Place(static_cast<uint32_t>(Hash(key)), number);
  ++count_;
  return number;
}

void ContainerIndex::Erase(uint32_t number) {
  const auto tag = static_cast<uint32_t>(Hash(Key(number)));
  size_t hole = tag & mask_;
  while (slots_[hole].number != number) hole = (hole + 1) & mask_;
  // Move back each later entry of the cluster that may lie at or before the hole.
  for (size_t i = (hole + 1) & mask_; slots_[i].number != kNil; i = (i + 1) & mask_) {
    const size_t home = slots_[i].tag & mask_;
    if (((i - home) & mask_) >= ((i - hole) & mask_)) {
      slots_[hole] = slots_[i];
      hole = i;
    }
  }
  slots_[hole] = Slot{};
  arena_.Release(keys_[number]);
  keys_[number] = nullptr;
  free_numbers_.push_back(number);
  --count_;
}

void ContainerIndex::Place(uint32_t tag, uint32_t number) {
  size_t i = tag & mask_;
  while (slots_[i].number != kNil) i = (i + 1) & mask_;
  slots_[i] = {tag, number};
}

void ContainerIndex::Grow() {
  std::vector<Slot> old(slots_.size() * 2);
  old.swap(slots_);
  mask_ = slots_.size() - 1;
  for (const Slot& slot : old) {
    if (slot.number != kNil) Place(slot.tag, slot.number);
  }
}

}  // namespace alerting
