// The capture trigger: turns the rows that a statement wrote into samples for the evaluator.
// Runs in the inserting backend. It takes no lock that outlives the statement, writes no table, and
// never makes the statement fail: a row that cannot be read is counted and skipped.
#include <new>

#include "ext/capture/capture_expressions.h"
#include "ext/capture/sample_writer.h"
#include "pg/guc.h"

extern "C" {
PG_FUNCTION_INFO_V1(alerting_capture);
PGDLLEXPORT Datum alerting_capture(PG_FUNCTION_ARGS);
}

namespace alerting::ext {

namespace {

constexpr int kRowsPerReset = 1000;

// A row whose reading raises no error needs no guard, which would cost as much as the reading.
void CaptureDirectRow(const TriggerData* trigger_data, const CaptureSource* source) {
  const RowWriter& writer = source->writer();
  ColumnValues row;
  writer.Read(NewRow(trigger_data), &row);
  const auto capture = [&] {
    SampleWriter samples;
    samples.Open();
    samples.AddRow(writer, row);
    samples.Close();
  };
  if (writer.IsSafe(row)) {
    capture();
  } else {
    pg::Call(capture);
  }
}

void CaptureDirect(const TriggerData* trigger_data, CaptureSource* source) {
  pg::Call([&] {
    const RowWriter& writer = source->writer();
    Tuplestorestate* rows = trigger_data->tg_newtable;
    TupleTableSlot* slot = source->OpenSlot();
    MemoryContext scratch = nullptr;  // of rows that allocate
    MemoryContext outer = CurrentMemoryContext;
    SampleWriter samples;
    samples.Open();
    int since_reset = 0;
    tuplestore_rescan(rows);
    // Counted, since asking for a row after the last costs as much as a row.
    for (int64 left = tuplestore_tuple_count(rows);
         left > 0 && tuplestore_gettupleslot(rows, true, false, slot); --left) {
      ColumnValues row;
      writer.Read(slot, &row);
      if (writer.IsSafe(row)) {
        samples.AddRow(writer, row);
        continue;
      }
      if (scratch == nullptr) {
        scratch = AllocSetContextCreate(outer, "alerting capture", ALLOCSET_SMALL_SIZES);
      }
      MemoryContextSwitchTo(scratch);
      samples.AddRow(writer, row);
      MemoryContextSwitchTo(outer);
      if (++since_reset < kRowsPerReset) continue;
      MemoryContextReset(scratch);
      since_reset = 0;
    }
    source->CloseSlot();
    if (scratch != nullptr) MemoryContextDelete(scratch);
    samples.Close();
  });
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

void CaptureRows(TriggerData* trigger_data) {
  CaptureSource* source = CaptureSource::For(trigger_data);
  if (source == nullptr || !source->IsConcernedBy(trigger_data)) {
    // Nothing to read.
  } else if (!source->is_direct()) {
    CaptureByExpressions(trigger_data, source);
  } else if (TRIGGER_FIRED_FOR_ROW(trigger_data->tg_event)) {
    CaptureDirectRow(trigger_data, source);
  } else {
    CaptureDirect(trigger_data, source);
  }
}

Datum Capture(FunctionCallInfo fcinfo) {
  CheckTrigger(fcinfo);
  TriggerData* trigger_data = reinterpret_cast<TriggerData*>(fcinfo->context);
  if (!pg::guc_enabled) {
    NoteUncapturedRows();
  } else if (OpenTransactionBuffer()) {
    try {
      CaptureRows(trigger_data);
    } catch (const std::bad_alloc&) {
      // C++ has none while PostgreSQL may have some: the evaluator reads the rows from the table.
      LeaveSourceToReplay(SourceOfTrigger(trigger_data->tg_trigger));
    }
  }
  return PointerGetDatum(nullptr);
}

}  // namespace

}  // namespace alerting::ext

Datum alerting_capture(PG_FUNCTION_ARGS) {
  return alerting::pg::Entry([&] { return alerting::ext::Capture(fcinfo); });
}
