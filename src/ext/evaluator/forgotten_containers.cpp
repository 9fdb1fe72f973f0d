// Implements ext/evaluator/forgotten_containers.h.
#include "ext/evaluator/forgotten_containers.h"

#include <algorithm>
#include <cstring>

namespace alerting::ext {

namespace {

constexpr char kMark = '\xfe';  // begins no container's state
constexpr size_t kMost = 100'000;
constexpr size_t kRowBytes = sizeof(uint32_t) + sizeof(Micros);

}  // namespace

std::vector<uint32_t> ForgottenContainers::Add(const std::string& key, const RowsRead& rows,
                                               uint32_t chunk) {
  if (rows.empty()) return {};
  std::vector<uint32_t> changed = {chunk};
  const auto [known, is_new] = forgotten_.try_emplace(key, Forgotten{chunk, {}});
  if (known->second.chunk != chunk) {
    changed.push_back(known->second.chunk);
    of_chunk_[known->second.chunk].erase(key);
    known->second.chunk = chunk;
  }
  of_chunk_[chunk].insert(key);
  for (const auto& [source, time] : rows) {
    const auto same = std::find_if(known->second.rows.begin(), known->second.rows.end(),
                                   [&](const auto& row) { return row.first == source; });
    if (same == known->second.rows.end()) {
      known->second.rows.emplace_back(source, time);
    } else {
      same->second = time;  // of the one that went last
    }
  }
  if (is_new && forgotten_.size() > kMost) {
    auto any = forgotten_.begin();
    if (any->first == key) ++any;
    changed.push_back(any->second.chunk);
    of_chunk_[any->second.chunk].erase(any->first);
    forgotten_.erase(any);
  }
  return changed;
}

std::vector<uint32_t> ForgottenContainers::Drop(
    const std::function<bool(const std::string& key, uint32_t source, Micros read)>& matters) {
  std::vector<uint32_t> changed;
  std::erase_if(forgotten_, [&](const auto& entry) {
    const auto& [key, forgotten] = entry;
    const bool is_needed =
        std::any_of(forgotten.rows.begin(), forgotten.rows.end(),
                    [&](const auto& row) { return matters(key, row.first, row.second); });
    if (is_needed) return false;
    changed.push_back(forgotten.chunk);
    of_chunk_[forgotten.chunk].erase(key);
    return true;
  });
  std::erase_if(of_chunk_, [](const auto& chunk) { return chunk.second.empty(); });
  return changed;
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
  const auto keys = of_chunk_.find(chunk);
  if (keys == of_chunk_.end()) return encoded;
  for (const std::string& key : keys->second) {
    encoded.emplace_back(key, EncodeRowsRead(forgotten_.at(key).rows));
  }
  return encoded;
}

std::vector<uint32_t> ForgottenContainers::Chunks() const {
  std::vector<uint32_t> chunks;
  for (const auto& [chunk, keys] : of_chunk_) {
    if (!keys.empty()) chunks.push_back(chunk);
  }
  return chunks;
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

}  // namespace alerting::ext
