// Implements ext/host/binding.h.
#include "ext/host/binding.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "pg/spi.h"
#include "pg/transaction.h"

namespace alerting::ext {

namespace {

constexpr double kDefaultRestartThreshold = 3;

// Those that were asked for since a table or a schema has changed: each alert asks for ten, which
// PostgreSQL's own caches take 1,300 instructions each to tell.
struct NamedTable {
  const char* name = nullptr;  // a literal
  Oid id = InvalidOid;
};
constinit std::array<NamedTable, 12> own_tables = {};

void HearOfTables() {
  static bool hears = false;
  if (std::exchange(hears, true)) return;
  for (const int cache : {RELNAMENSP, NAMESPACENAME}) {
    CacheRegisterSyscacheCallback(
        cache, [](Datum, int, uint32) { own_tables.fill({}); }, Datum{0});
  }
}

// Not for tables that child tables extend: hypertables, whose compressed rows have no place.
std::string PlaceOf(Oid relation) {
  return pg::Call([&]() -> const char* {
    HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
    if (!HeapTupleIsValid(tuple)) return "";
    const auto* row = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple));
    const bool is_partitioned = row->relkind == RELKIND_PARTITIONED_TABLE;
    const bool is_extended = row->relkind != RELKIND_RELATION || row->relhassubclass;
    ReleaseSysCache(tuple);
    return is_partitioned ? "m.tableoid, m.ctid" : is_extended ? "" : "m.ctid";
  });
}

SourceMapping ReadMapping(const pg::Rows& rows, uint64_t row, KeyKind key_kind) {
  SourceMapping mapping;
  mapping.id = static_cast<uint32_t>(rows.Int(row, 0));
  mapping.key_kind = key_kind;
  mapping.container = rows.Text(row, 2);
  mapping.at = rows.Text(row, 3);
  mapping.cpu = rows.Text(row, 4);
  mapping.memory = rows.Text(row, 5);
  mapping.memory_used = rows.Text(row, 6);
  mapping.memory_limit = rows.Text(row, 7);
  mapping.running = rows.Text(row, 8);
  mapping.restarts = rows.Text(row, 9);
  mapping.time_zone = rows.Text(row, 10);
  mapping.at_unit = rows.Text(row, 11);
  return mapping;
}

std::vector<Source> LoadSources(KeyKind key_kind, const HostKey& container_type) {
  // Intervals of months have no fixed length: a month counts 30 days, as everywhere in PostgreSQL.
  // The longest ones have more microseconds than fit.
  const pg::Rows rows = pg::Execute(
      "SELECT id, metrics::oid, container, at, cpu, memory, memory_used, memory_limit, running,"
      " restarts, time_zone, coalesce(at_unit, ''),"
      " least(extract(epoch FROM max_age) * 1000000, 9223372036854775807)::int8,"
      " least(extract(epoch FROM stale_after) * 1000000, 9223372036854775807)::int8,"
      // Partitions are left out by their bounds, which are mostly those of time.
      " (SELECT coalesce(bool_or(i.leading = s.container AND i.second = s.at)"
      " AND NOT bool_or(i.leading = s.at), false) FROM (SELECT"
      // By the catalogs alone: pg_get_indexdef() would wait for who has locked the table.
      " (SELECT quote_ident(a.attname) FROM pg_attribute a WHERE a.attrelid = x.indrelid"
      "   AND a.attnum = x.indkey[0]) AS leading,"
      " (SELECT quote_ident(a.attname) FROM pg_attribute a WHERE a.attrelid = x.indrelid"
      "   AND a.attnum = x.indkey[1] AND x.indnkeyatts > 1) AS second"
      " FROM pg_index x JOIN pg_class c ON c.oid = x.indrelid AND c.relkind = 'r'"
      " WHERE x.indrelid = s.metrics AND x.indisvalid AND x.indpred IS NULL) i)"
      " FROM alerting.metric_source s ORDER BY id");
  std::vector<Source> sources;
  for (uint64_t row = 0; row < rows.size(); ++row) {
    Source source;
    source.mapping = ReadMapping(rows, row, key_kind);
    source.container_type = container_type;
    source.relation = rows.OidValue(row, 1);
    source.settings.max_age = rows.IsNull(row, 12) ? kNever : rows.BigInt(row, 12);
    source.settings.stale_after = rows.BigInt(row, 13);
    source.is_indexed_by_container = rows.Bool(row, 14);
    sources.push_back(std::move(source));
  }
  for (Source& source : sources) {
    source.name = pg::QualifiedName(source.relation);
    source.label = source.name.empty() ? std::to_string(source.relation) : source.name;
    source.place = PlaceOf(source.relation);
  }
  // A table that was dropped behind our back has no rows to read.
  std::erase_if(sources, [](const Source& source) { return source.name.empty(); });
  return sources;
}

Oid RequireOwner(Oid relation) {
  const Oid owner = OwnerOf(relation);
  if (!OidIsValid(owner)) {
    pg::Throw([&] {
      ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
                      errmsg("relation with OID %u does not exist", relation)));
    });
  }
  return owner;
}

}  // namespace

