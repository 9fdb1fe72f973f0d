// Finds the few rows that have a key, by an index, and if need be locks them FOR KEY SHARE SKIP
// LOCKED, without a statement, whose start and end cost more than that. Any process, inside a
// transaction of isolation READ COMMITTED, as the role that would run the statement.
//
// Invariant: what it gives is what the statement would give. Wherever that takes more than to look
// up an index and to lock what is found (a row that somebody else has locked, or has just changed;
// row security; types, indexes or tables that are not plain), it declines, and the statement is to
// be run: what has been locked by then, the statement would have locked too.
#ifndef ALERTING_PG_KEY_LOOKUP_H_
#define ALERTING_PG_KEY_LOOKUP_H_

#include <optional>
#include <string>
#include <vector>

#include "pg/guard.h"

namespace alerting::pg {

struct KeyedValue {
  bool is_null = true;
  bool is_key = false;  // of a type that keys have
  std::string text;     // of those: as a cast to text has it
  Datum datum = 0;      // not of text and uuid; valid until the transaction ends
};

struct KeyedRow {
  std::string version;             // xmin::text || ctid::text
  ItemPointerData place;           // ctid
  std::vector<KeyedValue> values;  // of the columns asked for, in their order
};

// What of the table's definition the search goes by. Trivial.
struct KeyShape {
  static constexpr size_t kMostColumns = 8;
  bool fits;
  Oid relation;
  uint64_t changes;  // to any relation that this process had heard of
  Oid index;
  RegProcedure equal;
  Oid collation;
  Oid key_type;
  AttrNumber flag;  // or none
  AttrNumber columns[kMostColumns];
  Oid types[kMostColumns];
};

class KeyLookup {
 public:
  // `key`: the column that is to equal the key; text, varchar, uuid, int2, int4, int8, or a domain
  // over one. `flag`: a boolean column that is to be true; "" for none. `columns`: those whose
  // values are wanted, of the types of keys, boolean or float8.
  KeyLookup(std::string key, std::string flag, std::vector<std::string> columns);

  // nullopt: only the statement tells. `key` is what the type's output makes of it.
  std::optional<std::vector<KeyedRow>> Find(Oid relation, const std::string& key);
  std::optional<std::vector<KeyedRow>> Lock(Oid relation, const std::string& key);

 private:
  std::optional<std::vector<KeyedRow>> Run(Oid relation, const std::string& key, bool lock);

  std::string key_;
  std::string flag_;
  std::vector<std::string> columns_;
  KeyShape shape_{};
};

}  // namespace alerting::pg

#endif  // ALERTING_PG_KEY_LOOKUP_H_
