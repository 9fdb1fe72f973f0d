// Implements core/chunk_order.h.
#include "core/chunk_order.h"

#include <algorithm>
#include <utility>

#include "core/message.h"

namespace alerting {

namespace {

void AppendChunk(Micros committed_at, std::string_view messages, std::string* chunks) {
  const ChunkHeader header = {.bytes = static_cast<uint32_t>(messages.size()),
                              .committed_at = committed_at};
  chunks->append(reinterpret_cast<const char*>(&header), sizeof(header));
  chunks->append(messages);
}

}  // namespace

void ChunkOrder::Add(const ChunkHeader& header, std::string_view messages) {
  PlaceWaiting(CountOvertaken(messages), header.committed_at);
  AppendChunk(header.committed_at, messages, &chunks_);
  last_at_ = std::max(last_at_, header.committed_at);
}

void ChunkOrder::AddPrepared(Micros prepared_at, std::string_view messages) {
  last_at_ = std::max(last_at_, prepared_at);
  const size_t chunk = waiting_.size();
  waiting_.push_back(messages);
  MessageReader reader(messages);
  Message message;
  while (reader.Next(&message)) {
    if (message.kind != MessageKind::kSample) {
      // What it says of containers or rules holds for all that comes later.
      PlaceWaiting(waiting_.size(), last_at_);
      return;
    }
    std::vector<Rows>* rows = &rows_[spelling_(message.sample.container)];
    if (rows->empty() || rows->back().chunk != chunk) rows->push_back({chunk, message.sample.at});
    rows->back().from = std::min(rows->back().from, message.sample.at);
  }
}

std::string ChunkOrder::Take() {
  PlaceWaiting(waiting_.size(), last_at_);
  return std::move(chunks_);
}

// How many of those that wait have to come before these messages.
size_t ChunkOrder::CountOvertaken(std::string_view messages) {
  size_t end = placed_;
  MessageReader reader(messages);
  Message message;
  while (end < waiting_.size() && reader.Next(&message)) {
    if (message.kind != MessageKind::kSample) return waiting_.size();
    const auto found = rows_.find(spelling_(message.sample.container));
    if (found == rows_.end()) continue;
    std::erase_if(found->second, [&](const Rows& rows) { return rows.chunk < placed_; });
    for (const Rows& rows : found->second) {
      if (rows.from <= message.sample.at) end = std::max(end, rows.chunk + 1);
    }
  }
  return end;
}

void ChunkOrder::PlaceWaiting(size_t end, Micros at) {
  for (; placed_ < end; ++placed_) AppendChunk(at, waiting_[placed_], &chunks_);
  if (placed_ == waiting_.size()) rows_.clear();
}

}  // namespace alerting
