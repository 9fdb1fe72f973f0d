// Arguments of SQL functions about rules: what they name is looked up, or an error says clearly
// what is wrong. Any backend, in a transaction with an SPI connection.
#ifndef ALERTING_EXT_FUNCTIONS_RULE_ARGUMENTS_H_
#define ALERTING_EXT_FUNCTIONS_RULE_ARGUMENTS_H_

#include <string>
#include <string_view>

#include "ext/host/binding.h"

namespace alerting::ext {

// Argument number `index` (from 0) as text, whatever its declared type. An error when it is NULL.
std::string TextArgument(FunctionCallInfo fcinfo, int index, const char* name);

// The binding; an error when the columns of containers are not those that it was attached with.
Binding RequireFittingBinding();
// For an error of reading a table that is bound, while it is handled: where PostgreSQL tells of a
// query that nobody has written, says which table does not fit any more.
[[noreturn]] void ThrowUnfit(const Binding& binding, const std::string& table,
                             const pg::Error& error);

Rule RequireRule(const Binding& binding, const std::string& id);
// The key as the organizations table has it, an error when there is none.
std::string RequireOrganization(const Binding& binding, const std::string& organization);

// A copy of the source that maps only the metrics that the condition looks at.
Source OnlyMetricsOf(Condition condition, const Source& source);
// "cpu", "memory", "running", "restarts": the mapping that the condition looks at.
const char* MetricName(Condition condition);

}  // namespace alerting::ext

#endif  // ALERTING_EXT_FUNCTIONS_RULE_ARGUMENTS_H_
