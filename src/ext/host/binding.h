// What the evaluator and backends read of alerting's own tables: the binding to the host, the
// metric sources, the rules. Runs in a transaction with an SPI connection, as the tables' owner.
#ifndef ALERTING_EXT_HOST_BINDING_H_
#define ALERTING_EXT_HOST_BINDING_H_

#include <optional>
#include <string>
#include <vector>

#include "core/engine.h"
#include "ext/host/host_key.h"
#include "ext/host/source_mapping.h"

namespace alerting::ext {

struct Source {
  SourceMapping mapping;
  Oid relation = InvalidOid;
  std::string name;   // qualified, quoted
  std::string label;  // for messages
  // Columns by which rows of one time are read in the order in which they were written; "" where
  // there are none.
  std::string place;
  // Only container by container does an index find the newest rows: (container, at), and none on
  // at.
  bool is_indexed_by_container = false;
  SourceSettings settings;
  HostKey container_type;  // of what `container` gives

  uint8_t readings() const;  // Reading bits of what is mapped
  Oid owner() const;         // of the metrics table: expressions run as this role
};

struct Binding {
  Oid containers_oid = InvalidOid;
  Oid organizations_oid = InvalidOid;
  std::string containers;  // qualified, quoted; "" when the table is gone
  std::string organizations;
  std::string containers_rows;  // as an item of FROM, see OwnRows()
  std::string organizations_rows;
  std::string organization;  // SQL over alias c
  bool organization_is_column = false;
  std::string container_key;  // quoted column
  KeyKind key_kind = KeyKind::kText;
  HostKey container_type;
  std::string organization_key;
  HostKey organization_type;
  std::string name;               // quoted column of containers, "" for none
  std::string organization_name;  // quoted column of organizations, "" for none
  Oid state_table = InvalidOid;   // alerting.series_state
  Micros created_at = kNoTime;    // anew after a detach()
  bool is_copy = false;           // restored or copied: identity differs from the recorded one
  std::vector<Source> sources;

  // Whose rights statements run with. Looked up at each use, as is a source's: a table that is
  // given to another role has his code in it from then on. An error where it is gone.
  Oid owner() const;  // of alerting's tables
  Oid containers_owner() const;
  Oid organizations_owner() const;
  const Source* FindSource(uint32_t id) const;
  // Makes the engine know the sources. What a table said that is attached no more is silent when
  // what the slowest of the others says would be: another may have taken its place.
  void SetSources(Engine* engine) const;
};

// The table of this name in schema alerting, InvalidOid when there is none.
Oid OwnTable(const char* name);

// InvalidOid when there is no such relation.
Oid OwnerOf(Oid relation);

// A table of the host as an item of FROM: with those rows alone that foreign keys find, which are
// none of a table that inherits from it.
std::string OwnRows(Oid table);

// The owner of alerting's tables, InvalidOid while there are none.
Oid TablesOwner();

// Whether this database is a restored or copied one, whose webhooks wait for alerting.resume(): the
// binding was recorded under other OIDs, or under another system identifier by a transaction that
// did not write the row that is here (pg_upgrade changes the former and keeps the row).
bool IsCopy();
extern const char kIsCopySql[];  // $1: this database's OID, $2: the system identifier

// Whether there is a binding, to tables that exist; asks only what tables of every version have.
bool IsAttached();
// nullopt: there is no binding (yet).
std::optional<Binding> LoadBinding();
// As TablesOwner() and LoadBinding(), for functions that users call: an error that says what to do
// while there is nothing.
Oid RequireTables();
Binding RequireBinding();
// A name as the catalogs have it, of one that is quoted as PostgreSQL quotes it.
std::string Unquoted(const std::string& quoted);
// Whether the table has a column of this name, quoted as PostgreSQL quotes it; not when it is "".
bool HasColumn(Oid relation, const std::string& quoted);
// Brings tables of an older version, which a dump has brought, to the present layout. Workers only.
void AdoptLayout();

// False when alerting's tables were dropped since, perhaps made anew: what is known of the old ones
// does not belong there.
bool HasSameTables(const Binding& binding);

std::vector<Rule> LoadRules(const Binding& binding);

}  // namespace alerting::ext

#endif  // ALERTING_EXT_HOST_BINDING_H_
