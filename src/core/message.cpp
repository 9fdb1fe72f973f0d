// The messages' bytes: a 4-byte header; of a sample its source and time where they differ from the
// sample before, and its figures; the key. Written by any backend, read by the evaluator of the
// same server, hence in the machine's own byte order. Nothing is aligned.
#include "core/message.h"

#include <array>

namespace alerting {
namespace {

constexpr uint8_t kFigures = kCpu | kMemory | kMemoryUsed | kMemoryLimit | kRestarts;

// In the order in which they are written.
struct Figure {
  Reading bit;
  double Sample::*value;
};
constexpr Figure kFigureList[] = {{kCpu, &Sample::cpu},
                                  {kMemory, &Sample::memory},
                                  {kMemoryUsed, &Sample::memory_used},
                                  {kMemoryLimit, &Sample::memory_limit},
                                  {kRestarts, &Sample::restarts}};

bool HasKey(MessageKind kind) {
  return kind == MessageKind::kSample || kind == MessageKind::kContainerChanged ||
         kind == MessageKind::kContainerDeleted || kind == MessageKind::kNotice;
}

// A key that no container can have is written as the empty one, which none has either.
std::string_view KeyOf(const Message& message) noexcept {
  const std::string_view key = message.sample.container;
  return HasKey(message.kind) && key.size() <= kMaxKeyBytes ? key : std::string_view{};
}

// How many of the Reading bits are set: a table, since not every machine can count them at once.
constexpr auto kCounts = [] {
  std::array<uint8_t, kAllReadings + 1> counts = {};
  for (size_t i = 1; i < counts.size(); ++i) {
    counts[i] = static_cast<uint8_t>(counts[i / 2] + i % 2);
  }
  return counts;
}();
size_t Bits(unsigned bits) { return kCounts[bits]; }

}  // namespace

size_t MessageSize(const Message& message) noexcept {
  if (message.kind == MessageKind::kSample)
    return kMaxSampleBytes - kMaxKeyBytes + KeyOf(message).size();
  return sizeof(MessageHeader) + sizeof(uint16_t) + KeyOf(message).size();
}

size_t WriteMessage(const Message& message, SampleContext* context, char* out) noexcept {
  const std::string_view key = KeyOf(message);
  if (message.kind == MessageKind::kSample) {
    Sample sample = message.sample;
    sample.container = key;
    sample.present &= kAllReadings;
    return WriteSample(sample, context, out);
  }
  const MessageHeader header = {static_cast<uint8_t>(message.kind), 0, 0,
                                static_cast<uint8_t>(std::min<size_t>(key.size(), kLongKey))};
  std::memcpy(out, &header, sizeof header);
  char* place = out + sizeof header;
  if (header.key == kLongKey) {
    const auto size = static_cast<uint16_t>(key.size());
    std::memcpy(place, &size, sizeof size);
    place += sizeof size;
  }
  // May be moved within a buffer.
  if (!key.empty()) std::memmove(place, key.data(), key.size());
  return static_cast<size_t>(place - out) + key.size();
}

bool MessageReader::Next(Message* message) noexcept {
  if (malformed_ || position_ == bytes_.size()) return false;
  malformed_ = true;  // until the whole message was read
  const char* place = bytes_.data() + position_;
  size_t left = bytes_.size() - position_;
  MessageHeader header;
  if (left < sizeof header) return false;
  const auto get = [&](auto* value) {
    std::memcpy(value, place, sizeof *value);
    place += sizeof *value;
    left -= sizeof *value;
  };
  get(&header);
  const unsigned kind_number = header.kind & kKindBits;
  if (kind_number < static_cast<unsigned>(MessageKind::kSample) ||
      kind_number > static_cast<unsigned>(MessageKind::kNotice)) {
    return false;
  }
  const auto kind = static_cast<MessageKind>(kind_number);
  const bool is_sample = kind == MessageKind::kSample;
  constexpr unsigned kFlags = kKindBits | kSameSource | kSameTime | kIsRunning;
  if ((header.kind & ~(is_sample ? kFlags : kKindBits)) != 0) return false;
  if ((header.present & ~(is_sample ? kAllReadings : 0U)) != 0) return false;
  if ((header.narrow & ~(header.present & kFigures)) != 0) return false;
  if (!HasKey(kind) && header.key != 0) return false;
  size_t key_size = header.key;
  if (header.key == kLongKey) {
    uint16_t size = 0;
    if (left < sizeof size) return false;
    get(&size);
    key_size = size;
    if (key_size > kMaxKeyBytes) return false;
  }
  *message = Message{};
  message->kind = kind;
  Sample& sample = message->sample;
  if (is_sample) {
    const bool has_source = (header.kind & kSameSource) == 0;
    const bool has_time = (header.kind & kSameTime) == 0;
    const size_t needed =
        (has_source ? sizeof sample.source : 0) + (has_time ? sizeof sample.at : 0) +
        Bits(header.present & kFigures) * sizeof(double) - Bits(header.narrow) * sizeof(float);
    if (left < needed) return false;
    if (has_source) get(&before_.source);
    if (has_time) get(&before_.at);
    sample.source = before_.source;
    sample.at = before_.at;
    sample.present = header.present;
    sample.running = (header.kind & kIsRunning) != 0;
    for (const Figure& figure : kFigureList) {
      if ((header.present & figure.bit) == 0) continue;
      if ((header.narrow & figure.bit) != 0) {
        float half = 0;
        get(&half);
        sample.*figure.value = static_cast<double>(half);
      } else {
        get(&(sample.*figure.value));
      }
    }
  }
  if (left < key_size) return false;
  sample.container = {place, key_size};
  position_ = static_cast<size_t>(place - bytes_.data()) + key_size;
  malformed_ = false;
  return true;
}

}  // namespace alerting
