// Implements pg/jsonb_text.h.
#include "pg/jsonb_text.h"

#include <cstdint>
#include <cstring>

namespace alerting::pg {

namespace {

// Whether a byte of these eight is a control character, a quote or a backslash. (Where a byte is
// less than n, taking n from it borrows, and its highest bit was not set.)
bool HasEscaped(uint64_t bytes) {
  constexpr uint64_t kOnes = 0x0101010101010101, kHighest = 0x8080808080808080;
  const auto has_less = [](uint64_t word, uint64_t n) { return (word - kOnes * n) & ~word; };
  return ((has_less(bytes, ' ') | has_less(bytes ^ (kOnes * '"'), 1) |
           has_less(bytes ^ (kOnes * '\\'), 1)) &
          kHighest) != 0;
}

bool HasEscaped(const char* text, int size) {
  uint64_t bytes;
  int at = 0;
  for (; at + 8 <= size; at += 8) {
    memcpy(&bytes, text + at, 8);
    if (HasEscaped(bytes)) return true;
  }
  bytes = UINT64_MAX;
  for (int i = at; i < size; ++i) bytes = bytes << 8 | static_cast<unsigned char>(text[i]);
  return HasEscaped(bytes);
}

// appendBinaryStringInfo() without the call, since most are of a byte or two.
inline void Append(StringInfo out, const char* text, int size) {
  if (out->maxlen - out->len <= size) enlargeStringInfo(out, size);
  memcpy(out->data + out->len, text, static_cast<size_t>(size));
  out->len += size;
}

void AppendText(const JsonbValue& value, StringInfo out) {
  const char* text = value.val.string.val;
  const int size = value.val.string.len;
  if (HasEscaped(text, size)) {
    escape_json(out, pnstrdup(text, static_cast<Size>(size)));
    return;
  }
  Append(out, "\"", 1);
  Append(out, text, size);
  Append(out, "\"", 1);
}

void AppendScalar(const JsonbValue& value, StringInfo out) {
  switch (value.type) {
    case jbvString:
      AppendText(value, out);
      break;
    case jbvNumeric:
      appendStringInfoString(out, DatumGetCString(DirectFunctionCall1(
                                      numeric_out, NumericGetDatum(value.val.numeric))));
      break;
    case jbvBool:
      appendStringInfoString(out, value.val.boolean ? "true" : "false");
      break;
    case jbvNull:
      appendStringInfoString(out, "null");
      break;
    default:
      elog(ERROR, "unknown jsonb scalar type %d", value.type);
  }
}

}  // namespace

StringInfoData JsonbText(Datum datum) {
  Jsonb* jsonb = DatumGetJsonbP(datum);
  StringInfoData out;
  initStringInfo(&out);
  enlargeStringInfo(&out, VARSIZE(jsonb));
  bool is_first = true;  // nothing stands before that would need a comma
  bool is_scalar = false;
  JsonbIterator* iterator = JsonbIteratorInit(&jsonb->root);
  JsonbValue value;
  JsonbIteratorToken token;
  while ((token = JsonbIteratorNext(&iterator, &value, /*skipNested=*/false)) != WJB_DONE) {
    const bool is_end = token == WJB_END_ARRAY || token == WJB_END_OBJECT;
    if (!is_first && !is_end) Append(&out, ", ", 2);
    is_first = token == WJB_BEGIN_ARRAY || token == WJB_BEGIN_OBJECT || token == WJB_KEY;
    switch (token) {
      case WJB_BEGIN_ARRAY:
        is_scalar = value.val.array.rawScalar;  // alone in an array that is not written
        if (!is_scalar) Append(&out, "[", 1);
        break;
      case WJB_END_ARRAY:
        if (!is_scalar) Append(&out, "]", 1);
        break;
      case WJB_BEGIN_OBJECT:
        Append(&out, "{", 1);
        break;
      case WJB_END_OBJECT:
        Append(&out, "}", 1);
        break;
      case WJB_KEY:
        AppendText(value, &out);
        Append(&out, ": ", 2);
        break;
      default:
        AppendScalar(value, &out);
        break;
    }
  }
  out.data[out.len] = '\0';
  return out;
}

}  // namespace alerting::pg
