// Gives rows new values as an UPDATE does (triggers, checks, indexes), but without a statement,
// whose start and end cost more than its few rows, and without waiting for anybody. Any process,
// inside a transaction with a snapshot, as the table's owner.
#ifndef ALERTING_PG_ROW_UPDATER_H_
#define ALERTING_PG_ROW_UPDATER_H_

#include <span>

#include "pg/table_plan.h"

namespace alerting::pg {

class RowUpdater {
 public:
  // `plan`: of this table, and of the columns that Update() sets; it outlives the updater. No
  // foreign key is about one of them. After an error the transaction has to be aborted; so has one
  // that is left before Finish().
  RowUpdater(TablePlan* plan, Oid relation);
  RowUpdater(const RowUpdater&) = delete;
  RowUpdater& operator=(const RowUpdater&) = delete;

  // False where only a statement does all that the table asks for: rules, row security, generated
  // columns, triggers that may change a row or see all of them at once, columns of other types;
  // nothing may be updated then.
  bool can_update() const { return can_update_; }
  // Reads the row that lies there. False: the transaction's snapshot sees none, or somebody else
  // has locked or changed it, or tried to.
  bool Fetch(const ItemPointerData& place);
  // What the row fetched last has in a column; NULL where there is none of this type.
  Datum Value(const char* column, Oid type, bool* is_null) const;
  // Gives the row fetched last these values, one for each of the plan's columns. False: somebody
  // else was faster, and nothing was done.
  bool Update(std::span<const ColumnValue> values);
  // The end of the statement: its triggers are executed here.
  void Finish();

 private:
  bool TakesPlainUpdates() const;
  void Begin();
  bool Replace();

  TablePlan* const plan_;
  Relation relation_ = nullptr;
  bool can_update_ = false;
  bool has_row_triggers_ = false;  // other than those of foreign keys
  bool has_updated_ = false;
  BlockNumber blocks_ = 0;  // it grows further, but is not truncated while we have it open
  EState* state_ = nullptr;
  ResultRelInfo* target_ = nullptr;
  TupleTableSlot* old_row_ = nullptr;
  TupleTableSlot* new_row_ = nullptr;
};

}  // namespace alerting::pg

#endif  // ALERTING_PG_ROW_UPDATER_H_
