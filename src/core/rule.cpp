// The words of rules and alerts, as the tables spell them. Used by any process.
#include "core/rule.h"

namespace alerting {

std::optional<Condition> ParseCondition(std::string_view name) {
  for (int i = 0; i < kConditions; ++i) {
    const auto condition = static_cast<Condition>(i);
    if (ConditionName(condition) == name) return condition;
  }
  return std::nullopt;
}

std::optional<NoData> ParseNoData(std::string_view name) {
  if (name == "keep") return NoData::kKeep;
  if (name == "resolve") return NoData::kResolve;
  if (name == "fire") return NoData::kFire;
  return std::nullopt;
}

std::string_view ConditionName(Condition condition) {
  switch (condition) {
    case Condition::kCpuUsage:
      return "CPU_USAGE";
    case Condition::kMemoryUsage:
      return "MEMORY_USAGE";
    case Condition::kContainerDown:
      return "CONTAINER_DOWN";
    case Condition::kRestartLoop:
      return "RESTART_LOOP";
  }
  return "";
}

std::string_view ResolveReasonName(ResolveReason reason) {
  switch (reason) {
    case ResolveReason::kRecovered:
      return "RECOVERED";
    case ResolveReason::kNoData:
      return "NO_DATA";
    case ResolveReason::kRuleDisabled:
      return "RULE_DISABLED";
    case ResolveReason::kRuleChanged:
      return "RULE_CHANGED";
    case ResolveReason::kContainerMoved:
      return "CONTAINER_MOVED";
  }
  return "";
}

}  // namespace alerting
