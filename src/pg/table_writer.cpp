// Implements pg/table_writer.h.
#include "pg/table_writer.h"

#include "pg/result_relation.h"

namespace alerting::pg {

TableWriter::TableWriter(TablePlan* plan, Oid relation, std::span<const LockedReference> locked,
                         OnConflict on_conflict)
    : plan_(plan), on_conflict_(on_conflict) {
  relation_ = Call([&] { return table_open(relation, RowExclusiveLock); });
  plan_->Prepare(relation_);
  can_write_ = plan_->fits_ && TakesPlainRows();
  if (can_write_) {
    Open();
    // First: what is called of a trigger is kept by its place among them.
    LeaveOutChecks(locked);
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

void TableWriter::LeaveOutChecks(std::span<const LockedReference> locked) {
  TriggerDesc* own = target_->ri_TrigDesc;  // a copy
  if (own == nullptr) return;
  std::vector<bool> is_left_out(static_cast<size_t>(own->numtriggers));
  for (const LockedReference& reference : locked) {
    for (const int place : plan_->PlacesOfChecks(relation_, *own, reference)) {
      is_left_out[static_cast<size_t>(place)] = true;
    }
  }
  int kept = 0;
  for (int i = 0; i < own->numtriggers; ++i) {
    if (!is_left_out[static_cast<size_t>(i)]) own->triggers[kept++] = own->triggers[i];
  }
  own->numtriggers = kept;
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
