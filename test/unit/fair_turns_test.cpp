#include "core/fair_turns.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <utility>

namespace alerting {
namespace {

using Member = std::pair<std::string, int>;  // group, number

TEST(FairTurnsTest, GroupsTakeTurnsThenTheirMembers) {
  FairTurns<Member> turns;
  for (int i = 1; i <= 3; ++i) turns.Add("a", {"a", i});
  for (int i = 1; i <= 2; ++i) turns.Add("b", {"b", i});
  turns.Add("c", {"c", 1});
  std::string order;
  while (!turns.empty()) {
    const Member member = turns.Take();
    order += member.first + std::to_string(member.second) + " ";
  }
  EXPECT_EQ(order, "a1 b1 c1 a2 b2 a3 ");
}

// Each takes its turn and stands in line again, as webhooks with a backlog do.
TEST(FairTurnsTest, AThousandMembersGetNoMoreThanOne) {
  FairTurns<Member> turns;
  for (int i = 0; i < 1000; ++i) turns.Add("many", {"many", i});
  turns.Add("one", {"one", 0});
  std::map<std::string, int> taken;
  std::map<int, int> of_many;
  for (int i = 0; i < 4000; ++i) {
    Member member = turns.Take();
    ++taken[member.first];
    if (member.first == "many") ++of_many[member.second];
    turns.Add(member.first, member);
  }
  EXPECT_EQ(taken["many"], 2000);
  EXPECT_EQ(taken["one"], 2000);
  EXPECT_EQ(of_many.size(), 1000u);
  for (const auto& [number, count] : of_many) EXPECT_EQ(count, 2) << number;
}

TEST(FairTurnsTest, RemovedMembersTakeTheirGroupAlong) {
  FairTurns<Member> turns;
  turns.Add("a", {"a", 1});
  turns.Add("b", {"b", 1});
  turns.Add("b", {"b", 2});
  turns.Remove("a", {"a", 1});
  turns.Remove("b", {"b", 1});
  turns.Remove("c", {"c", 1});
  ASSERT_FALSE(turns.empty());
  EXPECT_EQ(turns.Take(), Member("b", 2));
  EXPECT_TRUE(turns.empty());
  turns.Add("a", {"a", 3});
  EXPECT_EQ(turns.Take(), Member("a", 3));
  EXPECT_TRUE(turns.empty());
}

TEST(FairTurnsTest, AGroupThatIsPassedOverKeepsItsOrder) {
  FairTurns<Member> turns;
  for (int i = 1; i <= 2; ++i) turns.Add("a", {"a", i});
  turns.Add("b", {"b", 1});
  EXPECT_EQ(turns.groups(), 2u);
  EXPECT_EQ(turns.Next(), Member("a", 1));
  turns.PassOver();
  EXPECT_EQ(turns.Take(), Member("b", 1));
  EXPECT_EQ(turns.groups(), 1u);
  turns.PassOver();
  EXPECT_EQ(turns.Take(), Member("a", 1));
  EXPECT_EQ(turns.Take(), Member("a", 2));
}

}  // namespace
}  // namespace alerting
