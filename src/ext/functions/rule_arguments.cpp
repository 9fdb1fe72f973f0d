// Implements ext/functions/rule_arguments.h.
#include "ext/functions/rule_arguments.h"

#include <algorithm>

#include "pg/spi.h"
#include "pg/transaction.h"

namespace alerting::ext {

std::string TextArgument(FunctionCallInfo fcinfo, int index, const char* name) {
  if (PG_ARGISNULL(index)) {
    pg::Throw([&] {
      ereport(ERROR,
              (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be NULL", name)));
    });
  }
  const char* text = pg::Call([&] {
    Oid* types = nullptr;
    int count = 0;
    (void)get_func_signature(fcinfo->flinfo->fn_oid, &types, &count);
    Oid output = InvalidOid;
    bool is_varlena = false;
    getTypeOutputInfo(types[index], &output, &is_varlena);
    return OidOutputFunctionCall(output, PG_GETARG_DATUM(index));
  });
  return text;
}

namespace {

// With errhint(): the call that attaches the tables as they are now. PostgreSQL code.
int HintAttach(const Binding& binding, const char* organization) {
  return errhint("Attach it again: SELECT alerting.attach(%s, %s, organization => %s);",
                 quote_literal_cstr(binding.organizations.c_str()),
                 quote_literal_cstr(binding.containers.c_str()), quote_literal_cstr(organization));
}

[[noreturn]] void ThrowLostColumn(const Binding& binding, const std::string& column,
                                  const char* organization) {
  pg::Throw([&] {
    ereport(
        ERROR,
        (errcode(ERRCODE_UNDEFINED_COLUMN),
         errmsg("table %s has no column %s any more", binding.containers.c_str(), column.c_str()),
         errdetail("It is attached by that column."), HintAttach(binding, organization)));
  });
}

}  // namespace

Binding RequireFittingBinding() {
  Binding binding = RequireBinding();
  const Oid containers = binding.containers_oid;
  if (binding.organization_is_column && !HasColumn(containers, binding.organization)) {
    ThrowLostColumn(binding, binding.organization, "...");
  }
  const char* organization = binding.organization.c_str();
  if (!HasColumn(containers, binding.container_key)) {
    ThrowLostColumn(binding, binding.container_key, organization);
  }
  if (KindOfColumn(containers, binding.container_key) != binding.key_kind) {
    pg::Throw([&] {
      ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
                      errmsg("keys of table %s have another type than when it was attached",
                             binding.containers.c_str()),
                      errdetail("They are in its column %s.", binding.container_key.c_str()),
                      HintAttach(binding, organization)));
    });
  }
  return binding;
}

void ThrowUnfit(const Binding& binding, const std::string& table, const pg::Error& error) {
  const int state = error.sqlstate();
  if (ERRCODE_TO_CATEGORY(state) != ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION ||
      state == ERRCODE_INSUFFICIENT_PRIVILEGE) {
    throw;
  }
  const std::string problem = error.what();
  pg::Throw([&] {
    ereport(ERROR, (errcode(state),
                    errmsg("table %s cannot be read as it is attached: %s", table.c_str(),
                           problem.c_str()),
                    HintAttach(binding, binding.organization.c_str())));
  });
}

Rule RequireRule(const Binding& binding, const std::string& id) {
  std::vector<Rule> rules = LoadRules(binding);
  const auto found =
      std::find_if(rules.begin(), rules.end(), [&](const Rule& rule) { return rule.id == id; });
  if (found == rules.end()) {
    pg::Throw([&] {
      ereport(ERROR,
              (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("rule \"%s\" does not exist", id.c_str()),
               errhint("The ids of rules are in alerting.alert_rule.")));
    });
  }
  return std::move(*found);
}

std::string RequireOrganization(const Binding& binding, const std::string& organization) {
  try {
    const pg::UserScope user(binding.organizations_owner(), true);
    const std::string key = "o." + binding.organization_key;
    const pg::Rows rows = pg::Execute(
        "SELECT " + key + "::pg_catalog.text FROM " + binding.organizations_rows + " o WHERE " +
            (binding.organization_type.varies || binding.organization_type.equals != "="
                 ? binding.organization_type.Equal(key, "$1::pg_catalog.text")
                 : key + "::pg_catalog.text = $1") +
            " LIMIT 1",
        pg::Params().Text(organization));
    if (rows.size() > 0) return rows.Text(0, 0);
  } catch (const pg::Error& error) {
    ThrowUnfit(binding, binding.organizations, error);
  }
  pg::Throw([&] {
    ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
                    errmsg("organization \"%s\" does not exist", organization.c_str()),
                    errdetail("Table %s has no such key.", binding.organizations.c_str())));
  });
  return {};
}

Source OnlyMetricsOf(Condition condition, const Source& source) {
  Source narrowed = source;
  SourceMapping& mapping = narrowed.mapping;
  if (condition != Condition::kCpuUsage) mapping.cpu.clear();
  if (condition != Condition::kMemoryUsage) {
    mapping.memory.clear();
    mapping.memory_used.clear();
    mapping.memory_limit.clear();
  }
  if (condition != Condition::kContainerDown) mapping.running.clear();
  if (condition != Condition::kRestartLoop) mapping.restarts.clear();
  return narrowed;
}

const char* MetricName(Condition condition) {
  switch (condition) {
    case Condition::kCpuUsage:
      return "cpu";
    case Condition::kMemoryUsage:
      return "memory";
    case Condition::kContainerDown:
      return "running";
    case Condition::kRestartLoop:
      return "restarts";
  }
  return "";
}

}  // namespace alerting::ext
