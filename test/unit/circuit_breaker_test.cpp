#include "core/circuit_breaker.h"

#include <gtest/gtest.h>

namespace alerting {
namespace {

void Fail(CircuitBreaker* breaker, int times, Micros now) {
  for (int i = 0; i < times; ++i) breaker->RecordFailure(now, false);
}

TEST(CircuitBreakerTest, OpensAfterTenFailuresInARow) {
  CircuitBreaker breaker;
  Fail(&breaker, 9, 0);
  EXPECT_TRUE(breaker.Allows(0));
  breaker.RecordSuccess();
  Fail(&breaker, 9, 0);
  EXPECT_FALSE(breaker.is_open());
  Fail(&breaker, 1, 0);
  EXPECT_TRUE(breaker.is_open());
  EXPECT_FALSE(breaker.Allows(10 * kSecond - 1));
  EXPECT_TRUE(breaker.Allows(10 * kSecond));
  EXPECT_EQ(breaker.NextProbe(), 10 * kSecond);
}

TEST(CircuitBreakerTest, AClockPutBackTakesTheProbeWithIt) {
  CircuitBreaker breaker;
  Fail(&breaker, 10, kHour);
  breaker.PutBack(kHour);
  EXPECT_FALSE(breaker.Allows(10 * kSecond - 1));
  EXPECT_TRUE(breaker.Allows(10 * kSecond));
}

TEST(CircuitBreakerTest, OneProbeAtATime) {
  CircuitBreaker breaker;
  Fail(&breaker, 10, 0);
  Micros now = 10 * kSecond;
  EXPECT_TRUE(breaker.Start());
  EXPECT_FALSE(breaker.Allows(now));
  EXPECT_EQ(breaker.NextProbe(), kNever);
  breaker.RecordFailure(now, true);
  EXPECT_EQ(breaker.NextProbe(), now + 20 * kSecond);
  EXPECT_FALSE(breaker.Allows(now + 19 * kSecond));
}

TEST(CircuitBreakerTest, PausesGrowToFiveMinutes) {
  CircuitBreaker breaker;
  Fail(&breaker, 10, 0);
  Micros now = 0;
  for (const Micros pause : {10, 20, 40, 80, 160, 300, 300}) {
    EXPECT_EQ(breaker.NextProbe() - now, pause * kSecond);
    now = breaker.NextProbe();
    EXPECT_TRUE(breaker.Start());
    breaker.RecordFailure(now, true);
  }
  EXPECT_TRUE(breaker.Start());
  breaker.RecordSuccess();
  EXPECT_FALSE(breaker.is_open());
  Fail(&breaker, 10, now);
  EXPECT_EQ(breaker.NextProbe() - now, 10 * kSecond);
}

TEST(CircuitBreakerTest, StragglersDoNotPutTheProbeOff) {
  CircuitBreaker breaker;
  Fail(&breaker, 10, 0);
  Fail(&breaker, 5, 9 * kSecond);
  EXPECT_EQ(breaker.NextProbe(), 10 * kSecond);
  EXPECT_TRUE(breaker.Start());
  Fail(&breaker, 1, 11 * kSecond);
  breaker.Withdraw(12 * kSecond, false);
  EXPECT_FALSE(breaker.Allows(60 * kSecond));  // the probe is still under way
  breaker.Withdraw(13 * kSecond, true);
  EXPECT_TRUE(breaker.Allows(13 * kSecond));
}

}  // namespace
}  // namespace alerting