Oid OwnerOf(Oid relation) {
  return pg::Call([&] {
    HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
    if (!HeapTupleIsValid(tuple)) return InvalidOid;
    const Oid owner = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple))->relowner;
    ReleaseSysCache(tuple);
    return owner;
  });
}

std::string OwnRows(Oid table) {
  const bool has_none =
      pg::Call([&] { return get_rel_relkind(table) == RELKIND_PARTITIONED_TABLE; });
  return (has_none ? "" : "ONLY ") + pg::QualifiedName(table);
}

Oid OwnTable(const char* name) {
  const auto known =
      std::find_if(own_tables.begin(), own_tables.end(), [&](const NamedTable& table) {
        return OidIsValid(table.id) && strcmp(table.name, name) == 0;
      });
  if (known != own_tables.end()) return known->id;
  return pg::Call([&] {
    HearOfTables();
    const Oid schema = get_namespace_oid("alerting", true);
    const Oid id = OidIsValid(schema) ? get_relname_relid(name, schema) : InvalidOid;
    const auto room = std::find_if(own_tables.begin(), own_tables.end(),
                                   [](const NamedTable& table) { return !OidIsValid(table.id); });
    if (room != own_tables.end()) *room = {name, id};
    return id;
  });
}

// By way of JSON, because tables that a dump of 1.0 has just brought lack the columns.
const char kIsCopySql[] =
    "SELECT 1 FROM alerting.host_binding b, LATERAL (SELECT to_jsonb(b) AS row) j"
    " WHERE b.database_oid <> $1 OR b.alert_oid <> 'alerting.alert'::regclass::oid"
    " OR ((j.row ->> 'system_id')::int8 <> $2"
    "     AND (j.row ->> 'written_by')::int8 IS DISTINCT FROM b.xmin::text::int8)";

uint8_t Source::readings() const {
  uint8_t bits = 0;
  const auto add = [&](const std::string& expression, Reading reading) {
    if (!expression.empty()) bits = static_cast<uint8_t>(bits | reading);
  };
  add(mapping.cpu, kCpu);
  add(mapping.memory, kMemory);
  add(mapping.memory_used, kMemoryUsed);
  add(mapping.memory_limit, kMemoryLimit);
  add(mapping.running, kRunning);
  add(mapping.restarts, kRestarts);
  return bits;
}

Oid Source::owner() const { return RequireOwner(relation); }

Oid Binding::owner() const { return RequireOwner(OwnTable("alert")); }

Oid Binding::containers_owner() const { return RequireOwner(containers_oid); }

Oid Binding::organizations_owner() const { return RequireOwner(organizations_oid); }

void Binding::SetSources(Engine* engine) const {
  SourceSettings gone;
  gone.stale_after = sources.empty() ? kNever : 0;
  for (const Source& source : sources) {
    engine->SetSource(source.mapping.id, source.settings);
    gone.stale_after = std::max(gone.stale_after, source.settings.stale_after);
  }
  engine->SetOtherSources(gone);
}

// Sources are in the order of their numbers.
const Source* Binding::FindSource(uint32_t id) const {
  const auto found = std::lower_bound(
      sources.begin(), sources.end(), id,
      [](const Source& source, uint32_t wanted) { return source.mapping.id < wanted; });
  return found != sources.end() && found->mapping.id == id ? &*found : nullptr;
}

std::string Unquoted(const std::string& quoted) {
  std::string name;
  for (size_t i = quoted[0] == '"' ? 1 : 0; i < quoted.size(); ++i) {
    if (quoted[i] == '"') ++i;  // of a doubled one the second, the closing one has none
    if (i < quoted.size()) name += quoted[i];
  }
  return name;
}

bool HasColumn(Oid relation, const std::string& quoted) {
  if (quoted.empty()) return false;
  const std::string name = Unquoted(quoted);
  return pg::Call([&] { return SearchSysCacheExistsAttName(relation, name.c_str()); });
}

Oid TablesOwner() {
  const Oid alert = OwnTable("alert");
  return OidIsValid(alert) ? OwnerOf(alert) : InvalidOid;
}

bool IsCopy() {
  pg::Params params;
  params.OidValue(MyDatabaseId).BigInt(static_cast<int64_t>(GetSystemIdentifier()));
  return pg::Execute(kIsCopySql, params).size() > 0;
}

bool IsAttached() {
  const Oid owner = TablesOwner();
  if (!OidIsValid(owner) || !OidIsValid(OwnTable("host_binding"))) return false;
  const pg::UserScope user(owner, false);
  const pg::Rows rows =
      pg::Execute("SELECT organizations::oid, containers::oid FROM alerting.host_binding");
  return rows.size() > 0 && !pg::QualifiedName(rows.OidValue(0, 0)).empty() &&
         !pg::QualifiedName(rows.OidValue(0, 1)).empty();
}

