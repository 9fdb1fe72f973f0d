// Implements ext/row_writer.h.
#include "ext/row_writer.h"

#include <algorithm>
#include <cmath>

#include "pg/spi.h"

namespace alerting::ext {

namespace {

Oid ColumnType(TupleDesc descriptor, int16_t column) {
  return TupleDescAttr(descriptor, column)->atttypid;
}

}  // namespace

bool RowWriter::Build(const SourceMapping& mapping, TupleDesc descriptor) {
  source_ = mapping.id;
  last_column_ = 0;
  figure_count_ = 0;
  has_numeric_ = false;
  return BuildKey(mapping, descriptor) && BuildTime(mapping, descriptor) &&
         BuildFigure(mapping.cpu, kCpu, descriptor) &&
         BuildFigure(mapping.memory, kMemory, descriptor) &&
         BuildFigure(mapping.memory_used, kMemoryUsed, descriptor) &&
         BuildFigure(mapping.memory_limit, kMemoryLimit, descriptor) &&
         BuildFigure(mapping.restarts, kRestarts, descriptor) &&
         BuildFigure(mapping.running, kRunning, descriptor);
}

Bitmapset* RowWriter::Columns() const {
  const auto member = [](int column) { return column + 1 - FirstLowInvalidHeapAttributeNumber; };
  Bitmapset* columns = bms_add_member(nullptr, member(key_column_));
  columns = bms_add_member(columns, member(time_column_));
  for (int i = 0; i < figure_count_; ++i) {
    columns = bms_add_member(columns, member(figures_[static_cast<size_t>(i)].column));
  }
  return columns;
}

// The column that an expression names, -1 when it is no plain column.
int16_t RowWriter::Column(const std::string& expression, TupleDesc descriptor) {
  for (int16_t i = 0; i < descriptor->natts; ++i) {
    const Form_pg_attribute attribute = TupleDescAttr(descriptor, i);
    if (attribute->attisdropped) continue;
    if (expression == pg::QuoteIdentifier(NameStr(attribute->attname))) {
      last_column_ = std::max(last_column_, attribute->attnum);
      return i;
    }
  }
  return -1;
}

bool RowWriter::BuildKey(const SourceMapping& mapping, TupleDesc descriptor) {
  key_column_ = Column(mapping.container, descriptor);
  key_form_ = Form::kNone;
  if (key_column_ < 0) return false;
  const Oid type = ColumnType(descriptor, key_column_);
  if (mapping.key_kind == KeyKind::kInt8) {
    if (type == INT2OID) key_form_ = Form::kKeyInt2;
    if (type == INT4OID) key_form_ = Form::kKeyInt4;
    if (type == INT8OID) key_form_ = Form::kKeyInt8;
  }
  if (mapping.key_kind == KeyKind::kUuid && type == UUIDOID) key_form_ = Form::kKeyUuid;
  if (mapping.key_kind == KeyKind::kText && (type == TEXTOID || type == VARCHAROID)) {
    key_form_ = Form::kKeyText;
  }
  return key_form_ != Form::kNone;
}

bool RowWriter::BuildTime(const SourceMapping& mapping, TupleDesc descriptor) {
  time_column_ = Column(mapping.at, descriptor);
  time_form_ = Form::kNone;
  if (time_column_ < 0) return false;
  switch (ColumnType(descriptor, time_column_)) {
    case TIMESTAMPTZOID:
      time_form_ = Form::kTimestamp;
      break;
    case TIMESTAMPOID:
      // The same number of microseconds when the zone is UTC.
      if (mapping.time_zone == "UTC") time_form_ = Form::kTimestamp;
      break;
    case INT4OID:
      time_form_ = Form::kEpochInt4;
      break;
    case INT8OID:
      time_form_ = Form::kEpochInt8;
      break;
    default:
      break;
  }
  epoch_unit_ = mapping.at_unit == "us" ? 1 : mapping.at_unit == "ms" ? kMillisecond : kSecond;
  return time_form_ != Form::kNone;
}

bool RowWriter::BuildFigure(const std::string& expression, Reading reading, TupleDesc descriptor) {
  if (expression.empty()) return true;
  const int16_t column = Column(expression, descriptor);
  if (column < 0) return false;
  Form form = Form::kNone;
  switch (ColumnType(descriptor, column)) {
    case FLOAT8OID:
      form = Form::kFloat8;
      break;
    case FLOAT4OID:
      form = Form::kFloat4;
      break;
    case INT2OID:
      form = Form::kInt2;
      break;
    case INT4OID:
      form = Form::kInt4;
      break;
    case INT8OID:
      form = Form::kInt8;
      break;
    case NUMERICOID:
      form = Form::kNumeric;
      break;
    case BOOLOID:
      form = Form::kBool;
      break;
    default:
      break;
  }
  // Others are cast by a query, or are errors there.
  if (form == Form::kNone || (form == Form::kBool) != (reading == kRunning)) return false;
  has_numeric_ = has_numeric_ || form == Form::kNumeric;
  figures_[static_cast<size_t>(figure_count_++)] = {column, form, reading};
  return true;
}

inline double RowWriter::Number(Form form, Datum value) {
  switch (form) {
    case Form::kFloat8:
      return DatumGetFloat8(value);
    case Form::kFloat4:
      return static_cast<double>(DatumGetFloat4(value));
    case Form::kInt2:
      return DatumGetInt16(value);
    case Form::kInt4:
      return DatumGetInt32(value);
    case Form::kInt8:
      return static_cast<double>(DatumGetInt64(value));
    case Form::kNumeric:
      // Does not overflow into an error as a cast would.
      return DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, value));
    default:
      return NAN;
  }
}

