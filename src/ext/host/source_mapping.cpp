// Implements ext/host/source_mapping.h.
#include "ext/host/source_mapping.h"

#include <array>
#include <cmath>
#include <cstring>

#include "pg/spi.h"

namespace alerting::ext {

namespace {

// Positions in what the capture trigger is given; the SQL that makes the triggers follows them.
enum TriggerArgument : size_t {
  kArgSource,
  kArgKeyKind,
  kArgContainer,
  kArgAt,
  kArgTimeZone,
  kArgAtUnit,
  kArgCpu,
  kArgMemory,
  kArgMemoryUsed,
  kArgMemoryLimit,
  kArgRunning,
  kArgRestarts,
  kTriggerArguments
};

// In one array, since each statement of the host copies every argument of every trigger of its
// table. Those of version 1.0 were one by one.
std::vector<std::string> TriggerArguments(const Trigger* trigger) {
  if (trigger->tgnargs != 1) return {trigger->tgargs, trigger->tgargs + trigger->tgnargs};
  Datum* elements = nullptr;
  int count = 0;
  pg::Call([&] {
    FmgrInfo array_in;
    fmgr_info(F_ARRAY_IN, &array_in);
    const Datum array = InputFunctionCall(&array_in, trigger->tgargs[0], TEXTOID, -1);
    deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false, TYPALIGN_INT, &elements,
                      nullptr, &count);
    for (int i = 0; i < count; ++i) {
      elements[i] = CStringGetDatum(TextDatumGetCString(elements[i]));
    }
  });
  std::vector<std::string> arguments;
  for (int i = 0; i < count; ++i) arguments.emplace_back(DatumGetCString(elements[i]));
  return arguments;
}

// Of a domain the type beneath.
Oid TypeOfAt(const SourceMapping& mapping, const std::string& from) {
  const std::string sql = "SELECT (" + mapping.at + ") FROM " + from + " LIMIT 0";
  return pg::Call([&] {
    if (SPI_execute(sql.c_str(), true, 0) != SPI_OK_SELECT) elog(ERROR, "SPI_execute failed");
    return getBaseType(SPI_gettypeid(SPI_tuptable->tupdesc, 1));
  });
}

std::string QuoteLiteral(const std::string& value) {
  const char* quoted = pg::Call([&] { return quote_literal_cstr(value.c_str()); });
  return quoted;
}

const char* UnitDivisor(const std::string& unit) {
  if (unit == "ms") return "1000.0";
  if (unit == "us") return "1000000.0";
  return "1.0";
}

bool IsNumber(Oid type) {
  return type == INT2OID || type == INT4OID || type == INT8OID || type == FLOAT4OID ||
         type == FLOAT8OID || type == NUMERICOID;
}

// `at` as timestamptz.
std::string AtSql(const SourceMapping& mapping, Oid type) {
  const std::string at = "(" + mapping.at + ")";
  if (type == TIMESTAMPTZOID) return at;
  if (type == TIMESTAMPOID || type == DATEOID) {
    return "(" + at + "::pg_catalog.timestamp AT TIME ZONE " + QuoteLiteral(mapping.time_zone) +
           ")";
  }
  if (IsNumber(type)) {
    return "pg_catalog.to_timestamp(" + at + "::pg_catalog.float8 / " +
           UnitDivisor(mapping.at_unit) + ")";
  }
  return at + "::pg_catalog.timestamptz";
}

// `bound` as what a time of this numeric type is compared with: of its own family, for no index
// serves a column that has to be cast. An integer is beyond a bound exactly if it is beyond the
// bound's floor.
std::string NumberBound(const SourceMapping& mapping, Oid type, const std::string& bound) {
  const std::string unit = std::string(" * ") + UnitDivisor(mapping.at_unit);
  if (type == FLOAT4OID || type == FLOAT8OID) {
    return "(pg_catalog.date_part('epoch', " + bound + ")" + unit + ")";
  }
  const std::string exact = "pg_catalog.extract('epoch', " + bound + ")" + unit;
  if (type == NUMERICOID) return "(" + exact + ")";
  return "GREATEST(-9223372036854775808, LEAST(9223372036854775807, pg_catalog.floor(" + exact +
         ")))::pg_catalog.int8";
}

std::string Column(const std::string& expression, const char* type) {
  const std::string cast = std::string("::pg_catalog.") + type;
  return expression.empty() ? "NULL" + cast : "(" + expression + ")" + cast;
}

bool IsFinite(double value) { return std::isfinite(value); }

}  // namespace

