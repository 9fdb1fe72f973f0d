// alerting.describe_mapping(): what a mapping that a user wrote means, and whether it may be used.
// Any backend, in attach and attach_metrics.
//
// A mapping is looked up along the caller's search_path once, here, and given back with every name
// qualified: later it runs under a pinned path and must mean the same. It is an expression over one
// row: no aggregate, window, set, lock or side effect.
//
// Invariant: analysed with the rights of the table's owner, as it will be evaluated, and never with
// the caller's: a constant is read here, and what reads it (a domain's checks within an array or a
// row) is its type's owner's.
#include "ext/host/binding.h"
#include "pg/guard.h"
#include "pg/node_visitor.h"
#include "pg/transaction.h"

extern "C" {
PG_FUNCTION_INFO_V1(alerting_describe_mapping);
PGDLLEXPORT Datum alerting_describe_mapping(PG_FUNCTION_ARGS);
}

namespace alerting::ext {

namespace {

// Everything down to DescribeMapping is PostgreSQL code that may ereport: it runs inside pg::Call
// and holds no object with a destructor.

struct Request {
  Oid relation;
  const char* alias;
  const char* what;
  const char* expression;
  Oid target;        // InvalidOid: not asked
  const char* path;  // nullptr: the current search_path
  Oid caller;
};

struct Answer {
  const char* sql;
  bool is_column;
  Oid type;
  List* columns;  // of quoted names, as C strings
  bool castable;
};

constexpr char kPrefix[] = "SELECT (";

const char* TableName(const Request& request) {
  return quote_qualified_identifier(get_namespace_name(get_rel_namespace(request.relation)),
                                    get_rel_name(request.relation));
}

[[noreturn]] void Refuse(const Request& request, int code, const char* problem, const char* hint) {
  ereport(ERROR,
          (errcode(code),
           errmsg("mapping \"%s\" of table %s %s", request.what, TableName(request), problem),
           errdetail("The mapping is: %s", request.expression), errhint("%s", hint)));
  pg_unreachable();
}

// The column that the text names: exactly, or as an identifier that may be quoted.
AttrNumber NamedColumn(TupleDesc descriptor, const char* name) {
  for (int i = 0; i < descriptor->natts; ++i) {
    const Form_pg_attribute attribute = TupleDescAttr(descriptor, i);
    if (!attribute->attisdropped && strcmp(NameStr(attribute->attname), name) == 0) {
      return attribute->attnum;
    }
  }
  return InvalidAttrNumber;
}

AttrNumber FindColumn(TupleDesc descriptor, const char* text) {
  const AttrNumber exact = NamedColumn(descriptor, text);
  if (exact != InvalidAttrNumber) return exact;
  List* names = NIL;
  char* copy = pstrdup(text);
  if (!SplitIdentifierString(copy, '.', &names) || list_length(names) != 1) {
    return InvalidAttrNumber;
  }
  return NamedColumn(descriptor, static_cast<const char*>(linitial(names)));
}

// The one expression that the text is; anything that would end it early is no expression.
Node* ParseExpression(const Request& request, const char* sql) {
  if (strspn(request.expression, " \t\r\n") == strlen(request.expression)) {
    Refuse(request, ERRCODE_SYNTAX_ERROR, "is empty", "Leave it out to have it guessed.");
  }
  List* statements = raw_parser(sql, RAW_PARSE_DEFAULT);
  const char* kHint = "Write one column or one SQL expression.";
  if (list_length(statements) != 1) {
    Refuse(request, ERRCODE_SYNTAX_ERROR, "is no single expression", kHint);
  }
  Node* statement = linitial_node(RawStmt, statements)->stmt;
  if (!IsA(statement, SelectStmt)) {
    Refuse(request, ERRCODE_SYNTAX_ERROR, "is no single expression", kHint);
  }
  const auto* select = reinterpret_cast<SelectStmt*>(statement);
  if (select->op != SETOP_NONE || list_length(select->targetList) != 1 ||
      select->fromClause != NIL || select->whereClause != nullptr || select->groupClause != NIL ||
      select->havingClause != nullptr || select->windowClause != NIL || select->sortClause != NIL ||
      select->limitCount != nullptr || select->limitOffset != nullptr ||
      select->lockingClause != NIL || select->intoClause != nullptr ||
      select->withClause != nullptr) {
    Refuse(request, ERRCODE_SYNTAX_ERROR, "is no single expression", kHint);
  }
  const ResTarget* target = linitial_node(ResTarget, select->targetList);
  if (target->name != nullptr) {
    Refuse(request, ERRCODE_SYNTAX_ERROR, "is no single expression", kHint);
  }
  return target->val;
}

struct Walk {
  int depth;           // subqueries around the node
  Bitmapset* columns;  // of the row, as attribute numbers less FirstLowInvalidHeapAttributeNumber
  bool has_lock;       // FOR UPDATE and the like in a subquery
};

bool VisitNode(Node* node, void* context) {
  auto* walk = static_cast<Walk*>(context);
  if (node == nullptr) return false;
  if (IsA(node, Var)) {
    const auto* var = reinterpret_cast<Var*>(node);
    if (static_cast<int>(var->varlevelsup) == walk->depth) {
      walk->columns =
          bms_add_member(walk->columns, var->varattno - FirstLowInvalidHeapAttributeNumber);
    }
    return false;
  }
  if (IsA(node, Query)) {
    auto* query = reinterpret_cast<Query*>(node);
    if (query->rowMarks != NIL) walk->has_lock = true;
    ++walk->depth;
    query_tree_walker(query, pg::NodeVisitor{VisitNode}, walk, 0);
    --walk->depth;
    return false;
  }
  return expression_tree_walker(node, pg::NodeVisitor{VisitNode}, walk);
}

// The expression analysed over one row of the relation.
Node* Analyze(const Request& request, Relation relation) {
  constexpr char kOneRow[] = "It must be computed from one row.";
  // The line break ends a comment that the text may end with.
  const char* sql = psprintf("%s%s\n)", kPrefix, request.expression);
  ParseState* state = make_parsestate(nullptr);
  state->p_sourcetext = sql;
  ParseNamespaceItem* item = addRangeTableEntryForRelation(
      state, relation, AccessShareLock, makeAlias(request.alias, NIL), false, true);
  addNSItemToQuery(state, item, true, true, true);
  Node* expression = transformExpr(state, ParseExpression(request, sql), EXPR_KIND_SELECT_TARGET);
  if (exprType(expression) == UNKNOWNOID) {
    expression = coerce_type(state, expression, UNKNOWNOID, TEXTOID, -1, COERCION_IMPLICIT,
                             COERCE_IMPLICIT_CAST, -1);
  }
  if (state->p_hasAggs) {
    Refuse(request, ERRCODE_GROUPING_ERROR, "uses an aggregate function", kOneRow);
  }
  if (state->p_hasWindowFuncs) {
    Refuse(request, ERRCODE_WINDOWING_ERROR, "uses a window function", kOneRow);
  }
  if (state->p_hasTargetSRFs) {
    Refuse(request, ERRCODE_FEATURE_NOT_SUPPORTED, "gives a set of values", kOneRow);
  }
  assign_expr_collations(state, expression);
  if (contain_volatile_functions(expression)) {
    Refuse(
        request, ERRCODE_INVALID_OBJECT_DEFINITION, "uses a volatile function",
        "It is evaluated as rows are written and again after a restart, and must give the same.");
  }
  return expression;
}

void DescribeColumn(TupleDesc descriptor, AttrNumber column, Answer* answer) {
  const Form_pg_attribute attribute = TupleDescAttr(descriptor, column - 1);
  answer->sql = pstrdup(quote_identifier(NameStr(attribute->attname)));
  answer->is_column = true;
  answer->type = attribute->atttypid;
  answer->columns = list_make1(const_cast<char*>(answer->sql));
}

void DescribeExpression(const Request& request, Relation relation, Node* expression,
                        Answer* answer) {
  TupleDesc descriptor = RelationGetDescr(relation);
  Walk walk = {0, nullptr, false};
  VisitNode(expression, &walk);
  if (walk.has_lock) {
    Refuse(request, ERRCODE_FEATURE_NOT_SUPPORTED, "locks rows",
           "Leave FOR UPDATE or FOR SHARE out.");
  }
  if (IsA(expression, Var) && reinterpret_cast<Var*>(expression)->varattno > 0) {
    DescribeColumn(descriptor, reinterpret_cast<Var*>(expression)->varattno, answer);
    return;
  }
  answer->sql = deparse_expression(
      expression, deparse_context_for(request.alias, RelationGetRelid(relation)), true, false);
  answer->is_column = false;
  answer->type = exprType(expression);
  for (int i = 0; i < descriptor->natts; ++i) {
    const Form_pg_attribute attribute = TupleDescAttr(descriptor, i);
    const bool whole_row = bms_is_member(0 - FirstLowInvalidHeapAttributeNumber, walk.columns);
    if (attribute->attisdropped) continue;
    if (whole_row ||
        bms_is_member(attribute->attnum - FirstLowInvalidHeapAttributeNumber, walk.columns)) {
      answer->columns =
          lappend(answer->columns, pstrdup(quote_identifier(NameStr(attribute->attname))));
    }
  }
}

void SetSearchPath(const char* path) {
  (void)set_config_option("search_path", path, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
                          false);
}

// The path as the caller sees it: "$user" is the caller.
void SetPath(const Request& request) {
  Oid owner = InvalidOid;
  int context = 0;
  GetUserIdAndSecContext(&owner, &context);
  SetUserIdAndSecContext(request.caller, context);
  SetSearchPath(request.path);
  StringInfoData names;
  initStringInfo(&names);
  ListCell* cell;
  foreach (cell, fetch_search_path(false)) {
    const char* name = get_namespace_name(lfirst_oid(cell));
    if (name == nullptr) continue;
    appendStringInfo(&names, "%s%s", names.len > 0 ? ", " : "", quote_identifier(name));
  }
  SetUserIdAndSecContext(owner, context);
  SetSearchPath(names.len > 0 ? names.data : "\"\"");
}

Answer Describe(const Request& request) {
  Answer answer = {nullptr, false, InvalidOid, NIL, true};
  Relation relation = relation_open(request.relation, AccessShareLock);
  const AttrNumber column = FindColumn(RelationGetDescr(relation), request.expression);
  if (column != InvalidAttrNumber) {
    DescribeColumn(RelationGetDescr(relation), column, &answer);
  } else {
    const int nest_level = NewGUCNestLevel();
    if (request.path != nullptr) SetPath(request);
    Node* expression = Analyze(request, relation);
    // Back to the pinned path: names that it does not see are written qualified.
    AtEOXact_GUC(false, nest_level);
    DescribeExpression(request, relation, expression, &answer);
  }
  if (OidIsValid(request.target)) {
    answer.castable = can_coerce_type(1, &answer.type, &request.target, COERCION_EXPLICIT);
  }
  relation_close(relation, NoLock);
  return answer;
}

// An error of the parser says neither which mapping it met nor points into the caller's statement.
[[noreturn]] void RaiseParserError(const Request& request, const ErrorData* error) {
  // Past the end of the mapping stands what we put around it.
  const auto length = static_cast<int>(sizeof(kPrefix) - 1 + strlen(request.expression));
  const bool at_end = error->sqlerrcode == ERRCODE_SYNTAX_ERROR && error->cursorpos > length;
  ereport(ERROR, (errcode(error->sqlerrcode),
                  errmsg("mapping \"%s\" of table %s: %s", request.what, TableName(request),
                         at_end ? "syntax error at its end" : error->message),
                  errdetail("The mapping is: %s", request.expression),
                  error->hint != nullptr ? errhint("%s", error->hint) : 0));
  pg_unreachable();
}

char* TextArgument(FunctionCallInfo fcinfo, int n) {
  return PG_ARGISNULL(n) ? nullptr : text_to_cstring(PG_GETARG_TEXT_PP(n));
}

Request ReadRequest(FunctionCallInfo fcinfo) {
  Request request;
  request.relation = PG_ARGISNULL(0) ? InvalidOid : PG_GETARG_OID(0);
  request.alias = TextArgument(fcinfo, 1);
  request.what = TextArgument(fcinfo, 2);
  request.expression = TextArgument(fcinfo, 3);
  request.target = PG_ARGISNULL(4) ? InvalidOid : PG_GETARG_OID(4);
  request.path = TextArgument(fcinfo, 5);
  if (!OidIsValid(request.relation) || request.alias == nullptr || request.what == nullptr ||
      request.expression == nullptr) {
    ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
                    errmsg("a mapping, its table, its alias and its name must not be null")));
  }
  return request;
}

