// The bytes that inserting backends hand to the evaluator: a chunk per transaction, holding
// messages in the order of the transaction's statements. Used by any backend (write) and by the
// evaluator (read); writing neither allocates nor throws, reading survives hostile bytes.
#ifndef ALERTING_CORE_MESSAGE_H_
#define ALERTING_CORE_MESSAGE_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "core/sample.h"

namespace alerting {

enum class MessageKind : uint8_t {
  kSample = 1,
  kRulesChanged = 2,         // reload the rules
  kContainerChanged = 3,     // look this container up again: it has moved
  kBindingChanged = 4,       // reload binding and sources, and start over
  kContainerDeleted = 5,     // forget this container; one of the same key is another
  kContainersTruncated = 6,  // forget all of them
};

struct Message {
  MessageKind kind = MessageKind::kSample;
  Sample sample;  // kSample: all; kContainerChanged, kContainerDeleted: container
};

// Longest container key that fits a message; capture treats a longer one as an unknown container.
inline constexpr size_t kMaxKeyBytes = 1024;

// What every message begins with.
struct MessageHeader {
  uint8_t kind;
  uint8_t present;  // Reading bits
  uint16_t key;     // length; the highest bit holds `running`
  uint32_t source;
};
static_assert(sizeof(MessageHeader) == 8);
inline constexpr uint16_t kRunningKeyBit = 0x8000;
static_assert(kMaxKeyBytes < kRunningKeyBit);

constexpr size_t PaddedKeySize(size_t size) { return (size + 7) / 8 * 8; }

// The most bytes that a sample can take.
inline constexpr size_t kMaxSampleBytes =
    sizeof(MessageHeader) + sizeof(Micros) + 5 * sizeof(double) + PaddedKeySize(kMaxKeyBytes);

// Writes a key padded with zeros to 8 bytes; returns where it ends. Keys are short: words are
// copied rather than memcpy called.
inline char* PutKey(const char* key, size_t size, char* out) noexcept {
  constexpr size_t kWord = sizeof(uint64_t);
  uint64_t word = 0;
  size_t done = 0;
  for (; done + kWord <= size; done += kWord) {
    std::memcpy(&word, key + done, kWord);
    std::memcpy(out + done, &word, kWord);
  }
  if (done == size) return out + size;
  word = 0;
  if (size > kWord && std::endian::native == std::endian::little) {
    std::memcpy(&word, key + size - kWord, kWord);
    word >>= 8 * (kWord - size % kWord);
  } else {
    std::memcpy(&word, key + done, size - done);
  }
  std::memcpy(out + done, &word, kWord);
  return out + done + kWord;
}

// Writes a sample whose key is no longer than kMaxKeyBytes: header, time, a double for each numeric
// reading that is present, the key padded to 8. Inline, since an insert pays for it with every row.
inline size_t WriteSample(const Sample& sample, char* out) noexcept {
  const size_t key_size = sample.container.size();
  MessageHeader header = {static_cast<uint8_t>(MessageKind::kSample), sample.present,
                          static_cast<uint16_t>(key_size), sample.source};
  if ((sample.present & kRunning) != 0 && sample.running) header.key |= kRunningKeyBit;
  char* place = out;
  const auto put = [&place](const auto& value) {
    std::memcpy(place, &value, sizeof value);
    place += sizeof value;
  };
  put(header);
  put(sample.at);
  if ((sample.present & kCpu) != 0) put(sample.cpu);
  if ((sample.present & kMemory) != 0) put(sample.memory);
  if ((sample.present & kMemoryUsed) != 0) put(sample.memory_used);
  if ((sample.present & kMemoryLimit) != 0) put(sample.memory_limit);
  if ((sample.present & kRestarts) != 0) put(sample.restarts);
  place = PutKey(sample.container.data(), key_size, place);
  return static_cast<size_t>(place - out);
}

// Bytes that WriteMessage will write: a multiple of 8.
size_t MessageSize(const Message& message) noexcept;
// Writes to `out`, which has MessageSize bytes; returns that size.
size_t WriteMessage(const Message& message, char* out) noexcept;

// Reads messages one after another; views point into the given bytes.
class MessageReader {
 public:
  explicit MessageReader(std::string_view bytes) : bytes_(bytes) {}
  // False at the end or when the bytes are malformed.
  bool Next(Message* message) noexcept;
  bool malformed() const { return malformed_; }

 private:
  std::string_view bytes_;
  size_t position_ = 0;
  bool malformed_ = false;
};

}  // namespace alerting

#endif  // ALERTING_CORE_MESSAGE_H_
