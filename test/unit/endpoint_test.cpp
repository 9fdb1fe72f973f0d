#include "core/endpoint.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "core/clock_steps.h"

#include <vector>

namespace alerting {
namespace {

constexpr int kMost = 16;

void Succeed(Endpoint* endpoint, Micros now) {
  const Endpoint::Ticket ticket = endpoint->Start(now);
  endpoint->Finish(ticket, true, now + kMillisecond);
}

TEST(EndpointTest, AClockPutBackTakesItsRequestsWithIt) {
  Endpoint endpoint;
  Endpoint::Ticket ticket = endpoint.Start(kHour);
  endpoint.PutBack(kHour);
  PutBack({&ticket.started_at}, kHour);
  EXPECT_EQ(ticket.started_at, 0);
  endpoint.Finish(ticket, true, kMillisecond);
  EXPECT_EQ(endpoint.in_flight(), 0);
  EXPECT_TRUE(endpoint.IsProven(kMillisecond));
}

TEST(EndpointTest, OneRequestUntilItHasAnswered) {
  Endpoint endpoint;
  EXPECT_EQ(endpoint.Room(0, kMost), 1);
  EXPECT_FALSE(endpoint.IsProven(0));
  const Endpoint::Ticket ticket = endpoint.Start(0);
  EXPECT_EQ(endpoint.Room(0, kMost), 0);
  endpoint.Finish(ticket, true, 5 * kMillisecond);
  EXPECT_TRUE(endpoint.IsProven(5 * kMillisecond));
  EXPECT_EQ(endpoint.Room(0, kMost), 2);
}

TEST(EndpointTest, TheWindowDoublesUpToItsCap) {
  Endpoint endpoint;
  for (const int room : {2, 4, 8, 16, 16, 16}) {
    Succeed(&endpoint, 0);
    EXPECT_EQ(endpoint.Room(0, kMost), room);
  }
  EXPECT_EQ(endpoint.Room(0, 3), 3);
}

TEST(EndpointTest, AFailureClosesTheWindowASlowAnswerNarrowsIt) {
  Endpoint endpoint;
  for (int i = 0; i < 5; ++i) Succeed(&endpoint, 0);
  Endpoint::Ticket ticket = endpoint.Start(0);
  endpoint.Finish(ticket, false, kMillisecond);
  EXPECT_EQ(endpoint.Room(0, kMost), 1);
  EXPECT_FALSE(endpoint.IsProven(0));
  for (int i = 0; i < 5; ++i) Succeed(&endpoint, 0);
  ticket = endpoint.Start(0);
  endpoint.Finish(ticket, true, 3 * kSecond);
  EXPECT_EQ(endpoint.Room(3 * kSecond, kMost), Endpoint::kSlowWindow);
  EXPECT_FALSE(endpoint.IsProven(3 * kSecond));
}

TEST(EndpointTest, AnAnswerThatIsCutOffClosesTheWindowAndNotTheBreaker) {
  Endpoint endpoint;
  const Micros now = kHour;
  for (int i = 0; i < 4; ++i) endpoint.Finish(endpoint.Start(now), /*success=*/true, now);
  EXPECT_TRUE(endpoint.IsProven(now));
  EXPECT_EQ(endpoint.Room(now, 32), 16);
  for (int i = 0; i < 20; ++i) {
    endpoint.Finish(endpoint.Start(now), /*success=*/true, now, /*tidy=*/false);
    EXPECT_FALSE(endpoint.IsProven(now));
    EXPECT_EQ(endpoint.Room(now, 32), 1);
  }
}

TEST(EndpointTest, WhoMakesWaitIsNotProven) {
  Endpoint endpoint;
  for (int i = 0; i < 5; ++i) Succeed(&endpoint, 0);
  (void)endpoint.Start(0);
  EXPECT_TRUE(endpoint.IsProven(kSecond));
  EXPECT_FALSE(endpoint.IsProven(kSecond + 1));
}

TEST(EndpointTest, WhatFailsHerePausesAndCountsForNothing) {
  Endpoint endpoint;
  Micros now = 0;
  Micros pause = Endpoint::kFirstPause;
  for (int i = 0; i < 2 * CircuitBreaker::kFailuresToOpen; ++i) {
    ASSERT_EQ(endpoint.Room(now, kMost), 1);
    const Micros until = endpoint.FailHere(endpoint.Start(now), now);
    ASSERT_EQ(until, now + pause);
    EXPECT_EQ(endpoint.Room(until - 1, kMost), 0);
    EXPECT_EQ(endpoint.NotBefore(now), until);
    EXPECT_TRUE(endpoint.FailsHere());
    now = until;
    pause = std::min(2 * pause, Endpoint::kLongestPause);
  }
  EXPECT_FALSE(endpoint.breaker().is_open());
  Succeed(&endpoint, now);
  EXPECT_FALSE(endpoint.FailsHere());
  EXPECT_EQ(endpoint.NotBefore(now), kNoTime);
  EXPECT_GT(endpoint.Room(now, kMost), 1);
  EXPECT_EQ(endpoint.FailHere(endpoint.Start(now), now), now + Endpoint::kFirstPause);
}

TEST(EndpointTest, RequestsUnderWayMakeNoPauseLonger) {
  Endpoint endpoint;
  Succeed(&endpoint, 0);
  Succeed(&endpoint, 0);
  const std::vector<Endpoint::Ticket> tickets = {endpoint.Start(0), endpoint.Start(0)};
  EXPECT_EQ(endpoint.FailHere(tickets[0], 0), Endpoint::kFirstPause);
  EXPECT_EQ(endpoint.FailHere(tickets[1], kSecond), Endpoint::kFirstPause);
  endpoint.PutBack(kSecond);
  EXPECT_EQ(endpoint.Room(Endpoint::kFirstPause - kSecond, kMost), 1);
}

TEST(EndpointTest, AProbeThatFailsHereIsRepeated) {
  Endpoint endpoint;
  endpoint.Suspend(kSecond);
  const Endpoint::Ticket probe = endpoint.Start(kSecond);
  ASSERT_TRUE(probe.probe);
  EXPECT_EQ(endpoint.NotBefore(kSecond), kNever);
  const Micros until = endpoint.FailHere(probe, kSecond);
  EXPECT_EQ(endpoint.Room(until - 1, kMost), 0);
  EXPECT_EQ(endpoint.Room(until, kMost), 1);
  EXPECT_TRUE(endpoint.Start(until).probe);
}

TEST(EndpointTest, AnOpenBreakerLetsOneProbeThrough) {
  Endpoint endpoint;
  for (int i = 0; i < CircuitBreaker::kFailuresToOpen; ++i) {
    endpoint.Finish(endpoint.Start(0), false, 0);
  }
  EXPECT_EQ(endpoint.Room(0, kMost), 0);
  const Micros later = CircuitBreaker::kFirstPause;
  EXPECT_EQ(endpoint.Room(later, kMost), 1);
  const Endpoint::Ticket probe = endpoint.Start(later);
  EXPECT_TRUE(probe.probe);
  EXPECT_EQ(endpoint.Room(later, kMost), 0);
  endpoint.Finish(probe, true, later);
  EXPECT_FALSE(endpoint.breaker().is_open());
  EXPECT_EQ(endpoint.in_flight(), 0);
}

}  // namespace
}  // namespace alerting
