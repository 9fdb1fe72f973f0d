// Implements pg/row_updater.h.
#include "pg/row_updater.h"

#include "pg/result_relation.h"

namespace alerting::pg {

namespace {

// PostgreSQL code. Those of foreign keys have nothing to do where no key is set.
bool HasRowTriggers(const TriggerDesc* triggers) {
  if (triggers == nullptr || !triggers->trig_update_after_row) return false;
  for (int i = 0; i < triggers->numtriggers; ++i) {
    const Trigger& one = triggers->triggers[i];
    const bool fires = TRIGGER_FOR_ROW(one.tgtype) && TRIGGER_FOR_UPDATE(one.tgtype);
    if (fires && RI_FKey_trigger_type(one.tgfoid) == RI_TRIGGER_NONE) return true;
  }
  return false;
}

}  // namespace

RowUpdater::RowUpdater(TablePlan* plan, Oid relation) : plan_(plan) {
  relation_ = Call([&] { return table_open(relation, RowExclusiveLock); });
  plan_->Prepare(relation_);
  can_update_ = plan_->fits_ && TakesPlainUpdates();
  if (can_update_) {
    Begin();
  } else {
    Call([&] { table_close(relation_, NoLock); });
  }
}

bool RowUpdater::TakesPlainUpdates() const {
  if (relation_->rd_rel->relkind != RELKIND_RELATION || relation_->rd_rules != nullptr ||
      relation_->rd_rel->relispartition) {
    return false;
  }
  const TupleConstr* constraints = RelationGetDescr(relation_)->constr;
  if (constraints != nullptr && constraints->has_generated_stored) return false;
  const TriggerDesc* triggers = relation_->trigdesc;
  if (triggers != nullptr && (triggers->trig_update_before_row || triggers->trig_update_old_table ||
                              triggers->trig_update_new_table)) {
    return false;
  }
  return Call([&] {
    return check_enable_rls(RelationGetRelid(relation_), InvalidOid, true) != RLS_ENABLED;
  });
}

void RowUpdater::Begin() {
  state_ = plan_->NewState();
  const std::span<const TablePlan::Column> columns = plan_->columns_;
  Call([&] {
    CheckCmdReplicaIdentity(relation_, CMD_UPDATE);
    has_row_triggers_ = HasRowTriggers(relation_->trigdesc);
    MemoryContext outer = MemoryContextSwitchTo(state_->es_query_cxt);
    Bitmapset* updated = nullptr;
    for (const TablePlan::Column& column : columns) {
      updated = bms_add_member(updated, column.number - FirstLowInvalidHeapAttributeNumber);
    }
    target_ = InitResultRelation(state_, relation_, updated);
    old_row_ = table_slot_create(relation_, &state_->es_tupleTable);
    new_row_ = table_slot_create(relation_, &state_->es_tupleTable);
    blocks_ = static_cast<BlockNumber>(table_relation_size(relation_, MAIN_FORKNUM) / BLCKSZ);
    ExecOpenIndices(target_, false);
    MemoryContextSwitchTo(outer);
  });
  plan_->Lend(target_);
  Call([&] {
    AfterTriggerBeginQuery();
    ExecBSUpdateTriggers(state_, target_);
  });
}

bool RowUpdater::Fetch(const ItemPointerData& place) {
  // Where the table ended before it was truncated, reading would be an error.
  if (ItemPointerGetBlockNumberNoCheck(&place) >= blocks_) return false;
  return Call([&] {
    ItemPointerData copy = place;
    if (!table_tuple_fetch_row_version(relation_, &copy, GetActiveSnapshot(), old_row_)) {
      return false;
    }
    bool is_copy = false;
    const HeapTuple tuple = ExecFetchSlotHeapTuple(old_row_, false, &is_copy);
    const bool is_untouched = (tuple->t_data->t_infomask & HEAP_XMAX_INVALID) != 0;
    if (is_copy) heap_freetuple(tuple);
    return is_untouched;
  });
}

Datum RowUpdater::Value(const char* column, Oid type, bool* is_null) const {
  return Call([&] { return ColumnOf(relation_, old_row_, column, type, is_null); });
}

bool RowUpdater::Update(std::span<const ColumnValue> values) {
  const bool is_updated = Call([&] {
    ExprContext* context = GetPerTupleExprContext(state_);
    MemoryContext outer = MemoryContextSwitchTo(context->ecxt_per_tuple_memory);
    ExecClearTuple(new_row_);
    slot_getallattrs(old_row_);
    const auto count = static_cast<size_t>(old_row_->tts_tupleDescriptor->natts);
    memcpy(new_row_->tts_values, old_row_->tts_values, sizeof(Datum) * count);
    memcpy(new_row_->tts_isnull, old_row_->tts_isnull, sizeof(bool) * count);
    plan_->SetValues(values, new_row_);
    ExecStoreVirtualTuple(new_row_);
    const bool is_replaced = Replace();
    MemoryContextSwitchTo(outer);
    ResetPerTupleExprContext(state_);
    return is_replaced;
  });
  has_updated_ = has_updated_ || is_updated;
  return is_updated;
}

// PostgreSQL code.
bool RowUpdater::Replace() {
  if (RelationGetDescr(relation_)->constr != nullptr) ExecConstraints(target_, new_row_, state_);
  List* recheck = NIL;
  if (!ReplaceRow(target_, &old_row_->tts_tid, new_row_, state_, &recheck)) return false;
  if (has_row_triggers_) {
    ExecARUpdateTriggers(state_, target_, nullptr, nullptr, &old_row_->tts_tid, nullptr, new_row_,
                         recheck, nullptr, false);
  }
  list_free(recheck);
  return true;
}

void RowUpdater::Finish() {
  Call([&] {
    ExecASUpdateTriggers(state_, target_, nullptr);
    AfterTriggerEndQuery(state_);
  });
  plan_->Finish(state_, target_, has_updated_);
}

}  // namespace alerting::pg