Datum AnswerRow(FunctionCallInfo fcinfo, const Answer& answer) {
  TupleDesc descriptor;
  if (get_call_result_type(fcinfo, nullptr, &descriptor) != TYPEFUNC_COMPOSITE) {
    elog(ERROR, "return type must be a row type");
  }
  ArrayBuildState* columns = initArrayResult(TEXTOID, CurrentMemoryContext, false);
  ListCell* cell;
  foreach (cell, answer.columns) {
    columns = accumArrayResult(columns, CStringGetTextDatum(static_cast<char*>(lfirst(cell))),
                               false, TEXTOID, CurrentMemoryContext);
  }
  Datum values[] = {CStringGetTextDatum(answer.sql), BoolGetDatum(answer.is_column),
                    ObjectIdGetDatum(answer.type), makeArrayResult(columns, CurrentMemoryContext),
                    BoolGetDatum(answer.castable)};
  bool nulls[] = {false, false, false, false, false};
  return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, nulls));
}

Datum DescribeMapping(FunctionCallInfo fcinfo) {
  Request request = pg::Call([&] { return ReadRequest(fcinfo); });
  request.caller = GetUserId();
  const Oid owner = OwnerOf(request.relation);
  Answer answer;
  try {
    const pg::UserScope user(OidIsValid(owner) ? owner : request.caller, true);
    answer = pg::Call([&] {
      // The callers' callbacks would take a position in the mapping for one in their statement.
      error_context_stack = nullptr;
      return Describe(request);
    });
  } catch (const pg::Error& error) {
    // An error all the same, so nothing that the failed call left behind is used.
    if (error.data()->cursorpos <= 0) throw;
    pg::Throw([&] { RaiseParserError(request, error.data()); });
  }
  return pg::Call([&] { return AnswerRow(fcinfo, answer); });
}

}  // namespace

}  // namespace alerting::ext

Datum alerting_describe_mapping(PG_FUNCTION_ARGS) {
  return alerting::pg::Entry([&] { return alerting::ext::DescribeMapping(fcinfo); });
}
