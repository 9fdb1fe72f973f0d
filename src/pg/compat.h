// The differences between PostgreSQL 15 and 18, and the only file that asks for the version.
// Included by pg_headers.h alone.
#ifndef ALERTING_PG_COMPAT_H_
#define ALERTING_PG_COMPAT_H_

extern "C" {
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif
#if PG_VERSION_NUM >= 180000
#include "storage/waiteventset.h"
#endif
}

namespace alerting::pg {

// A process's number in ProcGlobal->allProcs, by which others find its latch.
inline int MyProcNumberCompat() {
#if PG_VERSION_NUM >= 170000
  return MyProcNumber;
#else
  return MyProc->pgprocno;
#endif
}

inline uint32 ExtensionWaitEvent([[maybe_unused]] const char* name) {
#if PG_VERSION_NUM >= 170000
  return WaitEventExtensionNew(name);
#else
  return PG_WAIT_EXTENSION;
#endif
}

inline WaitEventSet* CreateLongLivedWaitEventSet(int events) {
#if PG_VERSION_NUM >= 170000
  return CreateWaitEventSet(nullptr, events);
#else
  return CreateWaitEventSet(TopMemoryContext, events);
#endif
}

// The parts of a possibly qualified, possibly quoted name; ERROR when it is malformed.
inline List* SplitQualifiedName(const char* name) {
#if PG_VERSION_NUM >= 160000
  return stringToQualifiedNameList(name, nullptr);
#else
  return stringToQualifiedNameList(name);
#endif
}

inline bool OwnsDatabase(Oid database) {
#if PG_VERSION_NUM >= 160000
  return object_ownercheck(DatabaseRelationId, database, GetUserId());
#else
  return pg_database_ownercheck(database, GetUserId());
#endif
}

inline bool OwnsExtension(Oid extension) {
#if PG_VERSION_NUM >= 160000
  return object_ownercheck(ExtensionRelationId, extension, GetUserId());
#else
  return pg_extension_ownercheck(extension, GetUserId());
#endif
}

inline bool MayUseSchema(Oid schema, Oid role) {
#if PG_VERSION_NUM >= 160000
  return object_aclcheck(NamespaceRelationId, schema, role, ACL_USAGE) == ACLCHECK_OK;
#else
  return pg_namespace_aclcheck(schema, role, ACL_USAGE) == ACLCHECK_OK;
#endif
}

// A scan of the index for `keys` keys, which index_rescan() is then given.
inline IndexScanDesc BeginIndexScan(Relation table, Relation index, Snapshot snapshot, int keys) {
#if PG_VERSION_NUM >= 180000
  return index_beginscan(table, index, snapshot, nullptr, keys, 0);
#else
  return index_beginscan(table, index, snapshot, keys, 0);
#endif
}

// A range table of this one relation, and which of its columns an UPDATE sets.
inline void InitSingleRangeTable(EState* state, RangeTblEntry* entry, Bitmapset* updated) {
#if PG_VERSION_NUM >= 160000
  List* permissions = NIL;
  addRTEPermissionInfo(&permissions, entry)->updatedCols = updated;
#else
  entry->updatedCols = updated;
#endif
#if PG_VERSION_NUM >= 180000
  ExecInitRangeTable(state, list_make1(entry), permissions, bms_make_singleton(1));
#elif PG_VERSION_NUM >= 160000
  ExecInitRangeTable(state, list_make1(entry), permissions);
#else
  ExecInitRangeTable(state, list_make1(entry));
#endif
}

// Whether a row like the slot's may be inserted: no unique index holds its key.
inline bool HasNoConflict(ResultRelInfo* target, TupleTableSlot* slot, EState* state) {
  ItemPointerData conflict;
#if PG_VERSION_NUM >= 180000
  ItemPointerData none;
  ItemPointerSetInvalid(&none);
  return ExecCheckIndexConstraints(target, slot, state, &conflict, &none, NIL);
#else
  return ExecCheckIndexConstraints(target, slot, state, &conflict, NIL);
#endif
}

// Replaces the row at `place` by the slot's, with its index entries, unless somebody else is at it
// or has been: false. `recheck`: as ExecARUpdateTriggers() takes it.
inline bool ReplaceRow(ResultRelInfo* target, ItemPointer place, TupleTableSlot* slot,
                       EState* state, List** recheck) {
#if PG_VERSION_NUM >= 160000
  TU_UpdateIndexes indexes = TU_None;
#else
  bool indexes = false;
#endif
  TM_FailureData failure;
  LockTupleMode mode;
  const TM_Result result =
      table_tuple_update(target->ri_RelationDesc, place, slot, state->es_output_cid,
                         GetActiveSnapshot(), InvalidSnapshot, false, &failure, &mode, &indexes);
  if (result != TM_Ok) return false;
#if PG_VERSION_NUM >= 160000
  if (indexes == TU_None) return true;
  *recheck = ExecInsertIndexTuples(target, slot, state, true, false, nullptr, NIL,
                                   indexes == TU_Summarizing);
#else
  if (indexes) *recheck = ExecInsertIndexTuples(target, slot, state, true, false, nullptr, NIL);
#endif
  return true;
}

// The prepared CHECK constraints of a table.
inline ExprState**& CheckExpressions(ResultRelInfo* target) {
#if PG_VERSION_NUM >= 180000
  return target->ri_CheckConstraintExprs;
#else
  return target->ri_ConstraintExprs;
#endif
}

// PostgreSQL 18 has columns that are computed when they are read: no tuple holds what they give.
inline bool IsVirtual(const FormData_pg_attribute* column) {
  return column->attgenerated != '\0' && column->attgenerated != ATTRIBUTE_GENERATED_STORED;
}

// What a virtual column is computed from; its columns are those of range table entry 1.
inline Node* GenerationExpression(Relation relation, int column) {
#if PG_VERSION_NUM >= 180000
  return build_generation_expression(relation, column);
#else
  (void)relation, (void)column;
  return nullptr;
#endif
}

// Pages of the server's queue of notifications.
inline int MostNotificationPages() {
#if PG_VERSION_NUM >= 170000
  return max_notify_queue_pages;
#else
  return 1 << 20;
#endif
}

}  // namespace alerting::pg

// transaction_timeout exists from 17 on, and its expiry is FATAL.
#if PG_VERSION_NUM >= 170000
#define ALERTING_HAS_TRANSACTION_TIMEOUT 1
#else
#define ALERTING_HAS_TRANSACTION_TIMEOUT 0
#endif

#if PG_VERSION_NUM >= 180000
#define ALERTING_MODULE_MAGIC PG_MODULE_MAGIC_EXT(.name = "alerting", .version = "1.1.0")
#else
#define ALERTING_MODULE_MAGIC PG_MODULE_MAGIC
#endif

#endif  // ALERTING_PG_COMPAT_H_