KeyKind ParseKeyKind(std::string_view name) {
  if (name == "uuid") return KeyKind::kUuid;
  if (name == "int8") return KeyKind::kInt8;
  return KeyKind::kText;
}

const char* KeyTypeName(KeyKind kind) {
  switch (kind) {
    case KeyKind::kUuid:
      return "pg_catalog.uuid";
    case KeyKind::kInt8:
      return "pg_catalog.int8";
    case KeyKind::kText:
      break;
  }
  return "pg_catalog.text";
}

uint32_t SourceOfTrigger(const Trigger* trigger) {
  const char* first = trigger->tgargs[0];
  return static_cast<uint32_t>(strtoul(first + (*first == '{' ? 1 : 0), nullptr, 10));
}

SourceMapping MappingFromTrigger(const Trigger* trigger) {
  const std::vector<std::string> args = TriggerArguments(trigger);
  if (args.size() != kTriggerArguments) {
    pg::Throw([&] {
      ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
                      errmsg("trigger \"%s\" has %d arguments, but alerting.capture() takes %d",
                             trigger->tgname, static_cast<int>(args.size()),
                             static_cast<int>(kTriggerArguments)),
                      errhint("Let alerting.attach_metrics() make the trigger.")));
    });
  }
  SourceMapping mapping;
  mapping.id = SourceOfTrigger(trigger);
  mapping.key_kind = ParseKeyKind(args[kArgKeyKind]);
  mapping.container = args[kArgContainer];
  mapping.at = args[kArgAt];
  mapping.time_zone = args[kArgTimeZone];
  mapping.at_unit = args[kArgAtUnit];
  mapping.cpu = args[kArgCpu];
  mapping.memory = args[kArgMemory];
  mapping.memory_used = args[kArgMemoryUsed];
  mapping.memory_limit = args[kArgMemoryLimit];
  mapping.running = args[kArgRunning];
  mapping.restarts = args[kArgRestarts];
  return mapping;
}

std::string TimeSql(const SourceMapping& mapping, const std::string& from) {
  return AtSql(mapping, TypeOfAt(mapping, from));
}

std::string SelectList(const SourceMapping& mapping, const std::string& from) {
  std::string list = "(" + mapping.container + ")::" + KeyTypeName(mapping.key_kind);
  list += ", " + TimeSql(mapping, from);
  for (const std::string* figure :
       {&mapping.cpu, &mapping.memory, &mapping.memory_used, &mapping.memory_limit}) {
    list += ", " + Column(*figure, "float8");
  }
  list += ", " + Column(mapping.running, "bool");
  list += ", " + Column(mapping.restarts, "float8");
  return list;
}

std::string AtCondition(const SourceMapping& mapping, const std::string& from,
                        const std::string& comparison, const std::string& bound) {
  const Oid type = TypeOfAt(mapping, from);
  const std::string at = "(" + mapping.at + ")";
  if (type == TIMESTAMPOID || type == DATEOID) {
    // A date is compared as the timestamp that it stands for: its index serves that as well.
    return at + " " + comparison + " (" + bound + " AT TIME ZONE " +
           QuoteLiteral(mapping.time_zone) + ")";
  }
  if (IsNumber(type)) return at + " " + comparison + " " + NumberBound(mapping, type, bound);
  return AtSql(mapping, type) + " " + comparison + " " + bound;
}

