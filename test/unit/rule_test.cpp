#include "core/rule.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace alerting {
namespace {

TEST(Rule, ConditionsAreSpelledAsInTheTables) {
  const char* names[] = {"CPU_USAGE", "MEMORY_USAGE", "CONTAINER_DOWN", "RESTART_LOOP"};
  for (int i = 0; i < kConditions; ++i) {
    const auto condition = static_cast<Condition>(i);
    EXPECT_EQ(ConditionName(condition), names[i]);
    EXPECT_EQ(ParseCondition(names[i]), condition);
  }
  for (const char* wrong : {"", "cpu_usage", "CPU_USAGE ", "CPU", "CPU_USAGES"}) {
    EXPECT_FALSE(ParseCondition(wrong)) << wrong;
  }
}

TEST(Rule, NoDataIsSpelledAsInTheTables) {
  EXPECT_EQ(ParseNoData("keep"), NoData::kKeep);
  EXPECT_EQ(ParseNoData("resolve"), NoData::kResolve);
  EXPECT_EQ(ParseNoData("fire"), NoData::kFire);
  for (const char* wrong : {"", "KEEP", "kee", "fired"}) EXPECT_FALSE(ParseNoData(wrong)) << wrong;
}

TEST(Rule, EveryReasonHasItsName) {
  std::set<std::string_view> names;
  for (const ResolveReason reason :
       {ResolveReason::kRecovered, ResolveReason::kNoData, ResolveReason::kRuleDisabled,
        ResolveReason::kRuleChanged, ResolveReason::kContainerMoved}) {
    names.insert(ResolveReasonName(reason));
  }
  EXPECT_EQ(names, (std::set<std::string_view>{"RECOVERED", "NO_DATA", "RULE_DISABLED",
                                               "RULE_CHANGED", "CONTAINER_MOVED"}));
}

}  // namespace
}  // namespace alerting