std::optional<Binding> LoadBinding() {
  Binding binding;
  const Oid owner = TablesOwner();
  if (!OidIsValid(owner) || !OidIsValid(OwnTable("host_binding"))) return std::nullopt;
  const pg::UserScope user(owner, false);
  const pg::Rows rows = pg::Execute(
      "SELECT organizations::oid, containers::oid, organization, organization_is_column,"
      " container_key, container_key_kind, organization_key, coalesce(name, ''),"
      " coalesce(organization_name, ''), created_at FROM alerting.host_binding");
  if (rows.size() == 0) return std::nullopt;
  const Oid organizations = rows.OidValue(0, 0);
  const Oid containers = rows.OidValue(0, 1);
  binding.organization = rows.Text(0, 2);
  binding.organization_is_column = rows.Bool(0, 3);
  binding.container_key = rows.Text(0, 4);
  binding.key_kind = ParseKeyKind(rows.Text(0, 5));
  binding.organization_key = rows.Text(0, 6);
  binding.container_type = DescribeKey(containers, binding.container_key, binding.key_kind);
  binding.organization_type = DescribeKey(organizations, binding.organization_key,
                                          KindOfColumn(organizations, binding.organization_key));
  binding.name = rows.Text(0, 7);
  binding.organization_name = rows.Text(0, 8);
  binding.created_at = rows.Timestamp(0, 9);
  binding.is_copy = IsCopy();
  binding.containers_oid = containers;
  binding.organizations_oid = organizations;
  binding.state_table = OwnTable("series_state");
  binding.containers = pg::QualifiedName(containers);
  binding.organizations = pg::QualifiedName(organizations);
  if (binding.containers.empty() || binding.organizations.empty()) return std::nullopt;
  binding.containers_rows = OwnRows(containers);
  binding.organizations_rows = OwnRows(organizations);
  binding.sources = LoadSources(binding.key_kind, binding.container_type);
  return binding;
}

namespace {

// As alerting.require_binding() does.
[[noreturn]] void ThrowNotAttached() {
  pg::Throw([] {
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("alerting is not attached to any tables"),
                    errhint("Call alerting.attach(organizations => '...', containers => '...') "
                            "first.")));
  });
}

}  // namespace

Oid RequireTables() {
  const Oid owner = TablesOwner();
  if (!OidIsValid(owner)) ThrowNotAttached();
  return owner;
}

Binding RequireBinding() {
  std::optional<Binding> binding = LoadBinding();
  if (!binding) ThrowNotAttached();
  return *std::move(binding);
}

void AdoptLayout() {
  const Oid owner = TablesOwner();
  if (!OidIsValid(owner) || !OidIsValid(OwnTable("host_binding"))) return;
  {
    // Whoever the tables' owner is, and whichever role the database's settings name.
    const pg::UserScope user(BOOTSTRAP_SUPERUSERID, false);
    const std::string differs =
        "SELECT WHERE alerting.tables_layout() <> alerting.newest_layout()"
        " OR EXISTS (SELECT FROM alerting.shut_partitions())";
    if (pg::Execute(differs).size() == 0) return;
  }
  const pg::UserScope user(owner, false);
  (void)pg::Execute("SELECT alerting.adopt_layout()");
}

bool HasSameTables(const Binding& binding) {
  return OidIsValid(binding.state_table) && OwnTable("series_state") == binding.state_table;
}

namespace {

std::vector<Rule> ReadRules(const HostKey& organization) {
  const pg::UserScope user(TablesOwner(), false);
  const pg::Rows rows = pg::Execute(
      "SELECT id, " + organization.Text("organization_id") +
      ", condition, threshold::float8, duration::int4, no_data, enabled FROM alerting.alert_rule");
  std::vector<Rule> rules;
  rules.reserve(rows.size());
  for (uint64_t row = 0; row < rows.size(); ++row) {
    const auto condition = ParseCondition(rows.Text(row, 2));
    if (!condition) continue;  // a CHECK keeps these out
    Rule rule;
    rule.id = rows.Text(row, 0);
    rule.organization = rows.Text(row, 1);
    rule.condition = *condition;
    rule.threshold = rows.IsNull(row, 3) ? kDefaultRestartThreshold : rows.Float(row, 3);
    rule.duration = int64_t{rows.Int(row, 4)} * kMinute;
    rule.no_data =
        ParseNoData(rows.Text(row, 5))
            .value_or(rule.condition == Condition::kContainerDown ? NoData::kFire : NoData::kKeep);
    rule.enabled = rows.Bool(row, 6);
    rules.push_back(std::move(rule));
  }
  return rules;
}

}  // namespace

std::vector<Rule> LoadRules(const Binding& binding) {
  std::vector<Rule> rules = ReadRules(binding.organization_type);
  if (!binding.organization_type.varies) return rules;
  std::vector<std::string> organizations;
  organizations.reserve(rules.size());
  for (const Rule& rule : rules) organizations.push_back(rule.organization);
  const auto spelling = HostSpelling(binding, organizations);
  for (Rule& rule : rules) {
    const auto found = spelling.find(rule.organization);
    if (found != spelling.end()) rule.organization = found->second;
  }
  return rules;
}

}  // namespace alerting::ext
