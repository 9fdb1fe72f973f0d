// What pg/table_writer.h and pg/row_updater.h find out about a table before they write, kept from
// one transaction to the next until the table changes: to prepare defaults, checks and the
// predicates of indexes costs as much as to write a row. Any process.
#ifndef ALERTING_PG_TABLE_PLAN_H_
#define ALERTING_PG_TABLE_PLAN_H_

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pg/guard.h"

namespace alerting::pg {

struct ColumnType {
  const char* name;
  Oid type;  // InvalidOid: any, and its values are given as text
};

struct ColumnValue {
  std::string_view text = {};  // of a column of type text, or of any type
  Datum datum = 0;             // of any other
  bool is_null = false;
};

// A foreign key whose rows the caller has locked against deletion in this transaction, which is all
// that its check would do, row by row.
struct LockedReference {
  const char* column;
  Oid relation;
  const char* referenced_column;
};

class TablePlan {
 public:
  // `columns`: those that the writer is given; they outlive the plan. The others have their
  // defaults.
  explicit TablePlan(std::span<const ColumnType> columns);
  ~TablePlan();
  TablePlan(const TablePlan&) = delete;
  TablePlan& operator=(const TablePlan&) = delete;

 private:
  friend class TableWriter;
  friend class RowUpdater;

  enum class Form : uint8_t { kDatum, kText, kInput };
  struct Column {
    AttrNumber number;
    Form form;
    // Of kInput: the type's input function, with its parameter and modifier.
    Oid input;
    Oid parameter;
    int32 modifier;
  };
  struct Default {
    AttrNumber column;
    ExprState* expression;
  };
  struct Predicate {
    Oid index;
    ExprState* expression;
  };

  // Where a foreign key's checks stand among the table's triggers.
  struct Checks {
    std::string column;
    Oid relation;
    std::string referenced_column;
    std::vector<int> places;
  };

  static void OnChange(Oid relation) noexcept;
  bool IsConcerned(Oid relation) const noexcept;

  // Makes this the plan of the open table as it is now, if it is not.
  void Prepare(Relation table);
  bool FindColumn(Relation table, const ColumnType& wanted);
  void AddDefaults(Relation table);
  const std::vector<int>& PlacesOfChecks(Relation table, const TriggerDesc& triggers,
                                         const LockedReference& reference);

  // One value for each of the columns. PostgreSQL code.
  void SetValues(std::span<const ColumnValue> values, TupleTableSlot* row) const;

  // The executor's state for a writer: the first one's stays, for what is prepared in it.
  EState* NewState();
  void Lend(ResultRelInfo* target) const;
  // The end of the writer's statement, after its triggers: closes the table, and keeps what the
  // state has prepared if a row has been written.
  void Finish(EState* state, ResultRelInfo* target, bool has_written);
  // With the indexes still open.
  void Keep(const EState* state, ResultRelInfo* target);
  void Release(EState* state);

  static TablePlan* first_;  // of all plans of the process
  TablePlan* next_ = nullptr;

  const std::span<const ColumnType> wanted_;
  Oid relation_ = InvalidOid;
  bool stale_ = true;
  bool fits_ = false;  // the columns are there, of the types wanted
  MemoryContext context_;
  std::vector<Column> columns_;
  std::vector<Default> defaults_;
  std::vector<Checks> checks_left_out_;
  EState* state_ = nullptr;  // the one that stays
  bool is_kept_ = false;     // and has what follows
  ExprState** checks_ = nullptr;
  std::vector<Predicate> predicates_;
};

}  // namespace alerting::pg

#endif  // ALERTING_PG_TABLE_PLAN_H_
