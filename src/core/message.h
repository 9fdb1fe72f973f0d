// The bytes that inserting backends hand to the evaluator: a chunk per transaction, holding
// messages in the order of the transaction's statements. Used by any backend (write) and by the
// evaluator (read); writing neither allocates nor throws, reading survives hostile bytes.
#ifndef ALERTING_CORE_MESSAGE_H_
#define ALERTING_CORE_MESSAGE_H_

#include <algorithm>
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
  kNotice = 7,               // notify with this text
};

struct Message {
  MessageKind kind = MessageKind::kSample;
  // kSample: all of it. kContainerChanged, kContainerDeleted: `container`; kNotice: in that, the
  // text.
  Sample sample;
};

// Longest container key, or text, that fits a message; capture treats a longer key as an unknown
// container.
inline constexpr size_t kMaxKeyBytes = 1024;

// What every message begins with. Small, since each row of an insert pays for its bytes several
// times: written, copied to the queue, read, and mostly into memory not touched before.
struct MessageHeader {
  uint8_t kind;     // MessageKind, and the bits below
  uint8_t present;  // Reading bits
  uint8_t narrow;   // those of figures that are stored as float, being the same number
  uint8_t key;      // its length; kLongKey: 16 bits with the length follow
};
static_assert(sizeof(MessageHeader) == 4);
inline constexpr uint8_t kKindBits = 0x07;
inline constexpr uint8_t kSameSource = 0x08;  // as the sample before
inline constexpr uint8_t kSameTime = 0x10;
inline constexpr uint8_t kIsRunning = 0x20;
inline constexpr uint8_t kLongKey = 255;

// Bits of a double that are zero in each one that is a float, too.
inline constexpr uint64_t kBeyondFloat = (uint64_t{1} << 29) - 1;

// What a sample need not repeat: the source and time of the one before. A reader starts with the
// defaults; a writer that does not know what stands before is not `known`.
struct SampleContext {
  Micros at = kNoTime;
  uint32_t source = 0;
  bool known = true;
};

// The most bytes that a message can take, and that writing it may touch.
inline constexpr size_t kMaxSampleBytes = sizeof(MessageHeader) + sizeof(uint16_t) +
                                          sizeof(uint32_t) + sizeof(Micros) + 5 * sizeof(double) +
                                          kMaxKeyBytes + sizeof(uint64_t);

// Puts a sample's bytes one after another: Begin, then the figures that are present in the order
// cpu, memory, memory_used, memory_limit, restarts, then Finish. Inline, for an insert does this
// with every row.
class SampleBytes {
 public:
  explicit SampleBytes(char* out) : out_(out), place_(out + sizeof(MessageHeader)) {}

  void Begin(uint32_t source, Micros at, size_t key_size, SampleContext* context) noexcept {
    if (key_size >= kLongKey) Put(static_cast<uint16_t>(key_size));
    if (context->known && source == context->source) {
      flags_ |= kSameSource;
    } else {
      Put(source);
    }
    if (context->known && at == context->at) {
      flags_ |= kSameTime;
    } else {
      Put(at);
    }
    *context = {at, source, true};
    key_size_ = key_size;
  }
  void PutFigure(Reading reading, double value) noexcept {
    present_ |= reading;
    // Has digits that no float holds, as most figures that are measured.
    if ((std::bit_cast<uint64_t>(value) & kBeyondFloat) != 0) {
      Put(value);
      return;
    }
    const auto half = static_cast<float>(value);
    if (static_cast<double>(half) == value) {
      Put(half);
      narrow_ |= reading;
    } else {
      Put(value);
    }
  }
  void PutRunning(bool running) noexcept {
    present_ |= kRunning;
    if (running) flags_ |= kIsRunning;
  }
  // Writes up to 7 bytes more than it returns.
  size_t Finish(const char* key) noexcept {
    const MessageHeader header = {
        static_cast<uint8_t>(static_cast<unsigned>(MessageKind::kSample) | flags_),
        static_cast<uint8_t>(present_), static_cast<uint8_t>(narrow_),
        static_cast<uint8_t>(std::min<size_t>(key_size_, kLongKey))};
    std::memcpy(out_, &header, sizeof header);
    PutKey(key);
    return static_cast<size_t>(place_ - out_) + key_size_;
  }

 private:
  template <typename T>
  void Put(const T& value) noexcept {
    std::memcpy(place_, &value, sizeof value);
    place_ += sizeof value;
  }
  // Keys are short: words are copied rather than memcpy called.
  void PutKey(const char* key) noexcept {
    constexpr size_t kWord = sizeof(uint64_t);
    uint64_t word = 0;
    size_t done = 0;
    for (; done + kWord <= key_size_; done += kWord) {
      std::memcpy(&word, key + done, kWord);
      std::memcpy(place_ + done, &word, kWord);
    }
    if (done == key_size_) return;
    if (key_size_ > kWord) {
      std::memcpy(&word, key + key_size_ - kWord, kWord);
      std::memcpy(place_ + key_size_ - kWord, &word, kWord);
    } else {
      std::memcpy(place_ + done, key + done, key_size_ - done);
    }
  }

  char* const out_;
  char* place_;
  size_t key_size_ = 0;
  // Wider than what they become: no partial registers.
  unsigned flags_ = 0;
  unsigned present_ = 0;
  unsigned narrow_ = 0;
};

// Writes a sample whose key is no longer than kMaxKeyBytes, in at most kMaxSampleBytes.
inline size_t WriteSample(const Sample& sample, SampleContext* context, char* out) noexcept {
  SampleBytes bytes(out);
  bytes.Begin(sample.source, sample.at, sample.container.size(), context);
  if ((sample.present & kCpu) != 0) bytes.PutFigure(kCpu, sample.cpu);
  if ((sample.present & kMemory) != 0) bytes.PutFigure(kMemory, sample.memory);
  if ((sample.present & kMemoryUsed) != 0) bytes.PutFigure(kMemoryUsed, sample.memory_used);
  if ((sample.present & kMemoryLimit) != 0) bytes.PutFigure(kMemoryLimit, sample.memory_limit);
  if ((sample.present & kRestarts) != 0) bytes.PutFigure(kRestarts, sample.restarts);
  if ((sample.present & kRunning) != 0) bytes.PutRunning(sample.running);
  return bytes.Finish(sample.container.data());
}

// Bytes that WriteMessage may touch.
size_t MessageSize(const Message& message) noexcept;
// Writes to `out`, which has MessageSize bytes; returns the bytes that are the message.
size_t WriteMessage(const Message& message, SampleContext* context, char* out) noexcept;

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
  SampleContext before_;
  bool malformed_ = false;
};

}  // namespace alerting

#endif  // ALERTING_CORE_MESSAGE_H_
