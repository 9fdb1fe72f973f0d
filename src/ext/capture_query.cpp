// Implements ext/capture_query.h.
#include "ext/capture_query.h"

#include "ext/sample_writer.h"
#include "pg/transaction.h"

namespace alerting::ext {

namespace {

// Takes the rows of a query as they come, so that they need no place in memory.
struct SampleReceiver {
  DestReceiver base;  // first: PostgreSQL knows only this
  const CaptureSource* source;
  uint64_t skipped;
};

// PostgreSQL code. The samples of a query that fails go with its savepoint.
extern "C" bool ReceiveRow(TupleTableSlot* slot, DestReceiver* base) {
  auto* receiver = reinterpret_cast<SampleReceiver*>(base);
  slot_getallattrs(slot);
  Sample sample;
  KeyBytes key;
  SampleWriter writer;
  // Open for this row only: before the next one an expression may run functions that insert, too.
  if (SampleFromDatums(receiver->source->key_kind(), receiver->source->id(), slot->tts_values,
                       slot->tts_isnull, &key, &sample)) {
    writer.Open();
    writer.Add(sample);
    receiver->skipped += writer.skipped;
    CloseSampleSpace(writer.space);
  } else {
    ++receiver->skipped;
  }
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

// All new rows by one query over the transition table. Throws when any row's expression fails.
void CaptureByTransitionTable(TriggerData* trigger_data, CaptureSource* source) {
  pg::Subtransaction savepoint;
  {
    const pg::SafeSearchPath path;
    const pg::SpiConnection connection;
    pg::Call([&] { SPI_register_trigger_data(trigger_data); });
    SPIPlanPtr plan = source->TransitionPlan(trigger_data);
    pg::Call([&] { RunPlan(source, plan, nullptr); });
  }
  savepoint.Release();
}

void CaptureRow(CaptureSource* source, Datum row) {
  pg::Subtransaction savepoint;
  {
    const pg::SafeSearchPath path;
    const pg::SpiConnection connection;
    SPIPlanPtr plan = source->RowPlan();
    pg::Call([&] {
      ParamListInfo parameters = makeParamList(1);
      parameters->params[0] = {row, false, PARAM_FLAG_CONST, source->row_type()};
      RunPlan(source, plan, parameters);
    });
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

void WarnOfRow(CaptureSource* source, Relation relation, int sqlstate) {
  if (!source->MayWarn()) return;
  pg::Call([&] {
    ereport(WARNING,
            (errcode(sqlstate),
             errmsg("alerting: a row of table \"%s\" could not be read and was not evaluated",
                    RelationGetRelationName(relation)),
             errdetail("An expression of its mapping failed with SQLSTATE %s. Further rows are "
                       "counted in alerting.status() and warned of once a minute.",
                       unpack_sql_state(sqlstate)),
             errhint("Make the mapping in alerting.attach_metrics() accept every row, for example "
                     "with nullif() around a divisor.")));
  });
}

// In a savepoint of its own, so that only a row that fails is missing.
void CaptureRowAlone(const TriggerData* trigger_data, CaptureSource* source, TupleTableSlot* slot) {
  try {
    CaptureRow(source, pg::Call([&] { return ExecFetchSlotHeapTupleDatum(slot); }));
  } catch (pg::Error& error) {
    RethrowCancel(error);
    CountSkipped(1);
    WarnOfRow(source, trigger_data->tg_relation, error.sqlstate());
  }
}

void CaptureRowByRow(const TriggerData* trigger_data, CaptureSource* source) {
  Tuplestorestate* rows = trigger_data->tg_newtable;
  TupleTableSlot* slot = pg::Call([&] {
    tuplestore_rescan(rows);
    return MakeSingleTupleTableSlot(RelationGetDescr(trigger_data->tg_relation),
                                    &TTSOpsMinimalTuple);
  });
  while (pg::Call([&] { return tuplestore_gettupleslot(rows, true, false, slot); })) {
    CaptureRowAlone(trigger_data, source, slot);
  }
  pg::Call([&] { ExecDropSingleTupleTableSlot(slot); });
}

}  // namespace

void CaptureByQuery(TriggerData* trigger_data, CaptureSource* source) {
  const pg::UserScope user(source->owner(), true);
  if (TRIGGER_FIRED_FOR_ROW(trigger_data->tg_event)) {
    CaptureRowAlone(trigger_data, source, NewRow(trigger_data));
    return;
  }
  try {
    CaptureByTransitionTable(trigger_data, source);
    return;
  } catch (pg::Error& error) {
    RethrowCancel(error);
  }
  CaptureRowByRow(trigger_data, source);
}

}  // namespace alerting::ext
