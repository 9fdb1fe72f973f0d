// SQL functions try_mapping() and try_organization(): what a metric source's mapping, and that of
// the containers, makes of some rows that are there already. Any backend, for attach(),
// attach_metrics() and doctor(); writes nothing.
//
// Invariant: evaluated as capture does it, with the rights of the table's owner and never with the
// caller's: whoever owns the table decides what reading it executes.
#include <algorithm>
#include <cmath>
#include <optional>
#include <string>

#include "ext/host/container_directory.h"
#include "ext/host/source_reader.h"
#include "pg/spi.h"
#include "pg/transaction.h"

extern "C" {
PG_FUNCTION_INFO_V1(alerting_try_mapping);
PGDLLEXPORT Datum alerting_try_mapping(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(alerting_try_organization);
PGDLLEXPORT Datum alerting_try_organization(PG_FUNCTION_ARGS);
}

namespace alerting::ext {

namespace {

constexpr int kColumns = 6;

struct Trial {
  int64_t rows = 0;
  double cpu = NAN;  // the largest readings, NaN for none
  double memory = NAN;
  std::optional<bool> runs;  // whether any row says so, none where no row says anything
  std::string problem;       // of the first row that fails; "" for none
  std::string state;         // its SQLSTATE
};

// NaN and infinite values are no readings.
std::string Largest(const char* column) {
  return std::string("pg_catalog.max(") + column + ") FILTER (WHERE " + column +
         " < 'Infinity'::pg_catalog.float8)";
}

std::string Query(const Source& source, bool newest, int most) {
  const std::string list = SelectList(source.mapping, source.name + " m");
  const std::string order =
      newest && HasPlainTime(source) ? " ORDER BY m." + source.mapping.at + " DESC" : "";
  // The whole row is counted: a column that nobody asks for would not be evaluated.
  return "SELECT pg_catalog.count(t.*), " + Largest("t.cpu") + ", " + Largest("t.memory") +
         ", pg_catalog.bool_or(t.running) FROM (SELECT " + list + " FROM " + source.name + " m" +
         order + " LIMIT " + std::to_string(most) +
         ") t (container, at, cpu, memory, memory_used, memory_limit, running, restarts)";
}

void Evaluate(const Source& source, bool newest, int most, Trial* trial) {
  const pg::UserScope user(source.owner(), true);
  const pg::MappingSettings settings(source.mapping.time_zone.c_str());
  const pg::Rows rows = pg::Execute(Query(source, newest, most));
  trial->rows = rows.BigInt(0, 0);
  if (!rows.IsNull(0, 1)) trial->cpu = rows.Float(0, 1);
  if (!rows.IsNull(0, 2)) trial->memory = rows.Float(0, 2);
  if (!rows.IsNull(0, 3)) trial->runs = rows.Bool(0, 3);
}

// What the mapping itself makes fail is the trial's outcome.
template <typename F>
void Attempt(Trial* trial, const F& evaluate) {
  try {
    pg::Subtransaction savepoint;
    evaluate();
    savepoint.Release();
  } catch (pg::Error& error) {
    if (error.IsPassing()) throw pg::Error(std::move(error));
    trial->problem = error.what();
    trial->state = unpack_sql_state(error.sqlstate());
  }
}

// PostgreSQL code.
Datum MakeRow(FunctionCallInfo fcinfo, Datum* values, bool* nulls) {
  TupleDesc descriptor;
  if (get_call_result_type(fcinfo, nullptr, &descriptor) != TYPEFUNC_COMPOSITE) {
    elog(ERROR, "return type must be a row type");
  }
  return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, nulls));
}

Trial Try(uint32_t id, bool newest, int most) {
  const pg::SpiConnection connection;
  const Binding binding = RequireBinding();
  Trial trial;
  const Source* source = binding.FindSource(id);
  if (source == nullptr || source->name.empty()) return trial;
  Attempt(&trial, [&] { Evaluate(*source, newest, most, &trial); });
  return trial;
}

Datum TryMapping(FunctionCallInfo fcinfo) {
  const Trial trial =
      Try(static_cast<uint32_t>(PG_GETARG_INT32(0)), PG_GETARG_BOOL(1), PG_GETARG_INT32(2));
  return pg::Call([&] {
    Datum values[kColumns] = {Int64GetDatum(trial.rows),
                              Float8GetDatum(trial.cpu),
                              Float8GetDatum(trial.memory),
                              BoolGetDatum(trial.runs.value_or(false)),
                              CStringGetTextDatum(trial.state.c_str()),
                              CStringGetTextDatum(trial.problem.c_str())};
    bool nulls[kColumns] = {false,       std::isnan(trial.cpu), std::isnan(trial.memory),
                            !trial.runs, trial.state.empty(),   trial.problem.empty()};
    return MakeRow(fcinfo, values, nulls);
  });
}

// `rows`: those containers whose organization cannot be told.
Trial TryContainers() {
  constexpr uint64_t kMost = 1000;
  const pg::SpiConnection connection;
  const Binding binding = RequireBinding();
  Trial trial;
  if (binding.organization_is_column) return trial;
  Attempt(&trial, [&] {
    ContainerDirectory directory(binding);
    const auto found = directory.Find(directory.Keys(kMost));
    trial.rows =
        std::ranges::count_if(found, [](const auto& one) { return one.second.organization_fails; });
  });
  return trial;
}

Datum TryOrganization(FunctionCallInfo fcinfo) {
  const Trial trial = TryContainers();
  return pg::Call([&] {
    Datum values[] = {Int64GetDatum(trial.rows), CStringGetTextDatum(trial.state.c_str()),
                      CStringGetTextDatum(trial.problem.c_str())};
    bool nulls[] = {false, trial.state.empty(), trial.problem.empty()};
    return MakeRow(fcinfo, values, nulls);
  });
}

}  // namespace

}  // namespace alerting::ext

Datum alerting_try_mapping(PG_FUNCTION_ARGS) {
  return alerting::pg::Entry([&] { return alerting::ext::TryMapping(fcinfo); });
}

Datum alerting_try_organization(PG_FUNCTION_ARGS) {
  return alerting::pg::Entry([&] { return alerting::ext::TryOrganization(fcinfo); });
}
