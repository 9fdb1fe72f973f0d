#include "core/retry_schedule.h"

#include <gtest/gtest.h>

#include <vector>

namespace alerting {
namespace {

TEST(RetryScheduleTest, DefaultIsTheSpecifications) {
  const auto schedule = DefaultRetrySchedule();
  ASSERT_EQ(schedule.size(), 9u);
  EXPECT_EQ(schedule.front(), 5 * kSecond);
  EXPECT_EQ(schedule.back(), 24 * kHour);
  EXPECT_EQ(PauseAfterFailure(schedule, 1, 0), 5 * kSecond);
  EXPECT_EQ(PauseAfterFailure(schedule, 9, 0), 24 * kHour);
  EXPECT_EQ(PauseAfterFailure(schedule, 10, 0), std::nullopt);
}

TEST(RetryScheduleTest, JitterOnlyAddsAndStaysSmall) {
  const std::vector<Micros> schedule = {100 * kSecond, 0, -5};
  EXPECT_EQ(PauseAfterFailure(schedule, 1, 0.0), 100 * kSecond);
  const Micros most = *PauseAfterFailure(schedule, 1, 0.999999);
  EXPECT_GT(most, 109 * kSecond);
  EXPECT_LE(most, 110 * kSecond);
  EXPECT_EQ(*PauseAfterFailure(schedule, 1, 7.0), 110 * kSecond);
  EXPECT_EQ(PauseAfterFailure(schedule, 2, 0.5), 0);
  EXPECT_EQ(PauseAfterFailure(schedule, 3, 0.5), 0);
}

TEST(RetryScheduleTest, AnEmptyScheduleParksAtOnce) {
  EXPECT_EQ(PauseAfterFailure({}, 1, 0.5), std::nullopt);
  EXPECT_EQ(PauseAfterFailure({}, 0, 0.5), std::nullopt);
}

TEST(RetryScheduleTest, RemainingPausesAddUp) {
  const std::vector<Micros> schedule = {1, 2, 4};
  EXPECT_EQ(RemainingPauses(schedule, 0), 7);
  EXPECT_EQ(RemainingPauses(schedule, 1), 6);
  EXPECT_EQ(RemainingPauses(schedule, 3), 0);
  EXPECT_EQ(RemainingPauses(schedule, 99), 0);
  EXPECT_EQ(RemainingPauses(std::vector<Micros>{kNever, kNever}, 0), kNever);
}

}  // namespace
}  // namespace alerting
