// What a user's rule says, and what an alert's change is.
#ifndef ALERTING_CORE_RULE_H_
#define ALERTING_CORE_RULE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/time.h"

namespace alerting {

enum class Condition : uint8_t { kCpuUsage, kMemoryUsage, kContainerDown, kRestartLoop };
inline constexpr int kConditions = 4;

enum class NoData : uint8_t { kKeep, kResolve, kFire };

struct Rule {
  std::string id;
  std::string organization;  // the organization's key as text
  Condition condition = Condition::kCpuUsage;
  double threshold = 0;  // unused by CONTAINER_DOWN
  Micros duration = 0;   // RESTART_LOOP: the window
  NoData no_data = NoData::kKeep;
  bool enabled = true;
};

// Names as the tables spell them (`CPU_USAGE`, `keep`, ...).
std::optional<Condition> ParseCondition(std::string_view name);
std::optional<NoData> ParseNoData(std::string_view name);
std::string_view ConditionName(Condition condition);

// Why an alert was resolved; the names are alert.resolve_reason's values.
enum class ResolveReason : uint8_t {
  kRecovered,       // RECOVERED
  kNoData,          // NO_DATA
  kRuleDisabled,    // RULE_DISABLED
  kRuleChanged,     // RULE_CHANGED: condition or organization of the rule changed
  kContainerMoved,  // CONTAINER_MOVED
};
std::string_view ResolveReasonName(ResolveReason reason);

}  // namespace alerting

#endif  // ALERTING_CORE_RULE_H_
