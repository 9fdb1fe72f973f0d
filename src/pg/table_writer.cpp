// Implements pg/table_writer.h.
#include "pg/table_writer.h"

#include "pg/result_relation.h"

namespace alerting::pg {

namespace {

// PostgreSQL code.
bool IsSingleKey(HeapTuple constraint, AttrNumber attribute, AttrNumber column) {
  bool is_null = false;
  const Datum value = SysCacheGetAttr(CONSTROID, constraint, attribute, &is_null);
  if (is_null) return false;
  ArrayType* keys = DatumGetArrayTypeP(value);
  return ARR_NDIM(keys) == 1 && ARR_DIMS(keys)[0] == 1 &&
         *reinterpret_cast<int16*>(ARR_DATA_PTR(keys)) == column;
}

bool IsCheckOf(const Trigger& trigger, const LockedReference& reference, AttrNumber column,
               AttrNumber referenced) {
  if (RI_FKey_trigger_type(trigger.tgfoid) != RI_TRIGGER_FK) return false;
  if (trigger.tgconstrrelid != reference.relation) return false;
  HeapTuple constraint = SearchSysCache1(CONSTROID, ObjectIdGetDatum(trigger.tgconstraint));
  if (!HeapTupleIsValid(constraint)) return false;
  const bool is_it = IsSingleKey(constraint, Anum_pg_constraint_conkey, column) &&
                     IsSingleKey(constraint, Anum_pg_constraint_confkey, referenced);
  ReleaseSysCache(constraint);
  return is_it;
}

}  // namespace

TableWriter::TableWriter(TablePlan* plan, Oid relation, std::span<const LockedReference> locked,
                         OnConflict on_conflict)
    : plan_(plan), on_conflict_(on_conflict) {
  relation_ = Call([&] { return table_open(relation, RowExclusiveLock); });
  plan_->Prepare(relation_);
  can_write_ = plan_->fits_ && TakesPlainRows();
  if (can_write_) {
    Open();
    // First: what is called of a trigger is kept by its place among them.
    for (const LockedReference& reference : locked) LeaveOutCheck(reference);
    Begin();
  } else {
    Call([&] { table_close(relation_, NoLock); });
  }
}

bool TableWriter::TakesPlainRows() const {
  if (relation_->rd_rel->relkind != RELKIND_RELATION || relation_->rd_rules != nullptr)
    return false;
  const TriggerDesc* triggers = relation_->trigdesc;
  if (triggers != nullptr && triggers->trig_insert_new_table) return false;
  // Whether there is a conflict is known of a row as they leave it.
  if (on_conflict_ == OnConflict::kLeaveOut && may_change_rows()) return false;
  return Call([&] {
    return check_enable_rls(RelationGetRelid(relation_), InvalidOid, true) != RLS_ENABLED;
  });
}

void TableWriter::Open() {
  state_ = plan_->NewState();
  Call([&] {
    MemoryContext outer = MemoryContextSwitchTo(state_->es_query_cxt);
    target_ = InitResultRelation(state_, relation_, nullptr);
    slot_ = ExecInitExtraTupleSlot(state_, RelationGetDescr(relation_),
                                   table_slot_callbacks(relation_));
    ExecOpenIndices(target_, on_conflict_ == OnConflict::kLeaveOut);
    MemoryContextSwitchTo(outer);
  });
  plan_->Lend(target_);
}

void TableWriter::Begin() {
  Call([&] {
    AfterTriggerBeginQuery();
    ExecBSInsertTriggers(state_, target_);
  });
}

void TableWriter::LeaveOutCheck(const LockedReference& reference) {
  Call([&] {
    TriggerDesc* own = target_->ri_TrigDesc;  // a copy
    if (own == nullptr) return;
    const AttrNumber column = get_attnum(RelationGetRelid(relation_), reference.column);
    const AttrNumber referenced = get_attnum(reference.relation, reference.referenced_column);
    int kept = 0;
    for (int i = 0; i < own->numtriggers; ++i) {
      if (IsCheckOf(own->triggers[i], reference, column, referenced)) continue;
      own->triggers[kept++] = own->triggers[i];
    }
    own->numtriggers = kept;
  });
}

bool TableWriter::Insert(std::span<const ColumnValue> values) {
  const std::span<const TablePlan::Default> defaults = plan_->defaults_;
  const bool is_written = Call([&] {
    ExprContext* context = GetPerTupleExprContext(state_);
    MemoryContext outer = MemoryContextSwitchTo(context->ecxt_per_tuple_memory);
    ExecClearTuple(slot_);
    memset(slot_->tts_isnull, true, sizeof(bool) * slot_->tts_tupleDescriptor->natts);
    plan_->SetValues(values, slot_);
    for (const TablePlan::Default& one : defaults) {
      slot_->tts_values[one.column - 1] =
          ExecEvalExpr(one.expression, context, &slot_->tts_isnull[one.column - 1]);
    }
    ExecStoreVirtualTuple(slot_);
    const bool is_free =
        on_conflict_ == OnConflict::kError || HasNoConflict(target_, slot_, state_);
    if (is_free) ExecSimpleRelationInsert(target_, state_, slot_);
    MemoryContextSwitchTo(outer);
    ResetPerTupleExprContext(state_);
    return is_free;
  });
  has_written_ = has_written_ || is_written;
  return is_written;
}

Datum TableWriter::Written(const char* column, Oid type, bool* is_null) const {
  return Call([&] { return ColumnOf(relation_, slot_, column, type, is_null); });
}

void TableWriter::Finish() {
  Call([&] {
    ExecASInsertTriggers(state_, target_, nullptr);
    AfterTriggerEndQuery(state_);
  });
  plan_->Finish(state_, target_, has_written_);
}

}  // namespace alerting::pg
