#include "core/safe_text.h"

#include <cstdint>

namespace alerting {
namespace {

bool IsContinuation(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

// Bytes that the first byte of a UTF-8 sequence announces; 0: it is none.
size_t AnnouncedLength(unsigned char first) {
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first < 0xe0) return 2;
  if (first >= 0xe0 && first < 0xf0) return 3;
  if (first >= 0xf0 && first < 0xf5) return 4;
  return 0;
}

// Overlong forms, surrogates and numbers above U+10FFFF differ in their second byte.
bool SecondByteFits(unsigned char first, unsigned char second) {
  switch (first) {
    case 0xe0:
      return second >= 0xa0;
    case 0xed:
      return second < 0xa0;
    case 0xf0:
      return second >= 0x90;
    case 0xf4:
      return second < 0x90;
    default:
      return true;
  }
}

// Length of the valid sequence at the start of `bytes`; 0: there is none.
size_t SequenceLength(std::string_view bytes) {
  const auto first = static_cast<unsigned char>(bytes[0]);
  const size_t length = AnnouncedLength(first);
  if (length == 0 || length > bytes.size()) return 0;
  for (size_t i = 1; i < length; ++i) {
    if (!IsContinuation(bytes[i])) return 0;
  }
  if (length > 1 && !SecondByteFits(first, static_cast<unsigned char>(bytes[1]))) return 0;
  return length;
}

// The bytes are the beginning of a sequence whose end is missing.
bool IsCutOff(std::string_view bytes) {
  if (AnnouncedLength(static_cast<unsigned char>(bytes[0])) <= bytes.size()) return false;
  for (size_t i = 1; i < bytes.size(); ++i) {
    if (!IsContinuation(bytes[i])) return false;
  }
  return true;
}

bool IsControl(std::string_view sequence) {
  const auto first = static_cast<unsigned char>(sequence[0]);
  if (sequence.size() == 1) {
    return (first < 0x20 && first != '\t' && first != '\n' && first != '\r') || first == 0x7f;
  }
  return first == 0xc2 && static_cast<unsigned char>(sequence[1]) < 0xa0;  // U+0080 to U+009F
}

}  // namespace

std::string SafeText(std::string_view bytes, bool ascii_only) {
  const std::string_view replacement = ascii_only ? "?" : "\xef\xbf\xbd";
  std::string text;
  text.reserve(bytes.size());
  while (!bytes.empty()) {
    const size_t length = SequenceLength(bytes);
    if (length == 0) {
      if (IsCutOff(bytes)) break;
      text += replacement;
      bytes.remove_prefix(1);
      continue;
    }
    const std::string_view sequence = bytes.substr(0, length);
    text += IsControl(sequence) || (ascii_only && length > 1) ? replacement : sequence;
    bytes.remove_prefix(length);
  }
  return text;
}

}  // namespace alerting
