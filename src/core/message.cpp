// The messages' bytes: an 8-byte header, the time where the kind has one, a double for each
// numeric reading present, the key padded to 8. Written by any backend, read by the evaluator of
// the same server, hence in the machine's own byte order.
#include "core/message.h"

#include <cstring>

namespace alerting {
namespace {

using Header = MessageHeader;
constexpr uint16_t kRunningBit = kRunningKeyBit;

constexpr uint8_t kAllReadings = kCpu | kMemory | kMemoryUsed | kMemoryLimit | kRunning | kRestarts;

// The numeric readings, in the order in which they are written.
struct Numeric {
  Reading bit;
  double Sample::*value;
};
constexpr Numeric kNumeric[] = {{kCpu, &Sample::cpu},
                                {kMemory, &Sample::memory},
                                {kMemoryUsed, &Sample::memory_used},
                                {kMemoryLimit, &Sample::memory_limit},
                                {kRestarts, &Sample::restarts}};

bool HasKey(MessageKind kind) {
  return kind == MessageKind::kSample || kind == MessageKind::kContainerChanged ||
         kind == MessageKind::kContainerDeleted;
}
bool HasTime(MessageKind kind) { return kind == MessageKind::kSample; }

// A key that no container can have is written as the empty one, which none has either.
std::string_view KeyOf(const Message& message) noexcept {
  const std::string_view key = message.sample.container;
  return HasKey(message.kind) && key.size() <= kMaxKeyBytes ? key : std::string_view{};
}

uint8_t PresentOf(const Message& message) noexcept {
  return message.kind == MessageKind::kSample
             ? static_cast<uint8_t>(message.sample.present & kAllReadings)
             : uint8_t{0};
}

// What follows the header, without the key.
size_t NumbersSize(MessageKind kind, uint8_t present) noexcept {
  const int doubles = __builtin_popcount(static_cast<unsigned>(present & ~kRunning));
  return sizeof(double) * static_cast<size_t>(doubles + (HasTime(kind) ? 1 : 0));
}

}  // namespace

size_t MessageSize(const Message& message) noexcept {
  return sizeof(Header) + NumbersSize(message.kind, PresentOf(message)) +
         PaddedKeySize(KeyOf(message).size());
}

size_t WriteMessage(const Message& message, char* out) noexcept {
  if (message.kind == MessageKind::kSample) {
    Sample sample = message.sample;
    sample.container = KeyOf(message);
    sample.present = PresentOf(message);
    return WriteSample(sample, out);
  }
  const std::string_view key = KeyOf(message);
  const Header header = {static_cast<uint8_t>(message.kind), 0, static_cast<uint16_t>(key.size()),
                         message.sample.source};
  char* place = out;
  std::memcpy(place, &header, sizeof header);
  place += sizeof header;
  place = PutKey(key.data(), key.size(), place);
  return static_cast<size_t>(place - out);
}

bool MessageReader::Next(Message* message) noexcept {
  if (malformed_ || position_ == bytes_.size()) return false;
  malformed_ = true;  // until the whole message was read
  const char* place = bytes_.data() + position_;
  size_t left = bytes_.size() - position_;
  Header header;
  if (left < sizeof header) return false;
  std::memcpy(&header, place, sizeof header);
  place += sizeof header;
  left -= sizeof header;

  if (header.kind < static_cast<uint8_t>(MessageKind::kSample) ||
      header.kind > static_cast<uint8_t>(MessageKind::kContainersTruncated)) {
    return false;
  }
  const auto kind = static_cast<MessageKind>(header.kind);
  const size_t key_size = header.key & ~kRunningBit;
  if ((header.present & ~kAllReadings) != 0 || key_size > kMaxKeyBytes) return false;
  if (kind != MessageKind::kSample && header.present != 0) return false;
  if (!HasKey(kind) && key_size != 0) return false;
  if (left < NumbersSize(kind, header.present) + PaddedKeySize(key_size)) return false;

  *message = Message{};
  message->kind = kind;
  Sample& sample = message->sample;
  sample.source = header.source;
  sample.present = header.present;
  sample.running = (header.key & kRunningBit) != 0;
  const auto get = [&place](void* value, size_t size) {
    std::memcpy(value, place, size);
    place += size;
  };
  if (HasTime(kind)) get(&sample.at, sizeof sample.at);
  for (const Numeric& numeric : kNumeric) {
    if ((header.present & numeric.bit) != 0) get(&(sample.*numeric.value), sizeof(double));
  }
  sample.container = {place, key_size};
  place += PaddedKeySize(key_size);
  position_ = static_cast<size_t>(place - bytes_.data());
  malformed_ = false;
  return true;
}

}  // namespace alerting
