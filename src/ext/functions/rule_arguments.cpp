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
  const pg::UserScope user(binding.organizations_owner(), true);
  const std::string key = "o." + binding.organization_key;
  const pg::Rows rows = pg::Execute(
      "SELECT " + key + "::pg_catalog.text FROM " + binding.organizations + " o WHERE " +
          (binding.organization_type.varies || binding.organization_type.equals != "="
               ? binding.organization_type.Equal(key, "$1::pg_catalog.text")
               : key + "::pg_catalog.text = $1") +
          " LIMIT 1",
      pg::Params().Text(organization));
  if (rows.size() > 0) return rows.Text(0, 0);
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
