#include "core/batch_limit.h"

#include <gtest/gtest.h>

namespace alerting {
namespace {

using Seconds = BatchLimit::Seconds;

BatchLimit Limit() { return BatchLimit(25, 25, 20'000, Seconds(0.2)); }

TEST(BatchLimitTest, GrowsFourfoldAtMost) {
  BatchLimit limit = Limit();
  EXPECT_EQ(limit.get(), 25U);
  limit.Took(25, Seconds(0.001));
  EXPECT_EQ(limit.get(), 100U);
  limit.Took(100, Seconds(0.1));
  EXPECT_EQ(limit.get(), 200U);
  for (int i = 0; i < 10; ++i) limit.Took(limit.get(), Seconds(0.001));
  EXPECT_EQ(limit.get(), 20'000U);
}

TEST(BatchLimitTest, BecomesSmallerAfterALongOne) {
  BatchLimit limit = Limit();
  for (int i = 0; i < 4; ++i) limit.Took(limit.get(), Seconds(0.001));
  ASSERT_EQ(limit.get(), 6'400U);
  limit.Took(6'400, Seconds(0.8));
  EXPECT_EQ(limit.get(), 1'600U);
  limit.Took(1'600, Seconds(1000));
  EXPECT_EQ(limit.get(), 25U);
}

TEST(BatchLimitTest, AShortOneThatWasCutSaysNothingOfALongerOne) {
  BatchLimit limit = Limit();
  limit.Took(25, Seconds(0.001));
  for (int i = 0; i < 10; ++i) limit.Took(20, Seconds(0.001));
  EXPECT_EQ(limit.get(), 100U);
  limit.Took(0, Seconds(0));
  EXPECT_EQ(limit.get(), 100U);
}

TEST(BatchLimitTest, OfALongOneThatWasCutCountsItsSize) {
  BatchLimit limit = Limit();
  for (int i = 0; i < 4; ++i) limit.Took(limit.get(), Seconds(0.001));
  ASSERT_EQ(limit.get(), 6'400U);
  limit.Took(200, Seconds(0.4));
  EXPECT_EQ(limit.get(), 100U);
}

}  // namespace
}  // namespace alerting
