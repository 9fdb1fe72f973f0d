#include "core/sleepers.h"

#include <gtest/gtest.h>

#include <array>
#include <optional>

namespace alerting {
namespace {

struct Member {
  std::optional<Micros> until;
  int asked = 0;
};

class SleepersTest : public ::testing::Test {
 protected:
  void LetSleep() {
    sleepers_.LetSleep([](Member& member) {
      ++member.asked;
      return member.until;
    });
  }

  Sleepers<Member> sleepers_;
};

TEST_F(SleepersTest, OfAThousandThatSleepNoneIsLookedAt) {
  std::array<Member, 1000> members;
  for (Member& member : members) {
    member.until = kHour;
    sleepers_.Wake(&member);
  }
  Member busy;
  sleepers_.Wake(&busy);
  for (int i = 0; i < 3; ++i) LetSleep();
  EXPECT_EQ(busy.asked, 3);
  for (const Member& member : members) EXPECT_EQ(member.asked, 1);
  EXPECT_EQ(sleepers_.awake().size(), 1u);
  EXPECT_EQ(sleepers_.next(), kHour);
}

TEST_F(SleepersTest, EachWakesAtItsTime) {
  std::array<Member, 3> members = {{{2 * kSecond}, {kSecond}, {kNever}}};
  for (Member& member : members) sleepers_.Wake(&member);
  LetSleep();
  EXPECT_EQ(sleepers_.next(), kSecond);
  sleepers_.WakeDue(kSecond - 1);
  EXPECT_TRUE(sleepers_.awake().empty());
  sleepers_.WakeDue(kSecond);
  EXPECT_EQ(sleepers_.awake(), std::unordered_set<Member*>({&members[1]}));
  EXPECT_EQ(sleepers_.next(), 2 * kSecond);
  sleepers_.WakeDue(kHour);
  EXPECT_EQ(sleepers_.awake(), std::unordered_set<Member*>({&members[0], &members[1]}));
  EXPECT_EQ(sleepers_.next(), kNever);
}

TEST_F(SleepersTest, OneThatIsWokenForgetsItsTime) {
  Member member = {kSecond};
  sleepers_.Wake(&member);
  LetSleep();
  sleepers_.Wake(&member);
  EXPECT_EQ(sleepers_.next(), kNever);
  member.until = kMinute;
  LetSleep();
  EXPECT_EQ(sleepers_.next(), kMinute);
}

TEST_F(SleepersTest, OneThatIsRemovedIsNeitherAsleepNorAwake) {
  std::array<Member, 2> members = {{{kSecond}, {std::nullopt}}};
  for (Member& member : members) sleepers_.Wake(&member);
  LetSleep();
  for (Member& member : members) sleepers_.Remove(&member);
  EXPECT_TRUE(sleepers_.awake().empty());
  EXPECT_EQ(sleepers_.next(), kNever);
}

}  // namespace
}  // namespace alerting
