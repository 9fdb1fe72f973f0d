// Implements ext/capture_source.h.
#include "ext/capture_source.h"

#include <cmath>
#include <unordered_map>

#include "pg/transaction.h"

namespace alerting::ext {

namespace {

using Cache = std::unordered_map<Oid, std::unique_ptr<CaptureSource>>;

// Never destroyed: the process may exit while PostgreSQL still calls back.
constinit Cache* cache = nullptr;

// The column that an expression names, 0 when it is no plain column.
AttrNumber PlainColumn(const std::string& expression, TupleDesc descriptor) {
  for (int i = 0; i < descriptor->natts; ++i) {
    const Form_pg_attribute attribute = TupleDescAttr(descriptor, i);
    if (attribute->attisdropped) continue;
    if (expression == pg::QuoteIdentifier(NameStr(attribute->attname))) {
      return attribute->attnum;
    }
  }
  return 0;
}

Oid ColumnType(TupleDesc descriptor, AttrNumber column) {
  return TupleDescAttr(descriptor, column - 1)->atttypid;
}

double FigureFromDatum(ColumnReader::Form form, Datum value) {
  using Form = ColumnReader::Form;
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

}  // namespace

void InvalidateCaptureSources(Oid relation) {
  if (cache == nullptr) return;
  for (auto& [trigger, source] : *cache) {
    if (relation == InvalidOid || source->relation_ == relation) source->valid_ = false;
  }
}

extern "C" void OnRelcacheInvalidation(Datum /*argument*/, Oid relation) {
  InvalidateCaptureSources(relation);
}

CaptureSource* CaptureSource::For(const TriggerData* trigger_data) {
  if (cache == nullptr) {
    cache = new Cache;
    pg::Call([&] { CacheRegisterRelcacheCallback(OnRelcacheInvalidation, Datum{0}); });
  }
  // Mostly the same table's trigger again.
  static constinit Oid last_trigger = InvalidOid;
  static constinit CaptureSource* last = nullptr;
  const Oid trigger = trigger_data->tg_trigger->tgoid;
  if (trigger != last_trigger) {
    auto [entry, is_new] = cache->try_emplace(trigger);
    if (is_new) entry->second.reset(new CaptureSource);
    last = entry->second.get();
    last_trigger = trigger;
  }
  CaptureSource* source = last;
  if (!source->valid_) source->Build(trigger_data);
  return source->broken_ ? nullptr : source;
}

void CaptureSource::Build(const TriggerData* trigger_data) {
  const Relation relation = trigger_data->tg_relation;
  transition_.reset();
  row_.reset();
  relation_ = RelationGetRelid(relation);
  owner_ = RelationGetForm(relation)->relowner;
  row_type_ = RelationGetForm(relation)->reltype;
  // Set first: an invalidation that arrives while building must not be lost.
  valid_ = true;
  broken_ = false;
  const SourceMapping mapping = MappingFromTrigger(trigger_data->tg_trigger);
  id_ = mapping.id;
  key_kind_ = mapping.key_kind;
  is_direct_ = BuildDirect(mapping, RelationGetDescr(relation));
  if (is_direct_) return;
  try {
    const pg::UserScope user(owner_, true);
    pg::Subtransaction savepoint;
    {
      const pg::SafeSearchPath path;
      const pg::SpiConnection connection;
      const std::string name = pg::QualifiedName(relation_);
      const std::string list = SelectList(mapping, name + " m");
      transition_.emplace("SELECT " + list + " FROM alerting_new m");
      row_.emplace("SELECT " + list + " FROM (SELECT ($1).*) m");
      // Planned here, so that a mapping that no longer fits its table is noticed here.
      (void)RowPlan();
    }
    savepoint.Release();
  } catch (const pg::Error& error) {
    if (error.sqlstate() == ERRCODE_QUERY_CANCELED) throw;
    broken_ = true;
    const std::string table = RelationGetRelationName(relation);
    const std::string problem = error.what();
    pg::Call([&] {
      ereport(WARNING, (errcode(ERRCODE_UNDEFINED_COLUMN),
                        errmsg("alerting: the mapping of table \"%s\" no longer fits it; its rows "
                               "are not evaluated",
                               table.c_str()),
                        errdetail("%s", problem.c_str()),
                        errhint("Call alerting.attach_metrics() again for this table.")));
    });
  }
}

ColumnReader CaptureSource::Figure(const std::string& expression, TupleDesc descriptor,
                                   bool* direct) {
  using Form = ColumnReader::Form;
  if (expression.empty()) return {};
  const AttrNumber column = PlainColumn(expression, descriptor);
  Form form = Form::kNone;
  if (column != 0) {
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
  }
  if (form == Form::kNone) *direct = false;
  if (form == Form::kNumeric) has_numeric_ = true;
  return {form, column};
}

ColumnReader CaptureSource::Time(const SourceMapping& mapping, TupleDesc descriptor, bool* direct) {
  using Form = ColumnReader::Form;
  const AttrNumber column = PlainColumn(mapping.at, descriptor);
  Form form = Form::kNone;
  if (column != 0) {
    switch (ColumnType(descriptor, column)) {
      case TIMESTAMPTZOID:
        form = Form::kTimestamp;
        break;
      case TIMESTAMPOID:
        // The same number of microseconds when the zone is UTC.
        if (mapping.time_zone == "UTC") form = Form::kTimestamp;
        break;
      case INT4OID:
        form = Form::kEpochInt4;
        break;
      case INT8OID:
        form = Form::kEpochInt8;
        break;
      default:
        break;
    }
  }
  if (form == Form::kNone) *direct = false;
  epoch_unit_ = mapping.at_unit == "us" ? 1 : mapping.at_unit == "ms" ? kMillisecond : kSecond;
  return {form, column};
}

ColumnReader CaptureSource::Key(const SourceMapping& mapping, TupleDesc descriptor, bool* direct) {
  using Form = ColumnReader::Form;
  const AttrNumber column = PlainColumn(mapping.container, descriptor);
  Form form = Form::kNone;
  if (column != 0) {
    const Oid type = ColumnType(descriptor, column);
    if (mapping.key_kind == KeyKind::kInt8) {
      if (type == INT2OID) form = Form::kKeyInt2;
      if (type == INT4OID) form = Form::kKeyInt4;
      if (type == INT8OID) form = Form::kKeyInt8;
    }
    if (mapping.key_kind == KeyKind::kUuid && type == UUIDOID) form = Form::kKeyUuid;
    if (mapping.key_kind == KeyKind::kText && (type == TEXTOID || type == VARCHAROID)) {
      form = Form::kKeyText;
    }
  }
  if (form == Form::kNone) *direct = false;
  return {form, column};
}

bool CaptureSource::BuildDirect(const SourceMapping& mapping, TupleDesc descriptor) {
  bool direct = true;
  has_numeric_ = false;
  readers_ = {Key(mapping, descriptor, &direct),
              Time(mapping, descriptor, &direct),
              Figure(mapping.cpu, descriptor, &direct),
              Figure(mapping.memory, descriptor, &direct),
              Figure(mapping.memory_used, descriptor, &direct),
              Figure(mapping.memory_limit, descriptor, &direct),
              Figure(mapping.running, descriptor, &direct),
              Figure(mapping.restarts, descriptor, &direct)};
  last_column_ = 0;
  for (const ColumnReader& reader : readers_) last_column_ = std::max(last_column_, reader.column);
  return direct;
}

bool CaptureSource::ReadSlot(const TupleTableSlot* slot, KeyBytes* key, Sample* sample) const {
  using Form = ColumnReader::Form;
  const Datum* values = slot->tts_values;
  const bool* nulls = slot->tts_isnull;
  const ColumnReader& container = readers_[0];
  const ColumnReader& time = readers_[1];
  if (nulls[container.column - 1] || nulls[time.column - 1]) return false;

  const Datum at = values[time.column - 1];
  if (time.form == Form::kTimestamp) {
    sample->at = DatumGetTimestampTz(at);
    if (TIMESTAMP_NOT_FINITE(sample->at)) return false;
  } else {
    const int64 number = time.form == Form::kEpochInt4 ? DatumGetInt32(at) : DatumGetInt64(at);
    int64 micros;
    constexpr int64 kEpochOffset =
        int64{POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE} * SECS_PER_DAY * USECS_PER_SEC;
    if (__builtin_mul_overflow(number, epoch_unit_, &micros) ||
        __builtin_sub_overflow(micros, kEpochOffset, &micros)) {
      return false;
    }
    sample->at = micros;
  }

  const Datum id = values[container.column - 1];
  switch (container.form) {
    case Form::kKeyInt2:
      KeyFromDatum(KeyKind::kInt8, Int64GetDatum(DatumGetInt16(id)), key);
      break;
    case Form::kKeyInt4:
      KeyFromDatum(KeyKind::kInt8, Int64GetDatum(DatumGetInt32(id)), key);
      break;
    case Form::kKeyInt8:
      KeyFromDatum(KeyKind::kInt8, id, key);
      break;
    case Form::kKeyUuid:
      KeyFromDatum(KeyKind::kUuid, id, key);
      break;
    default:
      KeyFromDatum(KeyKind::kText, id, key);
      break;
  }
  sample->container = key->view;
  sample->source = id_;
  sample->present = 0;

  double* const figures[] = {&sample->cpu,          &sample->memory, &sample->memory_used,
                             &sample->memory_limit, nullptr,         &sample->restarts};
  static constexpr Reading kReadings[] = {kCpu,         kMemory,  kMemoryUsed,
                                          kMemoryLimit, kRunning, kRestarts};
  for (int i = 0; i < 6; ++i) {
    const ColumnReader& reader = readers_[static_cast<size_t>(i) + 2];
    if (reader.form == Form::kNone || nulls[reader.column - 1]) continue;
    const Datum value = values[reader.column - 1];
    if (kReadings[i] == kRunning) {
      if (reader.form != Form::kBool) continue;
      sample->running = DatumGetBool(value);
    } else {
      const double figure = FigureFromDatum(reader.form, value);
      if (!std::isfinite(figure)) continue;
      *figures[i] = figure;
    }
    sample->present = static_cast<uint8_t>(sample->present | kReadings[i]);
  }
  return true;
}

SPIPlanPtr CaptureSource::TransitionPlan(const TriggerData* /*trigger_data*/) {
  return transition_->Plan({});
}

SPIPlanPtr CaptureSource::RowPlan() { return row_->Plan({row_type_}); }

bool CaptureSource::MayWarn() {
  const TimestampTz now = GetCurrentTimestamp();
  if (now < AddTime(warned_at_, kMinute)) return false;
  warned_at_ = now;
  return true;
}

}  // namespace alerting::ext
