// Implements ext/container_directory.h.
#include "ext/container_directory.h"

#include "pg/transaction.h"

namespace alerting::ext {

namespace {

std::string FindSql(const Binding& binding, bool lock) {
  const std::string key = "c." + binding.container_key;
  const std::string type = KeyTypeName(binding.key_kind);
  std::string sql = "SELECT k.alerting_ordinal::pg_catalog.int4, (" + binding.organization +
                    ")::pg_catalog.text, " +
                    (binding.name.empty() ? std::string("NULL") : "c." + binding.name) +
                    "::pg_catalog.text" + " FROM pg_catalog.unnest($1::pg_catalog.text[]::" + type +
                    "[]) WITH ORDINALITY" + " AS k (alerting_key, alerting_ordinal) JOIN " +
                    binding.containers + " c ON " + key + " = k.alerting_key";
  if (lock) sql += " FOR KEY SHARE OF c SKIP LOCKED";
  return sql;
}

}  // namespace

ContainerDirectory::ContainerDirectory(const Binding& binding)
    : binding_(binding), find_(FindSql(binding, false)), find_and_lock_(FindSql(binding, true)) {
  if (!binding.organization_name.empty()) {
    organization_names_.emplace("SELECT o." + binding.organization_key + "::pg_catalog.text, o." +
                                binding.organization_name + "::pg_catalog.text FROM " +
                                binding.organizations + " o WHERE o." + binding.organization_key +
                                "::pg_catalog.text = ANY ($1::pg_catalog.text[])");
  }
}

std::unordered_map<std::string, ContainerInfo> ContainerDirectory::Run(
    pg::Statement* statement, const std::vector<std::string>& keys) {
  std::unordered_map<std::string, ContainerInfo> found;
  if (keys.empty()) return found;
  std::vector<std::string> texts;
  texts.reserve(keys.size());
  for (const std::string& key : keys) texts.push_back(KeyText(binding_.key_kind, key));
  const pg::UserScope user(binding_.containers_owner, true);
  const pg::Rows rows = statement->Run(pg::Params().TextArray(texts));
  for (uint64_t row = 0; row < rows.size(); ++row) {
    const auto index = static_cast<size_t>(rows.Int(row, 0)) - 1;
    found[keys[index]] = {rows.OptionalText(row, 1), rows.OptionalText(row, 2)};
  }
  return found;
}

std::unordered_map<std::string, ContainerInfo> ContainerDirectory::Find(
    const std::vector<std::string>& keys) {
  return Run(&find_, keys);
}

std::unordered_map<std::string, ContainerInfo> ContainerDirectory::FindAndLock(
    const std::vector<std::string>& keys) {
  return Run(&find_and_lock_, keys);
}

std::vector<std::string> ContainerDirectory::AllKeyTexts() const {
  const pg::UserScope user(binding_.containers_owner, true);
  const pg::Rows rows = pg::Execute("SELECT c." + binding_.container_key +
                                    "::pg_catalog.text FROM " + binding_.containers + " c");
  std::vector<std::string> texts;
  texts.reserve(rows.size());
  for (uint64_t row = 0; row < rows.size(); ++row) texts.push_back(rows.Text(row, 0));
  return texts;
}

std::unordered_map<std::string, std::string> ContainerDirectory::OrganizationNames(
    const std::vector<std::string>& organizations) {
  std::unordered_map<std::string, std::string> names;
  if (!organization_names_ || organizations.empty()) return names;
  const pg::UserScope user(binding_.organizations_owner, true);
  const pg::Rows rows = organization_names_->Run(pg::Params().TextArray(organizations));
  for (uint64_t row = 0; row < rows.size(); ++row) names[rows.Text(row, 0)] = rows.Text(row, 1);
  return names;
}

}  // namespace alerting::ext
