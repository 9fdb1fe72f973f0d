// From the plain columns of a tuple to the bytes of a sample, in one pass: what an insert pays for
// with every row. Any backend.
#ifndef ALERTING_EXT_ROW_WRITER_H_
#define ALERTING_EXT_ROW_WRITER_H_

#include <array>
#include <string>

#include "core/message.h"
#include "ext/source_mapping.h"
#include "pg/guard.h"

namespace alerting::ext {

class RowWriter {
 public:
  // False: the mapping is of more than plain columns whose types are read here.
  bool Build(const SourceMapping& mapping, TupleDesc descriptor);

  // A slot's columns up to this one have to be deformed before it is written.
  AttrNumber last_column() const { return last_column_; }
  // The columns read, as PostgreSQL counts those that an UPDATE sets. Allocates.
  Bitmapset* Columns() const;
  // Whether rows leave memory behind in the current context.
  bool has_numeric() const { return has_numeric_; }
  // Whether Write() of this row surely raises no error.
  bool IsSafe(const TupleTableSlot* slot) const {
    if (has_numeric_) return false;
    if (key_form_ != Form::kKeyText || slot->tts_isnull[key_column_]) return true;
    const auto* key = reinterpret_cast<const char*>(slot->tts_values[key_column_]);
    return !VARATT_IS_EXTERNAL(key) && !VARATT_IS_COMPRESSED(key);
  }

  // Writes the row's sample to `out`, which has room for kMaxSampleBytes, and returns its size; 0
  // when the row is none. PostgreSQL code without nontrivial locals.
  size_t Write(const TupleTableSlot* slot, SampleContext* context, char* out) const;

 private:
  enum class Form : uint8_t {
    kNone,
    kFloat8,
    kFloat4,
    kInt2,
    kInt4,
    kInt8,
    kNumeric,
    kBool,  // figures
    kTimestamp,
    kEpochInt4,
    kEpochInt8,  // times
    kKeyInt2,
    kKeyInt4,
    kKeyInt8,
    kKeyUuid,
    kKeyText  // containers
  };
  struct Figure {
    int16_t column;  // counted from 0
    Form form;
    Reading reading;
  };
  static double Number(Form form, Datum value);
  int16_t Column(const std::string& expression, TupleDesc descriptor);
  bool BuildKey(const SourceMapping& mapping, TupleDesc descriptor);
  bool BuildTime(const SourceMapping& mapping, TupleDesc descriptor);
  bool BuildFigure(const std::string& expression, Reading reading, TupleDesc descriptor);
  bool ReadTime(Datum value, Micros* at) const;
  struct Key {
    const char* bytes;
    size_t size;
  };
  Key ReadKey(const Datum& value, char* room) const;

  uint32_t source_ = 0;
  AttrNumber last_column_ = 0;
  int16_t key_column_ = 0;
  int16_t time_column_ = 0;
  Form key_form_ = Form::kNone;
  Form time_form_ = Form::kNone;
  bool has_numeric_ = false;
  int8_t figure_count_ = 0;
  std::array<Figure, 6> figures_;  // in the order of a message's doubles
  int64_t epoch_unit_ = 1;         // microseconds per unit of an integer time
};

}  // namespace alerting::ext

#endif  // ALERTING_EXT_ROW_WRITER_H_
