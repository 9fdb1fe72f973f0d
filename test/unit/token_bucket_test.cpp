#include "core/token_bucket.h"

#include <gtest/gtest.h>

namespace alerting {
namespace {

constexpr Micros kStart = 1000 * kHour;

// Starts whatever may start, asking each millisecond from `from` until `until`.
int Spend(TokenBucket* bucket, Micros from, Micros until) {
  int taken = 0;
  for (Micros now = from; now < until; now += kMillisecond) {
    while (bucket->Allows(now)) {
      bucket->Take(now);
      ++taken;
    }
  }
  return taken;
}

TEST(TokenBucketTest, NoRateIsNoLimit) {
  TokenBucket bucket;
  for (int i = 0; i < 10'000; ++i) {
    ASSERT_TRUE(bucket.Allows(kStart));
    bucket.Take(kStart);
  }
  EXPECT_TRUE(bucket.IsFull(kStart));
  EXPECT_EQ(bucket.NextAt(kStart), kNoTime);
}

TEST(TokenBucketTest, LetsThroughItsRateAndABurstOfASecond) {
  for (const int rate : {1, 6, 60, 119, 120, 600, 6000}) {
    TokenBucket bucket;
    bucket.SetRate(rate);
    const int burst = rate < 120 ? 1 : rate / 60;
    EXPECT_EQ(Spend(&bucket, kStart, kStart + kMillisecond), burst) << rate;
    const int more = Spend(&bucket, kStart + kMillisecond, kStart + 5 * kMinute);
    EXPECT_LE(burst + more, burst + 5 * rate) << rate;
    EXPECT_GE(more, 5 * rate - 1 - rate / 100) << rate;
  }
}

TEST(TokenBucketTest, SaysWhenTheNextMayStart) {
  TokenBucket bucket;
  bucket.SetRate(1);
  EXPECT_TRUE(bucket.Allows(kStart));
  bucket.Take(kStart);
  EXPECT_EQ(bucket.NextAt(kStart), kStart + kMinute);
  EXPECT_FALSE(bucket.Allows(kStart + kMinute - 1));
  EXPECT_TRUE(bucket.Allows(kStart + kMinute));
}

TEST(TokenBucketTest, IsFullWhenItMayBeForgotten) {
  TokenBucket bucket;
  bucket.SetRate(600);
  EXPECT_TRUE(bucket.IsFull(kStart));
  EXPECT_EQ(Spend(&bucket, kStart, kStart + kMillisecond), 10);
  EXPECT_FALSE(bucket.IsFull(kStart + kSecond - 1));
  EXPECT_TRUE(bucket.IsFull(kStart + kSecond));
  // An idle minute saves up nothing.
  EXPECT_EQ(Spend(&bucket, kStart + kMinute, kStart + kMinute + kMillisecond), 10);
}

TEST(TokenBucketTest, AClockPutBackBlocksNobodyForLong) {
  TokenBucket bucket;
  bucket.SetRate(60);
  bucket.Take(kStart);
  EXPECT_EQ(bucket.NextAt(kStart - kHour), kStart - kHour + kSecond);
}

TEST(TokenBucketTest, ANewRateCountsAtOnce) {
  TokenBucket bucket;
  bucket.SetRate(1);
  bucket.Take(kStart);
  bucket.SetRate(60);
  EXPECT_EQ(bucket.NextAt(kStart), kStart + kSecond);
  bucket.SetRate(0);
  EXPECT_TRUE(bucket.Allows(kStart));
  bucket.SetRate(-5);
  EXPECT_TRUE(bucket.Allows(kStart));
}

}  // namespace
}  // namespace alerting
