// What the executor is to know of a table whose rows are written without a plan. Any process.
#ifndef ALERTING_PG_RESULT_RELATION_H_
#define ALERTING_PG_RESULT_RELATION_H_

#include "pg/pg_headers.h"

namespace alerting::pg {

// Of the table that is open, locked for writing, and for an UPDATE the columns that it sets
// (numbers as in pg_attribute, less FirstLowInvalidHeapAttributeNumber). PostgreSQL code; all of it
// is the state's.
inline ResultRelInfo* InitResultRelation(EState* state, Relation table, Bitmapset* updated) {
  RangeTblEntry* entry = makeNode(RangeTblEntry);
  entry->rtekind = RTE_RELATION;
  entry->relid = RelationGetRelid(table);
  entry->relkind = table->rd_rel->relkind;
  entry->rellockmode = RowExclusiveLock;
  InitSingleRangeTable(state, entry, updated);
  state->es_output_cid = GetCurrentCommandId(true);
  ResultRelInfo* target = makeNode(ResultRelInfo);
  InitResultRelInfo(target, table, 1, nullptr, 0);
  state->es_opened_result_relations = lappend(state->es_opened_result_relations, target);
  return target;
}

// What the slot's row of the table has in a column; NULL where there is none of this type: whoever
// owns the table may have altered it. PostgreSQL code.
inline Datum ColumnOf(Relation table, TupleTableSlot* row, const char* name, Oid type,
                      bool* is_null) {
  *is_null = true;
  const AttrNumber number = get_attnum(RelationGetRelid(table), name);
  if (number <= 0) return Datum{0};
  if (TupleDescAttr(RelationGetDescr(table), number - 1)->atttypid != type) return Datum{0};
  return slot_getattr(row, number, is_null);
}

}  // namespace alerting::pg

#endif  // ALERTING_PG_RESULT_RELATION_H_
