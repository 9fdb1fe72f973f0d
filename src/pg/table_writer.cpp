// Implements pg/table_writer.h.
#include "pg/table_writer.h"

#include <algorithm>

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

TableWriter::TableWriter(Oid relation, std::span<const ColumnType> columns,
                         std::span<const LockedReference> locked) {
  columns_.reserve(columns.size());
  bool fits = true;
  relation_ = Call([&] { return table_open(relation, RowExclusiveLock); });
  for (const ColumnType& column : columns) {
    const AttrNumber number = Call([&] { return get_attnum(relation, column.name); });
    fits = fits && number != InvalidAttrNumber &&
           TupleDescAttr(RelationGetDescr(relation_), number - 1)->atttypid == column.type;
    columns_.push_back({number, column.type == TEXTOID});
  }
  can_write_ = fits && TakesPlainRows();
  if (can_write_) {
    Begin();
    for (const LockedReference& reference : locked) LeaveOutCheck(reference);
    AddDefaults();
  } else {
    Call([&] { table_close(relation_, NoLock); });
  }
}

bool TableWriter::TakesPlainRows() const {
  if (relation_->rd_rel->relkind != RELKIND_RELATION || relation_->rd_rules != nullptr)
    return false;
  const TriggerDesc* triggers = relation_->trigdesc;
  if (triggers != nullptr && triggers->trig_insert_new_table) return false;
  return Call([&] {
    return check_enable_rls(RelationGetRelid(relation_), InvalidOid, true) != RLS_ENABLED;
  });
}

void TableWriter::Begin() {
  Call([&] {
    state_ = CreateExecutorState();
    RangeTblEntry* entry = makeNode(RangeTblEntry);
    entry->rtekind = RTE_RELATION;
    entry->relid = RelationGetRelid(relation_);
    entry->relkind = relation_->rd_rel->relkind;
    entry->rellockmode = RowExclusiveLock;
    InitSingleRangeTable(state_, entry);
    state_->es_output_cid = GetCurrentCommandId(true);
    target_ = makeNode(ResultRelInfo);
    InitResultRelInfo(target_, relation_, 1, nullptr, 0);
    state_->es_opened_result_relations = lappend(state_->es_opened_result_relations, target_);
    slot_ = ExecInitExtraTupleSlot(state_, RelationGetDescr(relation_),
                                   table_slot_callbacks(relation_));
    ExecOpenIndices(target_, false);
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

void TableWriter::AddDefaults() {
  const TupleDesc descriptor = RelationGetDescr(relation_);
  for (AttrNumber number = 1; number <= descriptor->natts; ++number) {
    const Form_pg_attribute column = TupleDescAttr(descriptor, number - 1);
    if (column->attisdropped || column->attgenerated != '\0') continue;
    if (std::any_of(columns_.begin(), columns_.end(),
                    [&](const Column& given) { return given.number == number; })) {
      continue;
    }
    ExprState* expression = Call([&]() -> ExprState* {
      MemoryContext outer = MemoryContextSwitchTo(state_->es_query_cxt);
      Expr* value = reinterpret_cast<Expr*>(build_column_default(relation_, number));
      ExprState* prepared =
          value == nullptr ? nullptr : ExecInitExpr(expression_planner(value), nullptr);
      MemoryContextSwitchTo(outer);
      return prepared;
    });
    if (expression != nullptr) defaults_.push_back({number, expression});
  }
}

void TableWriter::Insert(std::span<const ColumnValue> values) {
  const std::span<const Column> columns = columns_;
  const std::span<const Default> defaults = defaults_;
  Call([&] {
    ExprContext* context = GetPerTupleExprContext(state_);
    MemoryContext outer = MemoryContextSwitchTo(context->ecxt_per_tuple_memory);
    ExecClearTuple(slot_);
    memset(slot_->tts_isnull, true, sizeof(bool) * slot_->tts_tupleDescriptor->natts);
    for (size_t i = 0; i < values.size(); ++i) {
      if (values[i].is_null) continue;
      const std::string_view text = values[i].text;
      const int place = columns[i].number - 1;
      slot_->tts_values[place] = columns[i].is_text
                                     ? PointerGetDatum(cstring_to_text_with_len(
                                           text.data(), static_cast<int>(text.size())))
                                     : values[i].datum;
      slot_->tts_isnull[place] = false;
    }
    for (const Default& one : defaults) {
      slot_->tts_values[one.column - 1] =
          ExecEvalExpr(one.expression, context, &slot_->tts_isnull[one.column - 1]);
    }
    ExecStoreVirtualTuple(slot_);
    ExecSimpleRelationInsert(target_, state_, slot_);
    MemoryContextSwitchTo(outer);
    ResetPerTupleExprContext(state_);
  });
}

Datum TableWriter::Written(const char* column, bool* is_null) const {
  return Call([&] {
    return slot_getattr(slot_, get_attnum(RelationGetRelid(relation_), column), is_null);
  });
}

void TableWriter::Finish() {
  Call([&] {
    ExecASInsertTriggers(state_, target_, nullptr);
    AfterTriggerEndQuery(state_);
    ExecCloseIndices(target_);
    ExecResetTupleTable(state_->es_tupleTable, false);
    FreeExecutorState(state_);
    table_close(relation_, NoLock);
    CommandCounterIncrement();  // what follows sees the rows
  });
}

}  // namespace alerting::pg
