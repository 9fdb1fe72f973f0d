// From the plain columns of a tuple to the bytes of a sample, in one pass: what an insert pays for
// with every row. Any backend.
#ifndef ALERTING_EXT_CAPTURE_ROW_WRITER_H_
#define ALERTING_EXT_CAPTURE_ROW_WRITER_H_

#include <array>
#include <string>
#include <vector>

#include "core/message.h"
#include "ext/host/column_reader.h"
#include "ext/host/source_mapping.h"
#include "pg/guard.h"

namespace alerting::ext {

class RowWriter {
 public:
  // False: the mapping is of more than plain columns whose types are read here.
  bool Build(const SourceMapping& mapping, TupleDesc descriptor);

  // The columns read, as PostgreSQL counts those that an UPDATE sets. Allocates.
  Bitmapset* Columns() const;

  // Reads the columns of a row, of which the values are views. Raises no error.
  void Read(TupleTableSlot* slot, ColumnValues* row) const { reader_.Read(slot, row); }
  // Whether Write() of this row surely raises no error and allocates nothing.
  bool IsSafe(const ColumnValues& row) const {
    if (has_numeric_) return false;
    const char* key = row.values[key_place_];
    if (key_form_ != Form::kKeyText || key == nullptr) return true;
    return !VARATT_IS_EXTERNAL(key) && !VARATT_IS_COMPRESSED(key);
  }
  // Writes the row's sample to `out`, which has room for kMaxSampleBytes, and returns its size; 0
  // when the row is none. PostgreSQL code without nontrivial locals.
  size_t Write(const ColumnValues& row, SampleContext* context, char* out) const;

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
    uint8_t place;  // in ColumnValues
    Form form;
    Reading reading;
  };
  // While the mapping is looked through: the columns that it names, by their places.
  struct Building {
    const SourceMapping& mapping;
    TupleDesc descriptor;
    std::vector<int16_t> columns;

    // The place of the column that an expression names and its type; false when it names none.
    bool Find(const std::string& expression, uint8_t* place, Oid* type);
  };
  static double Number(Form form, const char* value);
  bool BuildKey(Building* building);
  bool BuildTime(Building* building);
  bool BuildFigure(const std::string& expression, Reading reading, Building* building);
  bool ReadTime(const char* value, Micros* at) const;
  struct Key {
    const char* bytes;
    size_t size;
  };
  Key ReadKey(const char* value, char* room) const;

  uint32_t source_ = 0;
  ColumnReader reader_;
  uint8_t key_place_ = 0;
  uint8_t time_place_ = 0;
  Form key_form_ = Form::kNone;
  Form time_form_ = Form::kNone;
  bool has_numeric_ = false;
  int8_t figure_count_ = 0;
  std::array<Figure, 6> figures_;  // in the order of a message's doubles
  int64_t epoch_unit_ = 1;         // microseconds per unit of an integer time
};

}  // namespace alerting::ext

#endif  // ALERTING_EXT_CAPTURE_ROW_WRITER_H_
