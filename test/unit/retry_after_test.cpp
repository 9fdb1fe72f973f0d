#include "core/retry_after.h"

#include <gtest/gtest.h>

#include <string>

namespace alerting {
namespace {

constexpr Micros kDay = 24 * kHour;
// 2026-03-02 00:00:00 UTC
constexpr Micros kNow = 9557 * kDay;

TEST(RetryAfterTest, Seconds) {
  EXPECT_EQ(ParseRetryAfter("0", kNow), 0);
  EXPECT_EQ(ParseRetryAfter("3", kNow), 3 * kSecond);
  EXPECT_EQ(ParseRetryAfter(" \t120\r\n", kNow), 120 * kSecond);
  EXPECT_EQ(ParseRetryAfter("86401", kNow), kMaxRetryAfter);
  EXPECT_EQ(ParseRetryAfter(std::string(400, '9'), kNow), kMaxRetryAfter);
}

TEST(RetryAfterTest, Dates) {
  EXPECT_EQ(ParseRetryAfter("Mon, 02 Mar 2026 00:00:07 GMT", kNow), 7 * kSecond);
  EXPECT_EQ(ParseRetryAfter("Monday, 02-Mar-26 00:01:00 GMT", kNow), kMinute);
  EXPECT_EQ(ParseRetryAfter("Mon Mar  2 01:00:00 2026", kNow), kHour);
  EXPECT_EQ(ParseRetryAfter("Mon, 01 Mar 2026 00:00:00 GMT", kNow), 0);
  EXPECT_EQ(ParseRetryAfter("Fri, 31 Dec 9999 23:59:59 GMT", kNow), kMaxRetryAfter);
  EXPECT_EQ(ParseRetryAfter("Sun Nov  6 08:49:37 1994", kNow), 0);
  EXPECT_EQ(ParseRetryAfter("Mon, 02 Mar 2026 00:00:60 GMT", kNow), kMinute);  // a leap second
}

TEST(RetryAfterTest, DatesAreExact) {
  EXPECT_EQ(ParseHttpDate("Sat, 01 Jan 2000 00:00:00 GMT", kNow), 0);
  EXPECT_EQ(ParseHttpDate("Tue, 29 Feb 2000 12:00:00 GMT", kNow), 59 * kDay + 12 * kHour);
  EXPECT_EQ(ParseHttpDate("Thu, 29 Feb 2024 00:00:00 GMT", kNow), 8825 * kDay);
  EXPECT_EQ(ParseHttpDate("Thu, 01 Jan 1970 00:00:00 GMT", kNow), -10957 * kDay);
  EXPECT_EQ(ParseHttpDate("Sunday, 06-Nov-94 08:49:37 GMT", kNow),
            ParseHttpDate("Sun, 06 Nov 1994 08:49:37 GMT", kNow));
}

TEST(RetryAfterTest, NonsenseIsNoAnswer) {
  for (const char* text :
       {"", " ", "-1", "1.5", "3 s", "soon", "Mon, 02 Mar 2026 00:00:07",
        "Mon, 32 Mar 2026 00:00:07 GMT", "Mon, 29 Feb 2026 00:00:07 GMT",
        "Mon, 02 Foo 2026 00:00:07 GMT", "Mon, 02 Mar 2026 24:00:00 GMT",
        "Mon, 02 Mar 2026 00:00:07 GMT+1", "Mon, 00 Mar 2026 00:00:07 GMT", ",", ", ", "Mon ",
        "Mon, ", "2026-03-02T00:00:00Z", "Mon, 02 anF 2026 00:00:07 GMT"}) {
    EXPECT_EQ(ParseRetryAfter(text, kNow), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace alerting
