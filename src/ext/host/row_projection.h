// Evaluates a mapping of expressions on a row without a query: for expressions that run nothing
// but PostgreSQL's own immutable functions. Those call no user's code, look no name up and read no
// table, so that it makes no difference whose rights and search_path are in force. Any backend.
#ifndef ALERTING_EXT_HOST_ROW_PROJECTION_H_
#define ALERTING_EXT_HOST_ROW_PROJECTION_H_

#include "pg/guard.h"

namespace alerting::ext {

// PostgreSQL code throughout.
class RowProjection {
 public:
  // Prepares the select list of "SELECT ... FROM table" for rows of that table; what it needs is
  // kept in `context`. Where the list is of other expressions there is nothing to evaluate by.
  void Build(const char* sql, TupleDesc descriptor, MemoryContext context);
  void Clear() { projection_ = nullptr; }
  bool exists() const { return projection_ != nullptr; }
  // The columns read, as PostgreSQL counts those that an UPDATE sets.
  Bitmapset* columns() const { return columns_; }

  // The list's values, until the next row. An error leaves nothing behind but memory.
  TupleTableSlot* Evaluate(TupleTableSlot* row) const {
    ResetExprContext(expressions_);
    expressions_->ecxt_scantuple = row;
    return ExecProject(projection_);
  }

 private:
  ProjectionInfo* projection_ = nullptr;
  ExprContext* expressions_ = nullptr;
  Bitmapset* columns_ = nullptr;
};

}  // namespace alerting::ext

#endif  // ALERTING_EXT_HOST_ROW_PROJECTION_H_
