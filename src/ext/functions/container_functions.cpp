// alerting.container_exists() and container_name(): what a backend asks the host's tables about one
// container. Any backend and the evaluator, in triggers and views.
//
// Whoever owns the containers table decides what reading it executes (an expression of an index is
// enough), so it is read with that owner's rights and never with those of alerting's tables.
#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include "ext/host/binding.h"
#include "ext/host/source_mapping.h"
#include "pg/guard.h"
#include "pg/spi.h"
#include "pg/transaction.h"

extern "C" {
PG_FUNCTION_INFO_V1(alerting_container_exists);
PGDLLEXPORT Datum alerting_container_exists(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(alerting_container_name);
PGDLLEXPORT Datum alerting_container_name(PG_FUNCTION_ARGS);
}

namespace alerting::ext {

namespace {

struct ContainersTable {
  std::string table, key, name;
  HostKey key_type;
  Oid owner = InvalidOid;
};

// The key's column by the alerts' foreign key, which also finds one that was renamed; "": there is
// no such key.
std::string ReferencedColumn(Oid containers) {
  const Oid alert = OwnTable("alert");
  return pg::Call([&]() -> const char* {
    const Oid key = get_relation_constraint_oid(alert, "alert_container_id_fkey", true);
    HeapTuple tuple = SearchSysCache1(CONSTROID, ObjectIdGetDatum(key));
    if (!HeapTupleIsValid(tuple)) return "";
    const char* name = nullptr;
    if (reinterpret_cast<Form_pg_constraint>(GETSTRUCT(tuple))->confrelid == containers) {
      bool is_null = false;
      const Datum columns = SysCacheGetAttr(CONSTROID, tuple, Anum_pg_constraint_confkey, &is_null);
      AttrNumber column = InvalidAttrNumber;
      if (!is_null) {
        std::memcpy(&column, ARR_DATA_PTR(DatumGetArrayTypeP(columns)), sizeof(column));
      }
      name = get_attname(containers, column, true);
    }
    ReleaseSysCache(tuple);
    return name == nullptr ? "" : quote_identifier(name);
  });
}

// Of the binding, read with its own owner's rights; nullopt when the host's table is gone, or has
// other keys by now. Asked for each row of a view, and for each of thousands of containers that go
// with their host: no catalog is joined.
std::optional<ContainersTable> FindContainersTable() {
  static constinit pg::Statement* find = nullptr;
  if (find == nullptr) {
    find = new pg::Statement(
        "SELECT containers::oid, container_key, container_key_kind, coalesce(name, '')"
        " FROM alerting.host_binding");
  }
  const Oid binding_owner = TablesOwner();
  if (!OidIsValid(binding_owner)) return std::nullopt;
  const pg::UserScope user(binding_owner, false);
  const pg::Rows rows = find->Run();
  if (rows.size() == 0) return std::nullopt;
  const Oid table = rows.OidValue(0, 0);
  const Oid owner = OwnerOf(table);
  if (!OidIsValid(owner)) return std::nullopt;
  const std::string name = rows.Text(0, 3);
  std::string key = ReferencedColumn(table);
  if (key.empty()) key = rows.Text(0, 1);
  const KeyKind kind = ParseKeyKind(rows.Text(0, 2));
  if (!HasColumn(table, key) || KindOfColumn(table, key) != kind) return std::nullopt;
  return ContainersTable{OwnRows(table), key, HasColumn(table, name) ? name : "",
                         DescribeKey(table, key, kind), owner};
}

// A question asked for each row of a view, or for each of the alerts that a host's end deletes: its
// plan is kept while the question stays the same.
class Question {
 public:
  pg::Rows Ask(const std::string& sql, const pg::Params& params) {
    const bool is_same = kept_ != nullptr && kept_->sql() == sql;
    // What is read runs other people's code, which may ask here again, even under another binding.
    if (!is_same && asking_ > 0) return pg::ReadOnly(sql, params);
    if (!is_same) {
      delete std::exchange(kept_, nullptr);
      kept_ = new pg::Statement(sql);
    }
    const Asking asking(&asking_);
    return kept_->RunReadOnly(params);
  }

 private:
  class Asking {
   public:
    explicit Asking(int* depth) : depth_(depth) { ++*depth_; }
    ~Asking() { --*depth_; }
    Asking(const Asking&) = delete;
    Asking& operator=(const Asking&) = delete;

   private:
    int* depth_;
  };

  pg::Statement* kept_ = nullptr;
  int asking_ = 0;
};

// The rows of this key, by the calling statement's snapshot: `what` is a select list over alias c.
pg::Rows FindContainer(const ContainersTable& host, const std::string& what,
                       const std::string& container, Question* question) {
  return question->Ask("SELECT " + what + " FROM " + host.table + " c WHERE " +
                           host.key_type.Equal("c." + host.key, "$1"),
                       pg::Params().Text(container));
}

Datum ContainerExists(FunctionCallInfo fcinfo) {
  if (PG_ARGISNULL(0)) PG_RETURN_NULL();
  const char* container = pg::Call([&] { return text_to_cstring(PG_GETARG_TEXT_PP(0)); });
  const pg::SafeSearchPath path;
  const pg::SpiConnection connection;
  const std::optional<ContainersTable> host = FindContainersTable();
  if (!host) PG_RETURN_NULL();
  const pg::UserScope user(host->owner, true);
  static constinit Question question;
  PG_RETURN_BOOL(FindContainer(*host, "", container, &question).size() > 0);
}

Datum ContainerName(FunctionCallInfo fcinfo) {
  if (PG_ARGISNULL(0)) PG_RETURN_NULL();
  const char* container = pg::Call([&] { return text_to_cstring(PG_GETARG_TEXT_PP(0)); });
  MemoryContext outer = CurrentMemoryContext;
  const pg::SafeSearchPath path;
  const pg::SpiConnection connection;
  const std::optional<ContainersTable> host = FindContainersTable();
  if (!host || host->name.empty()) PG_RETURN_NULL();
  // A reader who has the owner's rights anyway lends him none; another one needs his own.
  std::optional<pg::UserScope> user;
  if (pg::Call([&] { return has_privs_of_role(GetUserId(), host->owner); })) {
    user.emplace(host->owner, true);
  }
  static constinit Question question;
  const pg::Rows rows =
      FindContainer(*host, "c." + host->name + "::pg_catalog.text", container, &question);
  if (rows.size() == 0 || rows.IsNull(0, 0)) PG_RETURN_NULL();
  const std::string name = rows.Text(0, 0);
  return pg::Call([&] {
    MemoryContext inner = MemoryContextSwitchTo(outer);
    const Datum result =
        PointerGetDatum(cstring_to_text_with_len(name.data(), static_cast<int>(name.size())));
    MemoryContextSwitchTo(inner);
    return result;
  });
}

}  // namespace

}  // namespace alerting::ext

Datum alerting_container_exists(PG_FUNCTION_ARGS) {
  return alerting::pg::Entry([&] { return alerting::ext::ContainerExists(fcinfo); });
}
Datum alerting_container_name(PG_FUNCTION_ARGS) {
  return alerting::pg::Entry([&] { return alerting::ext::ContainerName(fcinfo); });
}
