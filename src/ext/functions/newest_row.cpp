// alerting.newest_row_time(): what doctor() asks a metrics table, whose owner decides what reading
// it executes (an expression of an index is enough). So it is read with that owner's rights and
// never with those of doctor(). Any backend.
#include <string>
#include <vector>

#include "ext/host/binding.h"
#include "pg/guard.h"
#include "pg/spi.h"
#include "pg/transaction.h"

extern "C" {
PG_FUNCTION_INFO_V1(alerting_newest_row_time);
PGDLLEXPORT Datum alerting_newest_row_time(PG_FUNCTION_ARGS);
}

namespace alerting::ext {

namespace {

// Some of the containers, as text.
std::vector<std::string> SomeContainers(const Binding& binding) {
  const pg::UserScope user(binding.containers_owner(), true);
  const pg::MappingSettings settings("UTC");
  return pg::ReadOnly("SELECT c." + binding.container_key + "::pg_catalog.text FROM " +
                      binding.containers_rows + " c LIMIT 20")
      .FirstColumn();
}

// By an index of time, or a look at all of a small table.
std::string NewestSql(const Source& source, const std::string& time) {
  const std::string& at = source.mapping.at;
  return "SELECT " + time + " FROM (SELECT pg_catalog.max(m." + at + ") AS " + at + " FROM " +
         source.name + " m) m";
}

// By an index of container and time: $1 holds the keys.
std::string NewestOfSql(const Source& source, const std::string& time) {
  const std::string& at = source.mapping.at;
  const HostKey& type = source.container_type;
  return "SELECT pg_catalog.max(" + time +
         ") FROM pg_catalog.unnest($1::pg_catalog.text[]::" + type.ArrayType() +
         ") AS k (alerting_key), LATERAL (SELECT m." + at + " FROM " + source.name + " m WHERE (" +
         source.mapping.container + ") " + type.equals + " k.alerting_key AND m." + at +
         " IS NOT NULL ORDER BY m." + at + " DESC LIMIT 1) m";
}

// Of a source whose time is a plain column. STRICT.
Datum NewestRowTime(FunctionCallInfo fcinfo) {
  const pg::SpiConnection connection;
  const Binding binding = RequireBinding();
  const Source* source = binding.FindSource(static_cast<uint32_t>(PG_GETARG_INT32(0)));
  if (source == nullptr) PG_RETURN_NULL();
  const bool by_container = PG_GETARG_BOOL(1);
  std::vector<std::string> containers;
  if (by_container) containers = SomeContainers(binding);
  const pg::UserScope user(source->owner(), true);
  const pg::MappingSettings settings(source->mapping.time_zone.c_str());
  const std::string time = TimeSql(source->mapping, source->name + " m");
  const pg::Rows rows =
      by_container ? pg::ReadOnly(NewestOfSql(*source, time), pg::Params().TextArray(containers))
                   : pg::ReadOnly(NewestSql(*source, time));
  if (rows.size() == 0 || rows.IsNull(0, 0)) PG_RETURN_NULL();
  PG_RETURN_TIMESTAMPTZ(rows.Timestamp(0, 0));
}

}  // namespace

}  // namespace alerting::ext

Datum alerting_newest_row_time(PG_FUNCTION_ARGS) {
  return alerting::pg::Entry([&] { return alerting::ext::NewestRowTime(fcinfo); });
}
