// The bytes that inserting backends hand to the evaluator: a chunk per transaction, holding
// messages in the order of the transaction's statements. Used by any backend (write) and by the
// evaluator (read); writing neither allocates nor throws, reading survives hostile bytes.
#ifndef ALERTING_CORE_MESSAGE_H_
#define ALERTING_CORE_MESSAGE_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/sample.h"

namespace alerting {

enum class MessageKind : uint8_t {
  kSample = 1,
  kRulesChanged = 2,      // reload the rules
  kContainerChanged = 3,  // look this container up again: moved or deleted
  kBindingChanged = 4,    // reload binding and sources, and start over
  kReplay = 5,            // source `sample.source` has rows from `sample.at` on: read its table
};

struct Message {
  MessageKind kind = MessageKind::kSample;
  Sample sample;  // kSample: all; kContainerChanged: container; kReplay: source and at
};

// Longest container key that fits a message; capture treats a longer one as an unknown container.
inline constexpr size_t kMaxKeyBytes = 1024;

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
