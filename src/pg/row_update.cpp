// Implements pg/row_update.h.
#include "pg/row_update.h"

#include "pg/result_relation.h"

namespace alerting::pg {

namespace {

// All of this is PostgreSQL code: trivial types, called within Call().

bool TakesPlainUpdates(Relation table) {
  return table->rd_rel->relkind == RELKIND_RELATION && table->rd_rules == nullptr &&
         table->trigdesc == nullptr &&
         check_enable_rls(RelationGetRelid(table), InvalidOid, true) != RLS_ENABLED;
}

// Reads the row, unless somebody else is at it or has been.
bool FetchUntouched(Relation table, const ItemPointerData& place, TupleTableSlot* slot) {
  ItemPointerData copy = place;
  if (!table_tuple_fetch_row_version(table, &copy, GetActiveSnapshot(), slot)) return false;
  bool should_free = false;
  const HeapTuple tuple = ExecFetchSlotHeapTuple(slot, false, &should_free);
  const bool is_untouched = (tuple->t_data->t_infomask & HEAP_XMAX_INVALID) != 0;
  if (should_free) heap_freetuple(tuple);
  return is_untouched;
}

// False: a column is missing, or of another type.
bool SetValues(Relation table, std::span<const NewValue> values, TupleTableSlot* old_row,
               TupleTableSlot* new_row) {
  const TupleDesc descriptor = RelationGetDescr(table);
  slot_getallattrs(old_row);
  const auto count = static_cast<size_t>(descriptor->natts);
  memcpy(new_row->tts_values, old_row->tts_values, sizeof(Datum) * count);
  memcpy(new_row->tts_isnull, old_row->tts_isnull, sizeof(bool) * count);
  for (const NewValue& one : values) {
    const AttrNumber number = get_attnum(RelationGetRelid(table), one.column);
    if (number <= 0 || TupleDescAttr(descriptor, number - 1)->atttypid != one.type) return false;
    new_row->tts_values[number - 1] = one.value;
    new_row->tts_isnull[number - 1] = false;
  }
  ExecStoreVirtualTuple(new_row);
  return true;
}

bool Update(Relation table, const ItemPointerData& place, std::span<const NewValue> values,
            EState* state) {
  ResultRelInfo* target = InitResultRelation(state, table);
  TupleTableSlot* old_row = table_slot_create(table, &state->es_tupleTable);
  TupleTableSlot* new_row = table_slot_create(table, &state->es_tupleTable);
  const bool may_update =
      FetchUntouched(table, place, old_row) && SetValues(table, values, old_row, new_row);
  if (may_update) {
    ExecOpenIndices(target, false);
    // Without triggers nothing asks for what a concurrent change would have to be judged by.
    ExecSimpleRelationUpdate(target, state, nullptr, old_row, new_row);
    ExecCloseIndices(target);
  }
  ExecResetTupleTable(state->es_tupleTable, false);
  return may_update;
}

}  // namespace

bool UpdateRow(Oid relation, const ItemPointerData& place, std::span<const NewValue> values) {
  return Call([&] {
    Relation table = table_open(relation, RowExclusiveLock);
    bool is_updated = false;
    if (TakesPlainUpdates(table)) {
      EState* state = CreateExecutorState();
      MemoryContext outer = MemoryContextSwitchTo(state->es_query_cxt);
      is_updated = Update(table, place, values, state);
      MemoryContextSwitchTo(outer);
      FreeExecutorState(state);
    }
    table_close(table, NoLock);
    if (is_updated) CommandCounterIncrement();  // what follows sees the row
    return is_updated;
  });
}

}  // namespace alerting::pg
