// Writes rows into a table as an INSERT does (defaults, triggers, checks, indexes, foreign keys),
// but without a statement, whose start and end cost more than its few rows. Any process, inside a
// transaction with a snapshot, as the table's owner.
#ifndef ALERTING_PG_TABLE_WRITER_H_
#define ALERTING_PG_TABLE_WRITER_H_

#include <span>

#include "pg/table_plan.h"

namespace alerting::pg {

enum class OnConflict : uint8_t { kError, kLeaveOut };

class TableWriter {
 public:
  // `plan`: of this table, and of the columns that Insert() is given; it outlives the writer.
  // After an error the transaction has to be aborted; so has one that is left before Finish().
  TableWriter(TablePlan* plan, Oid relation, std::span<const LockedReference> locked,
              OnConflict on_conflict = OnConflict::kError);
  TableWriter(const TableWriter&) = delete;
  TableWriter& operator=(const TableWriter&) = delete;

  // False where only a statement does all that the table asks for: rules, row security, triggers
  // that see all new rows at once, columns of other types, and with kLeaveOut triggers that may
  // change a row; nothing may be inserted then.
  bool can_write() const { return can_write_; }
  // Whether triggers may change a row before it is written.
  bool may_change_rows() const {
    return relation_->trigdesc && relation_->trigdesc->trig_insert_before_row;
  }
  // One value for each column. False: a unique index has the row's key already, and it is left out
  // (what others insert in the very moment is an error even so).
  bool Insert(std::span<const ColumnValue> values);
  // What the row inserted last has in a column; NULL where there is none of this type.
  Datum Written(const char* column, Oid type, bool* is_null) const;
  ItemPointerData WrittenPlace() const { return slot_->tts_tid; }
  // The end of the statement: its triggers, foreign keys too, are executed here.
  void Finish();

 private:
  bool TakesPlainRows() const;
  void Open();
  void Begin();
  void LeaveOutChecks(std::span<const LockedReference> locked);

  TablePlan* const plan_;
  const OnConflict on_conflict_;
  Relation relation_ = nullptr;
  bool can_write_ = false;
  bool has_written_ = false;
  EState* state_ = nullptr;
  ResultRelInfo* target_ = nullptr;
  TupleTableSlot* slot_ = nullptr;
};

}  // namespace alerting::pg

#endif  // ALERTING_PG_TABLE_WRITER_H_
