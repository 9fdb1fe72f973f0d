// Implements ext/webhook/text_encoding.h.
#include "ext/webhook/text_encoding.h"

#include "core/safe_text.h"
#include "pg/guard.h"

namespace alerting::ext {

namespace {

bool IsUtf8(const std::string& text) {
  return pg_verify_mbstr(PG_UTF8, text.data(), static_cast<int>(text.size()), true);
}

}  // namespace

std::optional<std::string> ToUtf8(std::string text) {
  const int encoding = GetDatabaseEncoding();
  if (encoding == PG_UTF8) return text;
  if (encoding == PG_SQL_ASCII) return IsUtf8(text) ? std::optional(std::move(text)) : std::nullopt;
  const Oid conversion = pg::Call([&] { return FindDefaultConversionProc(encoding, PG_UTF8); });
  if (!OidIsValid(conversion)) return std::nullopt;
  // MAX_CONVERSION_GROWTH is the most that any conversion makes of a byte.
  std::string converted(text.size() * MAX_CONVERSION_GROWTH + 1, '\0');
  unsigned char* source = reinterpret_cast<unsigned char*>(text.data());
  unsigned char* target = reinterpret_cast<unsigned char*>(converted.data());
  const int taken = pg::Call([&] {
    return pg_do_encoding_conversion_buf(conversion, encoding, PG_UTF8, source,
                                         static_cast<int>(text.size()), target,
                                         static_cast<int>(converted.size()), true);
  });
  if (taken < static_cast<int>(text.size())) return std::nullopt;
  converted.resize(strlen(converted.c_str()));
  return converted;
}

std::string ResponseText(std::string_view bytes) {
  return SafeText(bytes, GetDatabaseEncoding() != PG_UTF8);
}

}  // namespace alerting::ext
