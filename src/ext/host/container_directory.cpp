// Implements ext/host/container_directory.h.
#include "ext/host/container_directory.h"

#include <algorithm>

#include "pg/transaction.h"

namespace alerting::ext {

namespace {

// For one key, given as text, or for a list of them.
std::string FindSql(const Binding& binding, const std::string& organization,
                    const std::string& name, bool lock, bool one) {
  const std::string key = "c." + binding.container_key;
  const HostKey& type = binding.container_type;
  const std::string found = ", (" + organization + ")::pg_catalog.text, " +
                            (name.empty() ? std::string("NULL") : "c." + name) +
                            "::pg_catalog.text, " + (type.varies ? key : std::string("NULL")) +
                            "::pg_catalog.text FROM ";
  std::string sql;
  if (one) {
    sql = "SELECT 1" + found + binding.containers_rows + " c WHERE " +
          type.Equal(key, "$1::pg_catalog.text");
  } else {
    sql = "SELECT k.alerting_ordinal::pg_catalog.int4" + found +
          "pg_catalog.unnest($1::pg_catalog.text[]::" + type.ArrayType() +
          ") WITH ORDINALITY AS k (alerting_key, alerting_ordinal) JOIN " +
          binding.containers_rows + " c ON " + key + " " + type.equals + " k.alerting_key";
  }
  if (lock) sql += " FOR KEY SHARE OF c SKIP LOCKED";
  return sql;
}

// Names are ornaments: when the host renames or drops their column, alerts go on without them.
void WarnOfMissingNames(const std::string& table, const std::string& column) {
  pg::Call([&] {
    ereport(WARNING, (errcode(ERRCODE_UNDEFINED_COLUMN),
                      errmsg("alerting: table %s has no column %s any more, alerts show no names",
                             table.c_str(), column.c_str()),
                      errhint("Call alerting.attach() again; name => says which column it is.")));
  });
}

void WarnOfOrganization(const std::string& table, const std::string& key, int sqlstate) {
  pg::Call([&] {
    ereport(WARNING,
            (errcode(sqlstate),
             errmsg("alerting: cannot tell the organization of container \"%s\"", key.c_str()),
             errdetail("Its expression fails on that row of table %s with SQLSTATE %s. The "
                       "container counts for the organization that it had before, if any. Such "
                       "rows are warned of once a minute.",
                       table.c_str(), unpack_sql_state(sqlstate)),
             errhint("Let the expression be NULL there: alerting.attach() says it anew, with "
                     "organization => '...'.")));
  });
}

std::optional<std::string> TextOf(const pg::KeyedValue& value) {
  return value.is_null ? std::nullopt : std::optional(value.text);
}

}  // namespace

bool IsOfOneRow(const pg::Error& error) {
  const int category = ERRCODE_TO_CATEGORY(error.sqlstate());
  return category == ERRCODE_DATA_EXCEPTION || category == ERRCODE_CARDINALITY_VIOLATION ||
         category == ERRCODE_TO_CATEGORY(ERRCODE_RAISE_EXCEPTION);
}

ContainerDirectory::ContainerDirectory(const Binding& binding)
    : binding_(binding), name_(binding.name) {
  MakeLookup();
  if (!binding.organization_name.empty()) {
    organization_names_.emplace(
        "SELECT o." + binding.organization_key + "::pg_catalog.text, o." +
        binding.organization_name + "::pg_catalog.text FROM " + binding.organizations_rows +
        " o WHERE o." + binding.organization_key + " " + binding.organization_type.equals +
        " ANY ($1::pg_catalog.text[]::" + binding.organization_type.ArrayType() + ")");
    organization_lookup_.emplace(Unquoted(binding.organization_key), "",
                                 std::vector{Unquoted(binding.organization_name)});
  }
}

void ContainerDirectory::MakeLookup() {
  lookup_.reset();
  if (!binding_.organization_is_column || binding_.container_type.varies) return;
  std::vector<std::string> columns = {Unquoted(binding_.organization)};
  if (!name_.empty()) columns.push_back(Unquoted(name_));
  lookup_.emplace(Unquoted(binding_.container_key), "", std::move(columns));
}

bool ContainerDirectory::LookUp(bool lock, const std::string& key,
                                std::unordered_map<std::string, ContainerInfo>* found) {
  if (!lookup_) return false;
  const std::string text = KeyText(binding_.key_kind, key);
  const auto rows = lock ? lookup_->Lock(binding_.containers_oid, text)
                         : lookup_->Find(binding_.containers_oid, text);
  if (!rows) return false;
  for (const pg::KeyedRow& row : *rows) {
    if (!std::all_of(row.values.begin(), row.values.end(),
                     [](const pg::KeyedValue& value) { return value.is_key; })) {
      return false;
    }
    (*found)[key] = {key, TextOf(row.values[0]),
                     row.values.size() > 1 ? TextOf(row.values[1]) : std::nullopt};
  }
  return true;
}

std::unordered_map<std::string, ContainerInfo> ContainerDirectory::Run(
    bool lock, const std::vector<std::string>& keys) {
  if (keys.empty()) return {};
  auto found = binding_.container_type.is_foreign || !binding_.organization_is_column
                   ? RunOnReadable(lock, keys)
                   : RunOnAll(lock, keys);
  if (binding_.organization_type.varies) Respell(&found);
  return found;
}

// Not every text is a key: samples and saved states may be older than the key's type. Nor is every
// row one that the host's expression can read: one tenant's must not stop the judging of all.
std::unordered_map<std::string, ContainerInfo> ContainerDirectory::RunOnReadable(
    bool lock, const std::vector<std::string>& keys) {
  int sqlstate = 0;
  try {
    pg::Subtransaction savepoint;
    auto found = RunOnAll(lock, keys);
    savepoint.Release();
    return found;
  } catch (const pg::Error& error) {
    if (!IsOfOneRow(error)) throw;
    sqlstate = error.sqlstate();
  }
  if (keys.size() == 1) return RunWithoutOrganization(lock, keys[0], sqlstate);
  const auto middle = keys.begin() + static_cast<ptrdiff_t>(keys.size() / 2);
  auto found = RunOnReadable(lock, {keys.begin(), middle});
  found.merge(RunOnReadable(lock, {middle, keys.end()}));
  return found;
}

std::unordered_map<std::string, ContainerInfo> ContainerDirectory::RunWithoutOrganization(
    bool lock, const std::string& key, int sqlstate) {
  std::unordered_map<std::string, ContainerInfo> found;
  if (binding_.organization_is_column) return found;
  const std::string text = KeyText(binding_.key_kind, key);
  try {
    pg::Subtransaction savepoint;
    {
      const pg::UserScope user(binding_.containers_owner(), true);
      const pg::Rows rows =
          pg::Execute(FindSql(binding_, "NULL", name_, lock, true), pg::Params().Text(text));
      if (rows.size() > 0) {
        found[key] = {rows.OptionalText(0, 3).value_or(key), std::nullopt, rows.OptionalText(0, 2),
                      true};
      }
    }
    savepoint.Release();
  } catch (const pg::Error& error) {
    if (!IsOfOneRow(error)) throw;
    return {};
  }
  const Micros now = GetCurrentTimestamp();
  if (!found.empty() && (warned_at_ == kNoTime || now >= AddTime(warned_at_, kMinute))) {
    warned_at_ = now;
    WarnOfOrganization(binding_.containers, text, sqlstate);
  }
  return found;
}

void ContainerDirectory::Respell(std::unordered_map<std::string, ContainerInfo>* found) const {
  std::vector<std::string> organizations;
  for (const auto& [key, info] : *found) {
    if (info.organization) organizations.push_back(*info.organization);
  }
  const auto spelling = HostSpelling(binding_, organizations);
  for (auto& [key, info] : *found) {
    if (!info.organization) continue;
    const auto other = spelling.find(*info.organization);
    if (other != spelling.end()) info.organization = other->second;
  }
}

std::unordered_map<std::string, ContainerInfo> ContainerDirectory::RunOnAll(
    bool lock, const std::vector<std::string>& keys) {
  std::unordered_map<std::string, ContainerInfo> found;
  if (!name_.empty() && !HasColumn(binding_.containers_oid, name_)) {
    WarnOfMissingNames(binding_.containers, name_);
    name_.clear();
    for (auto& statement : find_) statement.reset();
    MakeLookup();
  }
  const pg::UserScope user(binding_.containers_owner(), true);
  if (keys.size() == 1 && LookUp(lock, keys[0], &found)) return found;
  const pg::MappingSettings settings("UTC");
  const bool one = keys.size() == 1;
  std::optional<pg::Statement>& statement = find_[(lock ? 2 : 0) + (one ? 1 : 0)];
  if (!statement) statement.emplace(FindSql(binding_, binding_.organization, name_, lock, one));
  std::vector<std::string> texts;
  texts.reserve(keys.size());
  for (const std::string& key : keys) texts.push_back(KeyText(binding_.key_kind, key));
  const pg::Rows rows = one ? statement->Run(pg::Params().Text(texts[0]))
                            : statement->RunLists(texts.size(), pg::Params().TextArray(texts));
  for (uint64_t row = 0; row < rows.size(); ++row) {
    const auto index = static_cast<size_t>(rows.Int(row, 0)) - 1;
    found[keys[index]] = {rows.OptionalText(row, 3).value_or(keys[index]),
                          rows.OptionalText(row, 1), rows.OptionalText(row, 2)};
  }
  return found;
}

std::unordered_map<std::string, ContainerInfo> ContainerDirectory::Find(
    const std::vector<std::string>& keys) {
  return Run(false, keys);
}

std::unordered_map<std::string, ContainerInfo> ContainerDirectory::FindAndLock(
    const std::vector<std::string>& keys) {
  return Run(true, keys);
}

std::vector<std::string> ContainerDirectory::AllKeyTexts() const {
  const pg::UserScope user(binding_.containers_owner(), true);
  const pg::Rows rows = pg::Execute("SELECT c." + binding_.container_key +
                                    "::pg_catalog.text FROM " + binding_.containers_rows + " c");
  std::vector<std::string> texts;
  texts.reserve(rows.size());
  for (uint64_t row = 0; row < rows.size(); ++row) texts.push_back(rows.Text(row, 0));
  return texts;
}

std::vector<std::string> ContainerDirectory::Keys(uint64_t most) const {
  const pg::UserScope user(binding_.containers_owner(), true);
  const pg::Rows rows =
      pg::Execute("SELECT c." + binding_.container_key + "::" + KeyTypeName(binding_.key_kind) +
                      " FROM " + binding_.containers_rows + " c LIMIT $1",
                  pg::Params().BigInt(static_cast<int64_t>(most)));
  std::vector<std::string> keys;
  keys.reserve(rows.size());
  for (uint64_t row = 0; row < rows.size(); ++row) {
    bool is_null = false;
    const Datum value = rows.Value(row, 0, &is_null);
    KeyBytes key;
    keys.emplace_back(pg::Call([&] { return KeyFromDatum(binding_.key_kind, value, &key); }));
  }
  return keys;
}

std::unordered_map<std::string, std::string> ContainerDirectory::OrganizationNames(
    const std::vector<std::string>& organizations) {
  std::unordered_map<std::string, std::string> names;
  if (!organization_names_ || organizations.empty()) return names;
  if (!HasColumn(binding_.organizations_oid, binding_.organization_name)) {
    WarnOfMissingNames(binding_.organizations, binding_.organization_name);
    organization_names_.reset();
    return names;
  }
  const pg::UserScope user(binding_.organizations_owner(), true);
  if (organizations.size() == 1) {
    const auto found = organization_lookup_->Find(binding_.organizations_oid, organizations[0]);
    if (found && std::all_of(found->begin(), found->end(),
                             [](const pg::KeyedRow& row) { return row.values[0].is_key; })) {
      for (const pg::KeyedRow& row : *found) {
        if (!row.values[0].is_null) names[organizations[0]] = row.values[0].text;
      }
      return names;
    }
  }
  const pg::Rows rows =
      organization_names_->RunLists(organizations.size(), pg::Params().TextArray(organizations));
  for (uint64_t row = 0; row < rows.size(); ++row) {
    if (auto name = rows.OptionalText(row, 1)) names[rows.Text(row, 0)] = *std::move(name);
  }
  return names;
}

}  // namespace alerting::ext
