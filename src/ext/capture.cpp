// The capture trigger: turns the rows that a statement wrote into samples for the evaluator.
// Runs in the inserting backend. It takes no lock that outlives the statement, writes no table, and
// never makes the statement fail: a row that cannot be read is counted and skipped.
#include "ext/capture_source.h"
#include "ext/transaction_buffer.h"
#include "pg/guc.h"
#include "pg/transaction.h"

extern "C" {
PG_FUNCTION_INFO_V1(alerting_capture);
PGDLLEXPORT Datum alerting_capture(PG_FUNCTION_ARGS);
}

namespace alerting::ext {

namespace {

constexpr int kRowsPerReset = 1000;

// The row of a row trigger.
TupleTableSlot* NewRow(const TriggerData* trigger_data) {
  return TRIGGER_FIRED_BY_UPDATE(trigger_data->tg_event) ? trigger_data->tg_newslot
                                                         : trigger_data->tg_trigslot;
}

// Adds samples of one statement; opened and closed around them. Trivial code.
struct SampleWriter {
  SampleSpace space;
  uint64_t skipped;

  void Open() noexcept {
    OpenSampleSpace(&space);
    skipped = 0;
  }
  void MakeRoom() noexcept {
    if (space.HasRoom()) return;
    CloseSampleSpace(space);
    OpenSampleSpace(&space);
  }
  void Add(const Sample& sample) noexcept {
    if (sample.container.size() > kMaxKeyBytes) {
      ++skipped;
      return;
    }
    MakeRoom();
    if (space.next != nullptr) {
      space.next += WriteSample(sample, space.context, space.next);
      return;
    }
    Message message;
    message.sample = sample;
    AddMessage(message);
  }
  // As RowWriter::Write.
  void AddRow(const RowWriter& row, const TupleTableSlot* slot) {
    MakeRoom();
    if (space.next != nullptr) {
      const size_t size = row.Write(slot, space.context, space.next);
      space.next += size;
      skipped += size == 0 ? 1 : 0;
      return;
    }
    AddMark(row, slot);
  }
  // Of a row that has no room.
  void AddMark(const RowWriter& row, const TupleTableSlot* slot) {
    char bytes[kMaxSampleBytes];
    Message message;
    SampleContext context;
    if (MessageReader({bytes, row.Write(slot, &context, bytes)}).Next(&message)) {
      AddMessage(message);
    } else {
      ++skipped;
    }
  }
  void Close() noexcept {
    CloseSampleSpace(space);
    CountSkipped(skipped);
  }
};

// A row whose reading raises no error needs no guard, which would cost as much as the reading.
void CaptureDirectRow(const TriggerData* trigger_data, const CaptureSource* source) {
  TupleTableSlot* slot = NewRow(trigger_data);
  const auto capture = [&] {
    SampleWriter writer;
    writer.Open();
    writer.AddRow(source->writer(), slot);
    writer.Close();
  };
  slot_getsomeattrs(slot, source->writer().last_column());
  if (source->writer().IsSafe(slot)) {
    capture();
  } else {
    pg::Call(capture);
  }
}

void CaptureDirect(const TriggerData* trigger_data, CaptureSource* source) {
  pg::Call([&] {
    const RowWriter& row = source->writer();
    Tuplestorestate* rows = trigger_data->tg_newtable;
    TupleTableSlot* slot = source->OpenSlot();
    MemoryContext scratch = nullptr;
    MemoryContext outer = CurrentMemoryContext;
    if (row.has_numeric()) {
      scratch = AllocSetContextCreate(outer, "alerting capture", ALLOCSET_SMALL_SIZES);
    }
    SampleWriter writer;
    writer.Open();
    int since_reset = 0;
    tuplestore_rescan(rows);
    while (tuplestore_gettupleslot(rows, true, false, slot)) {
      slot_getsomeattrs(slot, row.last_column());
      if (scratch == nullptr) {
        writer.AddRow(row, slot);
        continue;
      }
      MemoryContextSwitchTo(scratch);
      writer.AddRow(row, slot);
      MemoryContextSwitchTo(outer);
      if (++since_reset < kRowsPerReset) continue;
      MemoryContextReset(scratch);
      since_reset = 0;
    }
    source->CloseSlot();
    if (scratch != nullptr) MemoryContextDelete(scratch);
    writer.Close();
  });
}

// Adds the samples of the result that SPI holds.
void AddResult(const CaptureSource* source) {
  SampleWriter writer;
  writer.Open();
  for (uint64 row = 0; row < SPI_processed; ++row) {
    Datum values[kSampleColumns];
    bool nulls[kSampleColumns];
    heap_deform_tuple(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, values, nulls);
    Sample sample;
    KeyBytes key;
    if (SampleFromDatums(source->key_kind(), source->id(), values, nulls, &key, &sample)) {
      writer.Add(sample);
    } else {
      ++writer.skipped;
    }
  }
  writer.Close();
}

// All new rows by one query over the transition table. Throws when any row's expression fails.
void CaptureByTransitionTable(TriggerData* trigger_data, CaptureSource* source) {
  pg::Subtransaction savepoint;
  {
    const pg::SafeSearchPath path;
    const pg::SpiConnection connection;
    pg::Call([&] { SPI_register_trigger_data(trigger_data); });
    SPIPlanPtr plan = source->TransitionPlan(trigger_data);
    pg::Call([&] {
      if (SPI_execute_plan(plan, nullptr, nullptr, false, 0) != SPI_OK_SELECT) {
        elog(ERROR, "SPI_execute_plan failed");
      }
      AddResult(source);
    });
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
      Datum parameters[1] = {row};
      if (SPI_execute_plan(plan, parameters, nullptr, false, 0) != SPI_OK_SELECT) {
        elog(ERROR, "SPI_execute_plan failed");
      }
      AddResult(source);
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

void CheckTrigger(const FunctionCallInfo fcinfo) {
  const bool fits = CALLED_AS_TRIGGER(fcinfo) &&
                    TRIGGER_FIRED_AFTER(reinterpret_cast<TriggerData*>(fcinfo->context)->tg_event);
  const TriggerData* data = fits ? reinterpret_cast<TriggerData*>(fcinfo->context) : nullptr;
  if (fits &&
      (TRIGGER_FIRED_BY_INSERT(data->tg_event) || TRIGGER_FIRED_BY_UPDATE(data->tg_event)) &&
      (TRIGGER_FIRED_FOR_ROW(data->tg_event) || data->tg_newtable != nullptr)) {
    return;
  }
  pg::Throw([&] {
    ereport(ERROR,
            (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
             errmsg("alerting.capture() must be called by an AFTER INSERT or UPDATE trigger, "
                    "for each row or with a transition table"),
             errhint("Let alerting.attach_metrics() make the trigger.")));
  });
}

Datum Capture(FunctionCallInfo fcinfo) {
  CheckTrigger(fcinfo);
  TriggerData* trigger_data = reinterpret_cast<TriggerData*>(fcinfo->context);
  if (pg::guc_enabled && OpenTransactionBuffer()) {
    CaptureSource* source = CaptureSource::For(trigger_data);
    if (source == nullptr || !source->IsConcernedBy(trigger_data)) {
      // Nothing to read.
    } else if (!source->is_direct()) {
      CaptureByQuery(trigger_data, source);
    } else if (TRIGGER_FIRED_FOR_ROW(trigger_data->tg_event)) {
      CaptureDirectRow(trigger_data, source);
    } else {
      CaptureDirect(trigger_data, source);
    }
  }
  return PointerGetDatum(nullptr);
}

}  // namespace

}  // namespace alerting::ext

Datum alerting_capture(PG_FUNCTION_ARGS) {
  return alerting::pg::Entry([&] { return alerting::ext::Capture(fcinfo); });
}
