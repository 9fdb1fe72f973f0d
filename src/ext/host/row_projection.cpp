// Implements ext/host/row_projection.h.
#include "ext/host/row_projection.h"

#include "pg/node_visitor.h"

namespace alerting::ext {

namespace {

// Not the server's own, or one whose result depends on more than its arguments.
bool IsForeign(Oid function, void* /*context*/) {
  if (function >= FirstNormalObjectId) return true;
  HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
  if (!HeapTupleIsValid(tuple)) return true;
  const auto* form = reinterpret_cast<Form_pg_proc>(GETSTRUCT(tuple));
  const bool is_own =
      form->prolang == INTERNALlanguageId && form->provolatile == PROVOLATILE_IMMUTABLE;
  ReleaseSysCache(tuple);
  return !is_own;
}

// The server's own functions may call those of a type that is not.
bool IsForeignType(Oid type) {
  const Oid base = getBaseType(type);
  return base >= FirstNormalObjectId && !type_is_enum(base);
}

bool NeedsQuery(Node* node, void* context) {
  if (node == nullptr) return false;
  switch (nodeTag(node)) {
    case T_Var: {
      const auto* column = reinterpret_cast<Var*>(node);
      if (column->varlevelsup != 0 || column->varattno <= 0 || IsForeignType(column->vartype)) {
        return true;
      }
      break;
    }
    case T_Const:
      if (IsForeignType(reinterpret_cast<Const*>(node)->consttype)) return true;
      break;
    case T_List:
    case T_TargetEntry:
    case T_FuncExpr:
    case T_OpExpr:
    case T_DistinctExpr:
    case T_NullIfExpr:
    case T_ScalarArrayOpExpr:
    case T_BoolExpr:
    case T_NullTest:
    case T_BooleanTest:
    case T_CaseExpr:
    case T_CaseWhen:
    case T_CaseTestExpr:
    case T_CoalesceExpr:
    case T_MinMaxExpr:
    case T_RelabelType:
    case T_CoerceViaIO:
    case T_ArrayExpr:
    case T_CollateExpr:
      break;
    default:
      return true;
  }
  return check_functions_in_node(node, IsForeign, context) ||
         expression_tree_walker(node, pg::NodeVisitor{NeedsQuery}, context);
}

}  // namespace

void RowProjection::Build(const char* sql, TupleDesc descriptor, MemoryContext context) {
  projection_ = nullptr;
  RawStmt* statement = linitial_node(RawStmt, raw_parser(sql, RAW_PARSE_DEFAULT));
  const Query* query = parse_analyze_fixedparams(statement, sql, nullptr, 0, nullptr);
  if (NeedsQuery(reinterpret_cast<Node*>(query->targetList), nullptr)) return;
  MemoryContext outer = MemoryContextSwitchTo(context);
  Node* copy = static_cast<Node*>(copyObjectImpl(query->targetList));
  auto* list = reinterpret_cast<List*>(expression_planner(reinterpret_cast<Expr*>(copy)));
  columns_ = nullptr;
  pull_varattnos(copy, 1, &columns_);
  expressions_ = CreateStandaloneExprContext();
  TupleTableSlot* result = MakeSingleTupleTableSlot(ExecTypeFromTL(list), &TTSOpsVirtual);
  projection_ = ExecBuildProjectionInfo(list, expressions_, result, nullptr, descriptor);
  MemoryContextSwitchTo(outer);
}

}  // namespace alerting::ext
