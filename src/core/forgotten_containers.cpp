// Implements core/forgotten_containers.h.
#include "core/forgotten_containers.h"

#include <algorithm>
#include <cstring>

namespace alerting {

namespace {

constexpr char kMark = '\xfe';  // begins no container's state
constexpr size_t kMost = 100'000;
constexpr size_t kMostPerChunk = 32;
constexpr size_t kRowBytes = sizeof(uint32_t) + sizeof(Micros);

}  // namespace

void ForgottenContainers::Add(const std::string& key, const RowsRead& rows) {
  if (rows.empty()) return;
  auto known = forgotten_.find(key);
  if (known == forgotten_.end()) {
    if (forgotten_.size() >= kMost) {
      const auto any = forgotten_.begin();
      Leave(any->second.chunk, any->first);
      forgotten_.erase(any);
    }
    const uint32_t chunk = ChunkWithRoom();
    of_chunk_[chunk].insert(key);
    known = forgotten_.emplace(key, Forgotten{chunk, {}}).first;
  }
  changed_.Insert(known->second.chunk);
  for (const auto& [source, time] : rows) {
    const auto same = std::find_if(known->second.rows.begin(), known->second.rows.end(),
                                   [&](const auto& row) { return row.first == source; });
    if (same == known->second.rows.end()) {
      known->second.rows.emplace_back(source, time);
    } else {
      same->second = time;  // of the one that went last
    }
  }
}

void ForgottenContainers::Drop(
    const std::function<bool(const std::string& key, uint32_t source, Micros read)>& matters) {
  std::erase_if(forgotten_, [&](const auto& entry) {
    const auto& [key, forgotten] = entry;
    const bool is_needed =
        std::any_of(forgotten.rows.begin(), forgotten.rows.end(),
                    [&](const auto& row) { return matters(key, row.first, row.second); });
    if (!is_needed) Leave(forgotten.chunk, key);
    return !is_needed;
  });
}

uint32_t ForgottenContainers::ChunkWithRoom() {
  const auto has_room = [](const auto& keys) { return keys.size() < kMostPerChunk; };
  const auto found = std::find_if(of_chunk_.begin() + first_room_, of_chunk_.end(), has_room);
  first_room_ = static_cast<uint32_t>(found - of_chunk_.begin());
  if (found == of_chunk_.end()) of_chunk_.emplace_back();
  return first_room_;
}

void ForgottenContainers::Leave(uint32_t chunk, const std::string& key) {
  of_chunk_[chunk].erase(key);
  first_room_ = std::min(first_room_, chunk);
  changed_.Insert(chunk);
}

void ForgottenContainers::MarkAllChanged() {
  for (uint32_t chunk = 0; chunk < of_chunk_.size(); ++chunk) {
    if (!of_chunk_[chunk].empty()) changed_.Insert(chunk);
  }
}

std::unordered_map<std::string, Micros> ForgottenContainers::RowsOf(uint32_t source) const {
  std::unordered_map<std::string, Micros> rows;
  for (const auto& [key, forgotten] : forgotten_) {
    for (const auto& [number, time] : forgotten.rows) {
      if (number == source) rows.emplace(key, time);
    }
  }
  return rows;
}

std::vector<std::pair<std::string_view, std::string>> ForgottenContainers::EncodeChunk(
    uint32_t chunk) const {
  std::vector<std::pair<std::string_view, std::string>> encoded;
  for (const std::string& key : of_chunk_[chunk]) {
    encoded.emplace_back(key, EncodeRowsRead(forgotten_.at(key).rows));
  }
  return encoded;
}

std::string EncodeRowsRead(const RowsRead& rows) {
  std::string state(1, kMark);
  for (const auto& [source, time] : rows) {
    state.append(reinterpret_cast<const char*>(&source), sizeof(source));
    state.append(reinterpret_cast<const char*>(&time), sizeof(time));
  }
  return state;
}

bool IsRowsRead(std::string_view state) { return !state.empty() && state.front() == kMark; }

bool DecodeRowsRead(std::string_view state, RowsRead* rows) {
  if (!IsRowsRead(state)) return false;
  state.remove_prefix(1);
  if (state.size() % kRowBytes != 0) return false;
  for (; !state.empty(); state.remove_prefix(kRowBytes)) {
    auto& [source, time] = rows->emplace_back();
    std::memcpy(&source, state.data(), sizeof(source));
    std::memcpy(&time, state.data() + sizeof(source), sizeof(time));
  }
  return true;
}

}  // namespace alerting
