// Implements ext/capture/capture_expressions.h.
#include "ext/capture/capture_expressions.h"

#include "ext/capture/sample_writer.h"
#include "pg/lock_waits.h"
#include "pg/transaction.h"

namespace alerting::ext {

namespace {

// Takes the rows of a query as they come, so that they need no place in memory.
struct SampleReceiver {
  DestReceiver base;  // first: PostgreSQL knows only this
  const CaptureSource* source;
  uint64_t skipped;
};

// Adds what the expressions of a row have given. PostgreSQL code.
void AddValues(const CaptureSource* source, const TupleTableSlot* slot, SampleWriter* writer) {
  // A key that is too long is not unpacked, whatever that would take.
  const bool is_long = source->key_kind() == KeyKind::kText && !slot->tts_isnull[0] &&
                       toast_raw_datum_size(slot->tts_values[0]) - VARHDRSZ > kMaxKeyBytes;
  Sample sample;
  KeyBytes key;
  if (!is_long && SampleFromDatums(source->key_kind(), source->id(), slot->tts_values,
                                   slot->tts_isnull, &key, &sample)) {
    writer->Add(sample);
  } else {
    ++writer->skipped;
  }
}

// PostgreSQL code. The samples of a query that fails go with its savepoint.
extern "C" bool ReceiveRow(TupleTableSlot* slot, DestReceiver* base) {
  auto* receiver = reinterpret_cast<SampleReceiver*>(base);
  slot_getallattrs(slot);
  SampleWriter writer;
  // Open for this row only: before the next one an expression may run functions that insert, too.
  writer.Open();
  AddValues(receiver->source, slot, &writer);
  receiver->skipped += writer.skipped;
  CloseSampleSpace(writer.space);
  return true;
}

extern "C" void BeginRows(DestReceiver* /*base*/, int /*operation*/, TupleDesc /*descriptor*/) {}
extern "C" void EndRows(DestReceiver* /*base*/) {}

// Runs a plan of the source and adds its rows. PostgreSQL code.
void RunPlan(const CaptureSource* source, SPIPlanPtr plan, ParamListInfo parameters) {
  SampleReceiver receiver = {{ReceiveRow, BeginRows, EndRows, EndRows, DestTuplestore}, source, 0};
  SPIExecuteOptions options = {};
  options.params = parameters;
  options.dest = &receiver.base;
  if (SPI_execute_plan_extended(plan, &options) != SPI_OK_SELECT) {
    elog(ERROR, "SPI_execute_plan_extended failed");
  }
  if (receiver.skipped > 0) CountSkipped(receiver.skipped);
}

// All new rows by one query over the transition table.
void AddByQuery(TriggerData* trigger_data, CaptureSource* source) {
  const pg::UserScope user(source->owner(), true);
  const pg::MappingSettings settings(source->time_zone());
  const pg::ShortLockWaits lock_waits;
  const pg::SpiConnection connection;
  pg::Call([&] { SPI_register_trigger_data(trigger_data); });
  SPIPlanPtr plan = source->TransitionPlan();
  pg::Call([&] { RunPlan(source, plan, nullptr); });
}

void AddRowByQuery(CaptureSource* source, TupleTableSlot* slot) {
  const pg::UserScope user(source->owner(), true);
  const pg::MappingSettings settings(source->time_zone());
  const pg::ShortLockWaits lock_waits;
  const pg::SpiConnection connection;
  SPIPlanPtr plan = source->RowPlan();
  pg::Call([&] {
    const Datum row = ExecFetchSlotHeapTupleDatum(slot);
    ParamListInfo parameters = makeParamList(1);
    parameters->params[0] = {row, false, PARAM_FLAG_CONST, source->row_type()};
    RunPlan(source, plan, parameters);
  });
}

// The same without a query. The samples of expressions that fail go with the savepoint.
void AddByProjection(const TriggerData* trigger_data, CaptureSource* source) {
  Tuplestorestate* rows = trigger_data->tg_newtable;
  TupleTableSlot* slot = source->OpenSlot();
  SampleWriter writer;
  writer.Open();
  tuplestore_rescan(rows);
  while (tuplestore_gettupleslot(rows, true, false, slot)) {
    AddValues(source, source->projection().Evaluate(slot), &writer);
  }
  source->CloseSlot();
  writer.Close();
}

void AddRowByProjection(const CaptureSource* source, TupleTableSlot* slot) {
  SampleWriter writer;
  writer.Open();
  AddValues(source, source->projection().Evaluate(slot), &writer);
  writer.Close();
}

// Throws when any row's expression fails.
void CaptureTransitionTable(TriggerData* trigger_data, CaptureSource* source) {
  pg::Subtransaction savepoint;
  if (source->projection().exists()) {
    pg::Call([&] { AddByProjection(trigger_data, source); });
  } else {
    AddByQuery(trigger_data, source);
  }
  savepoint.Release();
}

void CaptureRow(CaptureSource* source, TupleTableSlot* slot) {
  pg::Subtransaction savepoint;
  if (source->projection().exists()) {
    pg::Call([&] { AddRowByProjection(source, slot); });
  } else {
    AddRowByQuery(source, slot);
  }
  savepoint.Release();
}

void RethrowCancel(pg::Error& error) {
  const int state = error.sqlstate();
  if (state == ERRCODE_QUERY_CANCELED || state == ERRCODE_ADMIN_SHUTDOWN ||
      state == ERRCODE_CRASH_SHUTDOWN) {
    throw pg::Error(std::move(error));
  }
}

// What cannot be read at the moment, because a table is locked, say, is read from the table later.
bool CanBeReadLater(pg::Error& error, const CaptureSource* source) {
  RethrowCancel(error);
  if (!error.IsPassing()) return false;
  LeaveSourceToReplay(source->id());
  return true;
}

void WarnOfRow(CaptureSource* source, Relation relation, int sqlstate) {
  if (!source->MayWarn()) return;
  pg::Call([&] {
    ereport(
        WARNING,
        (errcode(sqlstate),
         errmsg("alerting: a row of table \"%s\" could not be read and was not evaluated",
                RelationGetRelationName(relation)),
         errdetail("An expression of its mapping failed with SQLSTATE %s. Further rows are "
                   "counted in alerting.status() and warned of once a minute.",
                   unpack_sql_state(sqlstate)),
         sqlstate == ERRCODE_INSUFFICIENT_PRIVILEGE
             ? errhint("It is evaluated with the rights of the table's owner, %s: GRANT that role "
                       "SELECT on the tables and EXECUTE on the functions that it needs.",
                       quote_identifier(GetUserNameFromId(relation->rd_rel->relowner, false)))
         : sqlstate == ERRCODE_INVALID_TEXT_REPRESENTATION
             ? errhint("Take of a text what is a number, for example cpu => "
                       "$$substring(cpu FROM '^[0-9.]+')::float8$$ in alerting.attach_metrics().")
             : errhint("Make the mapping in alerting.attach_metrics() accept every row, for "
                       "example with nullif() around a divisor.")));
  });
}

// In a savepoint of its own, so that only a row that fails is missing. False: all are read later.
bool CaptureRowAlone(const TriggerData* trigger_data, CaptureSource* source, TupleTableSlot* slot) {
  try {
    CaptureRow(source, slot);
  } catch (pg::Error& error) {
    if (CanBeReadLater(error, source)) return false;
    CountSkipped(1);
    WarnOfRow(source, trigger_data->tg_relation, error.sqlstate());
  }
  return true;
}

void CaptureRowByRow(const TriggerData* trigger_data, CaptureSource* source) {
  Tuplestorestate* rows = trigger_data->tg_newtable;
  TupleTableSlot* slot = pg::Call([&] {
    tuplestore_rescan(rows);
    return MakeSingleTupleTableSlot(RelationGetDescr(trigger_data->tg_relation),
                                    &TTSOpsMinimalTuple);
  });
  while (pg::Call([&] { return tuplestore_gettupleslot(rows, true, false, slot); }) &&
         CaptureRowAlone(trigger_data, source, slot)) {
  }
  pg::Call([&] { ExecDropSingleTupleTableSlot(slot); });
}

}  // namespace

void CaptureByExpressions(TriggerData* trigger_data, CaptureSource* source) {
  if (IsSourceLeftToReplay(source->id())) return;
  const CaptureSource::Use use(source);
  if (TRIGGER_FIRED_FOR_ROW(trigger_data->tg_event)) {
    (void)CaptureRowAlone(trigger_data, source, NewRow(trigger_data));
    return;
  }
  try {
    CaptureTransitionTable(trigger_data, source);
    return;
  } catch (pg::Error& error) {
    if (CanBeReadLater(error, source)) return;
  }
  CaptureRowByRow(trigger_data, source);
}

}  // namespace alerting::ext
