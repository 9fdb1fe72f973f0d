// How a metrics table's rows become samples: the mapping as text (from a capture trigger's
// arguments or a metric_source row) and the SQL made of it. Any backend and the evaluator.
//
// Every query made here returns the columns
//   0 container (uuid, int8 or text)  1 at (timestamptz)  2 cpu  3 memory  4 memory_used
//   5 memory_limit (float8)  6 running (bool)  7 restarts (float8)
#ifndef ALERTING_EXT_HOST_SOURCE_MAPPING_H_
#define ALERTING_EXT_HOST_SOURCE_MAPPING_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/sample.h"
#include "pg/guard.h"

namespace alerting::ext {

enum class KeyKind { kText, kUuid, kInt8 };
KeyKind ParseKeyKind(std::string_view name);
const char* KeyTypeName(KeyKind kind);  // as a cast: "pg_catalog.uuid"

struct SourceMapping {
  uint32_t id = 0;  // metric_source.id
  KeyKind key_kind = KeyKind::kText;
  // SQL over alias m; empty: not mapped.
  std::string container, at, cpu, memory, memory_used, memory_limit, running, restarts;
  std::string time_zone;  // of an `at` without one
  std::string at_unit;    // of an `at` that is a number: s, ms or us
};

// The mapping that a capture trigger carries, and the source that it names.
SourceMapping MappingFromTrigger(const Trigger* trigger);
uint32_t SourceOfTrigger(const Trigger* trigger);

// The eight result columns, for "SELECT <list> FROM <relation> m". Looks up the type of `at` in
// the given relation, so it needs an SPI connection; errors are those of the mapping's expressions.
std::string SelectList(const SourceMapping& mapping, const std::string& from);

// The time of a row as timestamptz, of the same.
std::string TimeSql(const SourceMapping& mapping, const std::string& from);

// "m.at_column OP bound" in the column's own type where `at` is a plain column, so that an index
// serves it; else over the expression. `bound` is an SQL expression of type timestamptz.
std::string AtCondition(const SourceMapping& mapping, const std::string& from,
                        const std::string& comparison, const std::string& bound);

inline constexpr int kSampleColumns = 8;

// Room for a key's canonical bytes.
struct KeyBytes {
  char fixed[16];
  std::string_view view;
};

// Reads the eight columns of a row into a sample. False: no container or no finite time.
// PostgreSQL code (may ereport on a toasted key); `key` keeps the bytes that sample->container
// views. kText keys view the datum itself.
bool SampleFromDatums(KeyKind kind, uint32_t source, const Datum* values, const bool* nulls,
                      KeyBytes* key, Sample* sample);

// The same of all rows that SPI holds, but for those that are none; text keys view the bytes there.
void SamplesFromResult(const SourceMapping& mapping, std::vector<KeyBytes>* keys,
                       std::vector<Sample>* samples);

// The canonical bytes of a key value, and back to the text that PostgreSQL shows.
std::string_view KeyFromDatum(KeyKind kind, Datum value, KeyBytes* key);
std::string KeyText(KeyKind kind, std::string_view key);
// Whether these bytes may be a key of this kind.
bool IsKey(KeyKind kind, std::string_view key);

}  // namespace alerting::ext

#endif  // ALERTING_EXT_HOST_SOURCE_MAPPING_H_
