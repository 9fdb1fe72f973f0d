#include "core/clock_steps.h"

#include <gtest/gtest.h>

namespace alerting {
namespace {

TEST(ClockStepsTest, TellsByHowMuchItWasPutBack) {
  ClockSteps clock;
  EXPECT_EQ(clock.PutBackBy(kHour), 0);
  EXPECT_EQ(clock.PutBackBy(kHour), 0);
  EXPECT_EQ(clock.PutBackBy(3 * kHour), 0) << "forward";
  EXPECT_EQ(clock.PutBackBy(kHour), 2 * kHour);
  EXPECT_EQ(clock.PutBackBy(kHour + 1), 0);
}

TEST(ClockStepsTest, NoTimeStaysNone) {
  Micros none = kNoTime, some = kHour;
  PutBack({&none, &some}, kMinute);
  EXPECT_EQ(none, kNoTime);
  EXPECT_EQ(some, kHour - kMinute);
}

}  // namespace
}  // namespace alerting
