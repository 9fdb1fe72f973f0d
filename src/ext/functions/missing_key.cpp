// SQL function missing_key(): which of alerting's keys a host's table does not have. Any backend,
// for attach().
//
// PostgreSQL checks a new foreign key by a query with the rights of whoever creates it; whoever
// owns the table decides what that query executes. So the table is asked with its owner's rights.
#include <string>

#include "ext/host/binding.h"
#include "pg/guard.h"
#include "pg/spi.h"
#include "pg/transaction.h"

extern "C" {
PG_FUNCTION_INFO_V1(alerting_missing_key);
PGDLLEXPORT Datum alerting_missing_key(PG_FUNCTION_ARGS);
}

namespace alerting::ext {

namespace {

// (relation, its key column as PostgreSQL quotes it, keys as text). STRICT.
Datum MissingKey(FunctionCallInfo fcinfo) {
  MemoryContext outer = CurrentMemoryContext;
  const Oid relation = PG_GETARG_OID(0);
  const std::string column = pg::Call([&] { return text_to_cstring(PG_GETARG_TEXT_PP(1)); });
  const pg::SpiConnection connection;
  const HostKey type = DescribeKey(relation, column, KindOfColumn(relation, column));
  pg::Params params;
  params.Value(PG_GETARG_DATUM(2), TEXTARRAYOID);
  const pg::UserScope user(OwnerOf(relation), true);
  const pg::MappingSettings settings("UTC");
  const pg::Rows rows = pg::Execute(
      "SELECT k.alerting_text FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($1::" +
          type.ArrayType() +
          ")) AS k (alerting_text, alerting_key) WHERE NOT EXISTS (SELECT FROM " +
          OwnRows(relation) + " c WHERE c." + column + " " + type.equals +
          " k.alerting_key) LIMIT 1",
      params);
  if (rows.size() == 0) PG_RETURN_NULL();
  const std::string missing = rows.Text(0, 0);
  return pg::Call([&] {
    MemoryContext inner = MemoryContextSwitchTo(outer);
    const Datum result =
        PointerGetDatum(cstring_to_text_with_len(missing.data(), static_cast<int>(missing.size())));
    MemoryContextSwitchTo(inner);
    return result;
  });
}

}  // namespace

}  // namespace alerting::ext

Datum alerting_missing_key(PG_FUNCTION_ARGS) {
  return alerting::pg::Entry([&] { return alerting::ext::MissingKey(fcinfo); });
}
