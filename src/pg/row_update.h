// Gives one row new values as an UPDATE does, but without a statement, whose start and end cost
// more than that. Any process, inside a transaction with a snapshot, as the table's owner.
#ifndef ALERTING_PG_ROW_UPDATE_H_
#define ALERTING_PG_ROW_UPDATE_H_

#include <span>

#include "pg/guard.h"

namespace alerting::pg {

struct NewValue {
  const char* column;
  Oid type;
  Datum value;
};

// `place`: of a row that a look-up in this transaction has found. False: nothing was done, and only
// a statement does all that is asked for: the table has triggers, rules, row security or columns of
// other types, or somebody else has changed or locked the row. Should that happen in this very
// moment, it is an error.
bool UpdateRow(Oid relation, const ItemPointerData& place, std::span<const NewValue> values);

}  // namespace alerting::pg

#endif  // ALERTING_PG_ROW_UPDATE_H_