inline bool RowWriter::ReadTime(Datum value, Micros* at) const {
  if (time_form_ == Form::kTimestamp) {
    *at = DatumGetTimestampTz(value);
    return !TIMESTAMP_NOT_FINITE(*at);
  }
  constexpr int64 kEpochOffset =
      int64{POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE} * SECS_PER_DAY * USECS_PER_SEC;
  const int64 number = time_form_ == Form::kEpochInt4 ? DatumGetInt32(value) : DatumGetInt64(value);
  int64 micros;
  if (__builtin_mul_overflow(number, epoch_unit_, &micros)) return false;
  return !__builtin_sub_overflow(micros, kEpochOffset, at);
}

// The key's bytes, in the row or in `room`.
inline RowWriter::Key RowWriter::ReadKey(const Datum& value, char* room) const {
  if (key_form_ == Form::kKeyText) {
    const text* key = DatumGetTextPP(value);
    return {VARDATA_ANY(key), static_cast<size_t>(VARSIZE_ANY_EXHDR(key))};
  }
  if (key_form_ == Form::kKeyUuid) {
    return {reinterpret_cast<const char*>(DatumGetUUIDP(value)->data), UUID_LEN};
  }
  const int64 number = key_form_ == Form::kKeyInt2   ? DatumGetInt16(value)
                       : key_form_ == Form::kKeyInt4 ? DatumGetInt32(value)
                                                     : DatumGetInt64(value);
  memcpy(room, &number, sizeof number);
  return {room, sizeof number};
}

size_t RowWriter::Write(const TupleTableSlot* slot, SampleContext* context, char* out) const {
  const Datum* values = slot->tts_values;
  const bool* nulls = slot->tts_isnull;
  Micros at;
  if (nulls[key_column_] || nulls[time_column_] || !ReadTime(values[time_column_], &at)) return 0;
  char room[sizeof(int64)];
  const Key key = ReadKey(values[key_column_], room);
  if (key.size > kMaxKeyBytes) return 0;
  SampleBytes bytes(out);
  bytes.Begin(source_, at, key.size, context);
  for (const Figure *figure = figures_.data(), *end = figure + figure_count_; figure != end;
       ++figure) {
    if (nulls[figure->column]) continue;
    const Datum value = values[figure->column];
    if (figure->form == Form::kBool) {
      bytes.PutRunning(DatumGetBool(value));
      continue;
    }
    const double number =
        figure->form == Form::kFloat8 ? DatumGetFloat8(value) : Number(figure->form, value);
    if (std::isfinite(number)) bytes.PutFigure(figure->reading, number);
  }
  return bytes.Finish(key.bytes);
}

}  // namespace alerting::ext
