// How keys of the host's tables are written and compared: by the operator of their own type, as the
// host's foreign keys do. Evaluator and backends, in a transaction.
//
// Invariant: what alerting keeps is the key as its row in the host's table has it. Where equal keys
// may be written in several ways (citext, numeric, a collation that is not deterministic), what
// comes from elsewhere is brought to that.
#ifndef ALERTING_EXT_HOST_HOST_KEY_H_
#define ALERTING_EXT_HOST_HOST_KEY_H_

#include <string>
#include <unordered_map>
#include <vector>

#include "ext/host/source_mapping.h"

namespace alerting::ext {

struct Binding;

struct HostKey {
  std::string type = "pg_catalog.text";  // as a cast
  std::string equals = "=";              // as an operator
  std::string collation;                 // of what varies: "" or " COLLATE ..."
  // Neither text, uuid nor integer: compared by an operator of its own, and not all text is a key.
  bool is_foreign = false;
  bool varies = false;  // equal keys may differ as text

  std::string Cast(const std::string& expression) const {
    return "(" + expression + ")::" + type + collation;
  }
  std::string ArrayType() const { return type + "[]"; }
  // For statements that run with more rights than the type's owner has, who may give it casts
  // (CREATE CAST): a value as text and texts as an array, by the type's own output and input
  // functions.
  std::string Text(const std::string& value) const {
    return is_foreign ? "pg_catalog.format('%s', " + value + ")" : value + "::pg_catalog.text";
  }
  std::string Array(const std::string& texts) const {
    if (!is_foreign) return texts + "::pg_catalog.text[]::" + ArrayType();
    return "(SELECT r.keys FROM pg_catalog.jsonb_to_record(pg_catalog.jsonb_build_object('keys', " +
           texts + "::pg_catalog.text[])) AS r (keys " + ArrayType() +
           "))::" + ArrayType();  // which keeps ANY () from taking it for a subquery
  }
  // "column OPERATOR(...) $1::type"
  std::string Equal(const std::string& column, const std::string& text) const {
    return column + " " + equals + " " + text + "::" + type;
  }
};

// Of a table's column, quoted as PostgreSQL quotes it, whose keys are handled as this kind.
HostKey DescribeKey(Oid relation, const std::string& column, KeyKind kind);
// How keys of a type are handled that is no domain.
KeyKind KindOfType(Oid type);
// How a column's keys are handled; of a domain that is its base type's way.
KeyKind KindOfColumn(Oid relation, const std::string& column);

// A key's value as its cast to text gives it to the workers: however a backend writes bytea, the
// only one of these types whose form depends on a setting. PostgreSQL code.
Datum KeyAsText(Oid type, Datum value);

// Organizations as their table writes them, by how they are written here; those that differ only.
std::unordered_map<std::string, std::string> HostSpelling(
    const Binding& binding, const std::vector<std::string>& organizations);

}  // namespace alerting::ext

#endif  // ALERTING_EXT_HOST_HOST_KEY_H_
