// Implements pg/table_plan.h.
#include "pg/table_plan.h"

#include <algorithm>

namespace alerting::pg {

namespace {

// PostgreSQL code.
MemoryContext NewContext() {
  return AllocSetContextCreate(TopMemoryContext, "alerting table plan", ALLOCSET_SMALL_SIZES);
}

// PostgreSQL code.
Datum TextDatum(std::string_view text) {
  return PointerGetDatum(cstring_to_text_with_len(text.data(), static_cast<int>(text.size())));
}

// PostgreSQL code.
bool IsSingleKey(HeapTuple constraint, AttrNumber attribute, AttrNumber column) {
  bool is_null = false;
  const Datum value = SysCacheGetAttr(CONSTROID, constraint, attribute, &is_null);
  if (is_null) return false;
  ArrayType* keys = DatumGetArrayTypeP(value);
  return ARR_NDIM(keys) == 1 && ARR_DIMS(keys)[0] == 1 &&
         *reinterpret_cast<int16*>(ARR_DATA_PTR(keys)) == column;
}

// PostgreSQL code.
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

constinit TablePlan* TablePlan::first_ = nullptr;

void TablePlan::OnChange(Oid relation) noexcept {
  for (TablePlan* plan = first_; plan != nullptr; plan = plan->next_) {
    plan->stale_ = plan->stale_ || plan->IsConcerned(relation);
  }
}

bool TablePlan::IsConcerned(Oid relation) const noexcept {
  return relation == InvalidOid || relation == relation_ ||
         std::any_of(checks_left_out_.begin(), checks_left_out_.end(),
                     [&](const Checks& checks) { return checks.relation == relation; });
}

TablePlan::TablePlan(std::span<const ColumnType> columns)
    : wanted_(columns), context_(Call([] { return NewContext(); })) {
  static bool registered = false;
  // After what may fail: no destructor runs for a plan that is not made.
  next_ = std::exchange(first_, this);
  if (std::exchange(registered, true)) return;
  Call([] {
    CacheRegisterRelcacheCallback([](Datum, Oid relation) { OnChange(relation); }, Datum{0});
    // What expressions are made of.
    for (const int cache : {PROCOID, TYPEOID, CONSTROID, OPEROID}) {
      CacheRegisterSyscacheCallback(
          cache, [](Datum, int, uint32) { OnChange(InvalidOid); }, Datum{0});
    }
  });
}

TablePlan::~TablePlan() {
  TablePlan** link = &first_;
  while (*link != this) link = &(*link)->next_;
  *link = next_;
  MemoryContextDelete(context_);
}

void TablePlan::Prepare(Relation table) {
  if (!stale_ && relation_ == RelationGetRelid(table)) return;
  // First: what changes meanwhile makes it stale again.
  stale_ = false;
  relation_ = RelationGetRelid(table);
  columns_.clear();
  defaults_.clear();
  checks_left_out_.clear();
  state_ = nullptr;
  is_kept_ = false;
  checks_ = nullptr;
  predicates_.clear();
  Call([&] { MemoryContextReset(context_); });
  try {
    fits_ = std::all_of(wanted_.begin(), wanted_.end(),
                        [&](const ColumnType& column) { return FindColumn(table, column); });
    if (fits_) AddDefaults(table);
  } catch (...) {
    stale_ = true;
    throw;
  }
}

bool TablePlan::FindColumn(Relation table, const ColumnType& wanted) {
  const AttrNumber number = Call([&] { return get_attnum(RelationGetRelid(table), wanted.name); });
  if (number <= 0) return false;
  const Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(table), number - 1);
  Column column = {number, Form::kDatum, InvalidOid, InvalidOid, attribute->atttypmod};
  if (wanted.type == InvalidOid) {
    column.form = Form::kInput;
    Call([&] { getTypeInputInfo(attribute->atttypid, &column.input, &column.parameter); });
  } else if (attribute->atttypid != wanted.type) {
    return false;
  } else if (wanted.type == TEXTOID) {
    column.form = Form::kText;
  }
  columns_.push_back(column);
  return true;
}

void TablePlan::AddDefaults(Relation table) {
  const TupleDesc descriptor = RelationGetDescr(table);
  for (AttrNumber number = 1; number <= descriptor->natts; ++number) {
    const Form_pg_attribute attribute = TupleDescAttr(descriptor, number - 1);
    if (attribute->attisdropped || attribute->attgenerated != '\0') continue;
    if (std::any_of(columns_.begin(), columns_.end(),
                    [&](const Column& given) { return given.number == number; })) {
      continue;
    }
    ExprState* expression = Call([&]() -> ExprState* {
      MemoryContext outer = MemoryContextSwitchTo(context_);
      Expr* value = reinterpret_cast<Expr*>(build_column_default(table, number));
      ExprState* prepared =
          value == nullptr ? nullptr : ExecInitExpr(expression_planner(value), nullptr);
      MemoryContextSwitchTo(outer);
      return prepared;
    });
    if (expression != nullptr) defaults_.push_back({number, expression});
  }
}

const std::vector<int>& TablePlan::PlacesOfChecks(Relation table, const TriggerDesc& triggers,
                                                  const LockedReference& reference) {
  const auto known =
      std::find_if(checks_left_out_.begin(), checks_left_out_.end(), [&](const Checks& checks) {
        return checks.relation == reference.relation && checks.column == reference.column &&
               checks.referenced_column == reference.referenced_column;
      });
  if (known != checks_left_out_.end()) return known->places;
  std::vector<int> places;
  places.reserve(static_cast<size_t>(triggers.numtriggers));
  Call([&] {
    const AttrNumber column = get_attnum(RelationGetRelid(table), reference.column);
    const AttrNumber referenced = get_attnum(reference.relation, reference.referenced_column);
    for (int i = 0; i < triggers.numtriggers; ++i) {
      if (IsCheckOf(triggers.triggers[i], reference, column, referenced)) places.push_back(i);
    }
  });
  checks_left_out_.push_back(
      {reference.column, reference.relation, reference.referenced_column, std::move(places)});
  return checks_left_out_.back().places;
}

void TablePlan::SetValues(std::span<const ColumnValue> values, TupleTableSlot* row) const {
  const std::span<const Column> columns = columns_;
  for (size_t i = 0; i < values.size(); ++i) {
    const Column& column = columns[i];
    Datum value = values[i].datum;
    if (values[i].is_null) {
      value = Datum{0};
    } else if (column.form == Form::kText) {
      value = TextDatum(values[i].text);
    } else if (column.form == Form::kInput) {
      char* text = pnstrdup(values[i].text.data(), values[i].text.size());
      value = OidInputFunctionCall(column.input, text, column.parameter, column.modifier);
    }
    row->tts_values[column.number - 1] = value;
    row->tts_isnull[column.number - 1] = values[i].is_null;
  }
}

EState* TablePlan::NewState() {
  return Call([&] {
    if (is_kept_) return CreateExecutorState();
    // An error may have left one.
    if (state_ != nullptr) MemoryContextDelete(state_->es_query_cxt);
    state_ = nullptr;
    MemoryContext outer = MemoryContextSwitchTo(context_);
    state_ = CreateExecutorState();
    MemoryContextSwitchTo(outer);
    return state_;
  });
}

// The executor prepares what it does not find prepared.
void TablePlan::Lend(ResultRelInfo* target) const {
  if (!is_kept_) return;
  CheckExpressions(target) = checks_;
  for (int i = 0; i < target->ri_NumIndices; ++i) {
    const Oid index = RelationGetRelid(target->ri_IndexRelationDescs[i]);
    const auto known = std::find_if(predicates_.begin(), predicates_.end(),
                                    [&](const Predicate& one) { return one.index == index; });
    if (known != predicates_.end()) {
      target->ri_IndexRelationInfo[i]->ii_PredicateState = known->expression;
    }
  }
}

void TablePlan::Finish(EState* state, ResultRelInfo* target, bool has_written) {
  Relation table = target->ri_RelationDesc;
  if (has_written) Keep(state, target);
  Call([&] {
    ExecCloseIndices(target);
    ExecResetTupleTable(state->es_tupleTable, false);
  });
  Release(state);
  Call([&] {
    table_close(table, NoLock);
    CommandCounterIncrement();  // what follows sees the rows
  });
}

void TablePlan::Keep(const EState* state, ResultRelInfo* target) {
  if (state != state_) return;
  checks_ = CheckExpressions(target);
  for (int i = 0; i < target->ri_NumIndices; ++i) {
    const IndexInfo* info = target->ri_IndexRelationInfo[i];
    if (info->ii_PredicateState == nullptr) continue;
    predicates_.push_back(
        {RelationGetRelid(target->ri_IndexRelationDescs[i]), info->ii_PredicateState});
  }
  is_kept_ = true;
}

void TablePlan::Release(EState* state) {
  if (state == state_) return;
  Call([&] { FreeExecutorState(state); });
}

}  // namespace alerting::pg