std::string_view KeyFromDatum(KeyKind kind, Datum value, KeyBytes* key) {
  switch (kind) {
    case KeyKind::kUuid:
      memcpy(key->fixed, DatumGetUUIDP(value)->data, UUID_LEN);
      key->view = std::string_view(key->fixed, UUID_LEN);
      break;
    case KeyKind::kInt8: {
      const int64 number = DatumGetInt64(value);
      memcpy(key->fixed, &number, sizeof(number));
      key->view = std::string_view(key->fixed, sizeof(number));
      break;
    }
    case KeyKind::kText: {
      const text* bytes = DatumGetTextPP(value);
      key->view =
          std::string_view(VARDATA_ANY(bytes), static_cast<size_t>(VARSIZE_ANY_EXHDR(bytes)));
      break;
    }
  }
  return key->view;
}

std::string KeyText(KeyKind kind, std::string_view key) {
  switch (kind) {
    case KeyKind::kUuid: {
      static constexpr char kHex[] = "0123456789abcdef";
      std::string text;
      for (size_t i = 0; i < key.size(); ++i) {
        if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
        const auto byte = static_cast<unsigned char>(key[i]);
        text += kHex[byte >> 4];
        text += kHex[byte & 15];
      }
      return text;
    }
    case KeyKind::kInt8: {
      int64 number = 0;
      memcpy(&number, key.data(), std::min(key.size(), sizeof(number)));
      return std::to_string(number);
    }
    case KeyKind::kText:
      break;
  }
  return std::string(key);
}

bool IsKey(KeyKind kind, std::string_view key) {
  switch (kind) {
    case KeyKind::kUuid:
      return key.size() == UUID_LEN;
    case KeyKind::kInt8:
      return key.size() == sizeof(int64);
    case KeyKind::kText:
      break;
  }
  return pg_verify_mbstr(GetDatabaseEncoding(), key.data(), static_cast<int>(key.size()), true);
}

bool SampleFromDatums(KeyKind kind, uint32_t source, const Datum* values, const bool* nulls,
                      KeyBytes* key, Sample* sample) {
  if (nulls[0] || nulls[1]) return false;
  sample->at = DatumGetTimestampTz(values[1]);
  if (TIMESTAMP_NOT_FINITE(sample->at)) return false;
  sample->container = KeyFromDatum(kind, values[0], key);
  sample->source = source;
  sample->present = 0;
  struct Figure {
    double* value;
    Reading reading;
  };
  const std::array<Figure, 5> figures = {{{&sample->cpu, kCpu},
                                          {&sample->memory, kMemory},
                                          {&sample->memory_used, kMemoryUsed},
                                          {&sample->memory_limit, kMemoryLimit},
                                          {&sample->restarts, kRestarts}}};
  static constexpr int kFigureColumns[] = {2, 3, 4, 5, 7};
  for (size_t i = 0; i < figures.size(); ++i) {
    const int column = kFigureColumns[i];
    if (nulls[column]) continue;
    const double value = DatumGetFloat8(values[column]);
    if (!IsFinite(value)) continue;
    *figures[i].value = value;
    sample->present = static_cast<uint8_t>(sample->present | figures[i].reading);
  }
  if (!nulls[6]) {
    sample->running = DatumGetBool(values[6]);
    sample->present = static_cast<uint8_t>(sample->present | kRunning);
  }
  return true;
}

void SamplesFromResult(const SourceMapping& mapping, std::vector<KeyBytes>* keys,
                       std::vector<Sample>* samples) {
  const size_t count = SPI_processed;
  keys->resize(count);
  samples->clear();
  samples->resize(count);
  size_t used = 0;
  pg::Call([&] {
    for (size_t row = 0; row < count; ++row) {
      Datum values[kSampleColumns];
      bool nulls[kSampleColumns];
      heap_deform_tuple(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, values, nulls);
      if (SampleFromDatums(mapping.key_kind, mapping.id, values, nulls, &(*keys)[used],
                           &(*samples)[used])) {
        ++used;
      }
    }
  });
  samples->resize(used);
}

}  // namespace alerting::ext
