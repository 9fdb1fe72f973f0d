// Implements ext/capture/row_writer.h.
#include "ext/capture/row_writer.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "pg/spi.h"

namespace alerting::ext {

namespace {

// A value as it lies in a tuple.
template <typename T>
T As(const char* value) {
  T result;
  memcpy(&result, value, sizeof result);
  return result;
}

}  // namespace

bool RowWriter::Build(const SourceMapping& mapping, TupleDesc descriptor) {
  source_ = mapping.id;
  figure_count_ = 0;
  has_numeric_ = false;
  Building building = {mapping, descriptor, {}};
  const bool is_plain = BuildKey(&building) && BuildTime(&building) &&
                        BuildFigure(mapping.cpu, kCpu, &building) &&
                        BuildFigure(mapping.memory, kMemory, &building) &&
                        BuildFigure(mapping.memory_used, kMemoryUsed, &building) &&
                        BuildFigure(mapping.memory_limit, kMemoryLimit, &building) &&
                        BuildFigure(mapping.restarts, kRestarts, &building) &&
                        BuildFigure(mapping.running, kRunning, &building);
  if (is_plain) reader_.Build(building.columns, descriptor);
  return is_plain;
}

Bitmapset* RowWriter::Columns() const {
  Bitmapset* columns = nullptr;
  for (const int16_t column : reader_.columns()) {
    columns = bms_add_member(columns, column + 1 - FirstLowInvalidHeapAttributeNumber);
  }
  return columns;
}

bool RowWriter::Building::Find(const std::string& expression, uint8_t* place, Oid* type) {
  for (int16_t i = 0; i < descriptor->natts; ++i) {
    const Form_pg_attribute attribute = TupleDescAttr(descriptor, i);
    if (attribute->attisdropped) continue;
    if (expression != pg::QuoteIdentifier(NameStr(attribute->attname))) continue;
    if (pg::IsVirtual(attribute)) return false;
    auto found = std::find(columns.begin(), columns.end(), i);
    if (found == columns.end()) found = columns.insert(found, i);
    *place = static_cast<uint8_t>(found - columns.begin());
    // A domain's values are those of the type beneath, and were checked when they were written.
    *type = pg::Call([&] { return getBaseType(attribute->atttypid); });
    return true;
  }
  return false;
}

bool RowWriter::BuildKey(Building* building) {
  const SourceMapping& mapping = building->mapping;
  key_form_ = Form::kNone;
  Oid type;
  if (!building->Find(mapping.container, &key_place_, &type)) return false;
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

bool RowWriter::BuildTime(Building* building) {
  const SourceMapping& mapping = building->mapping;
  time_form_ = Form::kNone;
  Oid type;
  if (!building->Find(mapping.at, &time_place_, &type)) return false;
  switch (type) {
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

bool RowWriter::BuildFigure(const std::string& expression, Reading reading, Building* building) {
  if (expression.empty()) return true;
  uint8_t place;
  Oid type;
  if (!building->Find(expression, &place, &type)) return false;
  Form form = Form::kNone;
  switch (type) {
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
  figures_[static_cast<size_t>(figure_count_++)] = {place, form, reading};
  return true;
}

inline double RowWriter::Number(Form form, const char* value) {
  switch (form) {
    case Form::kFloat8:
      return As<float8>(value);
    case Form::kFloat4:
      return static_cast<double>(As<float4>(value));
    case Form::kInt2:
      return As<int16>(value);
    case Form::kInt4:
      return As<int32>(value);
    case Form::kInt8:
      return static_cast<double>(As<int64>(value));
    case Form::kNumeric:
      // Does not overflow into an error as a cast would.
      return DatumGetFloat8(
          DirectFunctionCall1(numeric_float8_no_overflow, PointerGetDatum(value)));
    default:
      return NAN;
  }
}

inline bool RowWriter::ReadTime(const char* value, Micros* at) const {
  if (time_form_ == Form::kTimestamp) {
    *at = As<TimestampTz>(value);
    return !TIMESTAMP_NOT_FINITE(*at);
  }
  constexpr int64 kEpochOffset =
      int64{POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE} * SECS_PER_DAY * USECS_PER_SEC;
  const int64 number = time_form_ == Form::kEpochInt4 ? As<int32>(value) : As<int64>(value);
  int64 micros;
  if (__builtin_mul_overflow(number, epoch_unit_, &micros)) return false;
  // What PostgreSQL has no time for could not be told of in an alert.
  return !__builtin_sub_overflow(micros, kEpochOffset, at) && IS_VALID_TIMESTAMP(*at);
}

// The key's bytes, in the row or in `room`.
inline RowWriter::Key RowWriter::ReadKey(const char* value, char* room) const {
  if (key_form_ == Form::kKeyText) {
    if (VARATT_IS_EXTERNAL(value) || VARATT_IS_COMPRESSED(value)) {
      const Size size = toast_raw_datum_size(PointerGetDatum(value)) - VARHDRSZ;
      if (size > kMaxKeyBytes) return {nullptr, size};  // whatever it takes to unpack
      value = reinterpret_cast<const char*>(DatumGetTextPP(PointerGetDatum(value)));
    }
    return {VARDATA_ANY(value), static_cast<size_t>(VARSIZE_ANY_EXHDR(value))};
  }
  if (key_form_ == Form::kKeyUuid) return {value, UUID_LEN};
  const int64 number = key_form_ == Form::kKeyInt2   ? As<int16>(value)
                       : key_form_ == Form::kKeyInt4 ? As<int32>(value)
                                                     : As<int64>(value);
  memcpy(room, &number, sizeof number);
  return {room, sizeof number};
}

size_t RowWriter::Write(const ColumnValues& row, SampleContext* context, char* out) const {
  const char* key_value = row.values[key_place_];
  const char* time_value = row.values[time_place_];
  Micros at;
  if (key_value == nullptr || time_value == nullptr || !ReadTime(time_value, &at)) return 0;
  char room[sizeof(int64)];
  const Key key = ReadKey(key_value, room);
  if (key.size > kMaxKeyBytes) return 0;
  SampleBytes bytes(out);
  bytes.Begin(source_, at, key.size, context);
  for (const Figure *figure = figures_.data(), *end = figure + figure_count_; figure != end;
       ++figure) {
    const char* value = row.values[figure->place];
    if (value == nullptr) continue;
    if (figure->form == Form::kBool) {
      bytes.PutRunning(As<bool>(value));
      continue;
    }
    const double number =
        figure->form == Form::kFloat8 ? As<float8>(value) : Number(figure->form, value);
    if (std::isfinite(number)) bytes.PutFigure(figure->reading, number);
  }
  return bytes.Finish(key.bytes);
}

}  // namespace alerting::ext
