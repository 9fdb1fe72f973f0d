// Silence: no_data keep, resolve and fire; measured on arrival, never from before the start.
#include <gtest/gtest.h>

#include "engine_story.h"

namespace alerting::test {
namespace {

struct Case {
  const char* what;
  Rule rule;
  std::vector<std::pair<double, Values>> rows;
  double now;
  Lines expected;
  char state;
};

TEST(EngineSilence, WhatItMeansForEachState) {
  constexpr NoData kKeep = NoData::kKeep;
  constexpr NoData kResolve = NoData::kResolve;
  constexpr NoData kFire = NoData::kFire;
  const std::vector<Case> cases = {
      {"keep: FIRING stays",
       Cpu(80, 0, kKeep),
       {{0, {.cpu = 95}}},
       1e6,
       {"fire 0 0 value 95 peak 95"},
       'F'},
      {"keep: PENDING stays for now", Cpu(80, 600, kKeep), {{0, {.cpu = 95}}}, 1e6, {}, 'P'},
      {"keep: OK stays", Cpu(80, 0, kKeep), {{0, {.cpu = 5}}}, 1e6, {}, '-'},
      {"resolve: FIRING resolves",
       Cpu(80, 0, kResolve),
       {{0, {.cpu = 95}}},
       1e6,
       {"fire 0 0 value 95 peak 95", "resolve 300 NO_DATA peak 95"},
       '-'},
      {"resolve: PENDING is dropped", Cpu(80, 600, kResolve), {{0, {.cpu = 95}}}, 1e6, {}, '-'},
      {"resolve: OK stays", Cpu(80, 0, kResolve), {{0, {.cpu = 5}}}, 1e6, {}, '-'},
      {"fire: OK fires since the last sample",
       Cpu(80, 0, kFire),
       {{0, {.cpu = 5}}, {60, {.cpu = 6}}},
       1e6,
       {"fire 60 360 value 6 peak 6"},
       'F'},
      {"fire: PENDING fires since its run began",
       Cpu(80, 600, kFire),
       {{0, {.cpu = 99}}, {60, {.cpu = 95}}},
       1e6,
       {"fire 0 360 value 95 peak 99"},
       'F'},
      {"fire: FIRING stays",
       Cpu(80, 0, kFire),
       {{0, {.cpu = 95}}},
       1e6,
       {"fire 0 0 value 95 peak 95"},
       'F'},
      {"DOWN keep: the deadline still applies",
       Down(600, kKeep),
       {{0, {.running = false}}},
       1e6,
       {"fire 0 600"},
       'F'},
      {"DOWN fire: silence before the deadline",
       Down(600, kFire),
       {{0, {.running = false}}},
       1e6,
       {"fire 0 300"},
       'F'},
      {"DOWN fire: the deadline before silence",
       Down(180, kFire),
       {{0, {.running = false}}},
       1e6,
       {"fire 0 180"},
       'F'},
      {"DOWN fire: both at once, the deadline goes first",
       Down(300, kFire),
       {{0, {.running = false}}},
       1e6,
       {"fire 0 300"},
       'F'},
      {"DOWN fire: an up container that goes silent",
       Down(180, kFire),
       {{0, {.running = true}}},
       1e6,
       {"fire 0 300"},
       'F'},
      {"DOWN resolve: silence before the deadline drops the run",
       Down(600, kResolve),
       {{0, {.running = false}}},
       1e6,
       {},
       '-'},
      {"DOWN resolve: fired and resolved",
       Down(180, kResolve),
       {{0, {.running = false}}},
       1e6,
       {"fire 0 180", "resolve 300 NO_DATA"},
       '-'},
      {"RESTART_LOOP keep: the window resolves",
       Restarts(3, 600, kKeep),
       {{0, {.restarts = 0}}, {60, {.restarts = 4}}},
       1e6,
       {"fire 60 60 value 4 peak 4", "resolve 660 RECOVERED value 0 peak 4"},
       '-'},
      {"RESTART_LOOP keep: the window before silence",
       Restarts(3, 120, kResolve),
       {{0, {.restarts = 0}}, {60, {.restarts = 4}}},
       1e6,
       {"fire 60 60 value 4 peak 4", "resolve 180 RECOVERED value 0 peak 4"},
       '-'},
      {"RESTART_LOOP resolve: silence before the window",
       Restarts(3, 600, kResolve),
       {{0, {.restarts = 0}}, {60, {.restarts = 4}}},
       1e6,
       {"fire 60 60 value 4 peak 4", "resolve 360 NO_DATA peak 4"},
       '-'},
      {"RESTART_LOOP fire: tells the restarts in the window",
       Restarts(3, 600, kFire),
       {{0, {.restarts = 0}}, {60, {.restarts = 2}}},
       1e6,
       {"fire 60 360 value 2 peak 2"},
       'F'},
      {"RESTART_LOOP fire: no window ends it",
       Restarts(3, 600, kFire),
       {{0, {.restarts = 0}}, {60, {.restarts = 4}}},
       1e6,
       {"fire 60 60 value 4 peak 4"},
       'F'},
  };
  for (const Case& c : cases) {
    Story at_once({c.rule});
    Story by_steps({c.rule});
    for (const auto& [at, values] : c.rows) {
      at_once.Send(at, values);
      by_steps.Send(at, values);
    }
    at_once.Advance(c.now);
    EXPECT_EQ(at_once.Take(), c.expected) << c.what;
    EXPECT_EQ(at_once.State("r", "c", c.now), c.state) << c.what;
    EXPECT_EQ(at_once.NextDeadline(), std::nullopt) << c.what;
    for (double now = 1; now < 1000; now += 7) by_steps.Advance(now);
    EXPECT_EQ(by_steps.Take(), c.expected) << c.what << ", by steps";
  }
}

TEST(EngineSilence, BeginsExactlyAtStaleAfter) {
  Story story({Cpu(80, 0, NoData::kFire)});
  story.Send(0, {.cpu = 5});
  story.Advance(299.999999);
  EXPECT_EQ(story.Take(), Lines{});
  story.Advance(300);
  EXPECT_EQ(story.Take(), Lines({"fire 0 300 value 5 peak 5"}));
}

TEST(EngineSilence, IsMeasuredOnArrival) {
  // Samples that come ten minutes late, but keep coming, are no silence.
  Story story({Cpu(80, 0, NoData::kFire)});
  for (double at = 0; at <= 1200; at += 240) {
    story.Send({{at, {.cpu = 5}}}, at + 600);
    story.Advance(at + 600 + 239);
  }
  EXPECT_EQ(story.Take(), Lines{});
  story.Advance(1200 + 600 + 300);
  EXPECT_EQ(story.Take(), Lines({"fire 1200 1500 value 5 peak 5"}));
}

TEST(EngineSilence, IsNotAGapBetweenSampleTimes) {
  Story story({Cpu(80, 0, NoData::kFire)});
  story.Send({{0, {.cpu = 5}}, {2000, {.cpu = 5}}}, 2000);
  EXPECT_EQ(story.Take(), Lines{});
}

TEST(EngineSilence, IsNeverMeasuredFromBeforeTheStart) {
  // A restart never reports a dead fleet: the worker starts an hour after the last sample.
  Story story({Cpu(80, 0, NoData::kFire)}, 3600);
  story.Send({{0, {.cpu = 5}}}, 0);
  story.Advance(3600);
  EXPECT_EQ(story.Take(), Lines{});
  EXPECT_EQ(story.NextDeadline(), 3900);
  story.Advance(3900);
  EXPECT_EQ(story.Take(), Lines({"fire 0 300 value 5 peak 5"}));
}

TEST(EngineSilence, EndsWithTheNextReading) {
  Story story({Cpu(80, 0, NoData::kFire)});
  story.Send(0, {.cpu = 5});
  story.Advance(300);
  story.Send(400, {.cpu = 95});  // bad: goes on, as an ordinary alert
  EXPECT_EQ(story.Take(), Lines({"fire 0 300 value 5 peak 5"}));
  EXPECT_FALSE(story.engine().Explain(story.Ref("c"), "r", At(400)).by_silence);
  story.Send(460, {.cpu = 6});
  EXPECT_EQ(story.Take(), Lines({"resolve 460 RECOVERED value 6 peak 95"}));
  story.Advance(760);  // and begins again after the last one
  EXPECT_EQ(story.Take(), Lines({"fire 460 760 value 6 peak 6"}));
  story.Send(800, {.cpu = 6});
  EXPECT_EQ(story.Take(), Lines({"resolve 800 RECOVERED value 6 peak 6"}));
}

TEST(EngineSilence, ARowWithoutTheMetricDoesNotEndIt) {
  Story story({Cpu(80, 0, NoData::kFire)});
  story.Send(0, {.cpu = 5});
  story.Send(200, {.memory = 5});
  story.Advance(300);
  EXPECT_EQ(story.Take(), Lines({"fire 0 300 value 5 peak 5"}));
}

TEST(EngineSilence, CorrectionNeitherEndsNorDelaysIt) {
  Story story({Cpu(80, 0, NoData::kFire)});
  story.Send(0, {.cpu = 5});
  story.Send({{0, {.cpu = 6}}}, 200);
  story.Advance(300);
  EXPECT_EQ(story.Take(), Lines({"fire 0 300 value 6 peak 6"}));
  story.Send({{0, {.cpu = 7}}}, 400);
  EXPECT_EQ(story.Take(), Lines{});
  EXPECT_EQ(story.State("r", "c", 400), 'F');
}

TEST(EngineSilence, EachSourceHasItsOwnLimit) {
  Story story({Cpu(80, 0, NoData::kFire)});
  story.engine().SetSource(2, {.max_age = kHour, .stale_after = 30 * kSecond});
  story.engine().SetSource(3, {.max_age = kHour, .stale_after = kNever});
  story.Send({{0, {.cpu = 5}, 1}, {0, {.cpu = 5}, 2, "d"}, {0, {.cpu = 5}, 3, "e"}}, 0);
  EXPECT_EQ(story.NextDeadline(), 30);
  story.Advance(1e7);
  EXPECT_EQ(story.Take(), Lines({"r@d fire 0 30 value 5 peak 5", "fire 0 300 value 5 peak 5"}));
}

TEST(EngineSilence, AShorterLimitHoldsForReadingsThatAreThere) {
  Story story({Cpu(80, 0, NoData::kFire)});
  story.Send(0, {.cpu = 5});
  story.engine().SetSource(1, {.max_age = kHour, .stale_after = 60 * kSecond});
  EXPECT_EQ(story.NextDeadline(), 60);
  story.Advance(60);
  EXPECT_EQ(story.Take(), Lines({"fire 0 60 value 5 peak 5"}));
}

TEST(EngineSilence, ASourceThatIsQuickerThanTheOneBefore) {
  Story story({Cpu(80, 0, NoData::kFire)});
  story.engine().SetSource(2, {.max_age = kHour, .stale_after = 30 * kSecond});
  story.Send(0, {.cpu = 5}, 1);
  story.Send(60, {.cpu = 5}, 2);
  EXPECT_EQ(story.NextDeadline(), 90);
  story.Advance(90);
  EXPECT_EQ(story.Take(), Lines({"fire 60 90 value 5 peak 5"}));
}

TEST(EngineSilence, ClockSetBackIsNoSilence) {
  Story story({Cpu(80, 0, NoData::kFire)});
  story.Send(0, {.cpu = 5});
  story.Advance(-200);
  story.Send({{60, {.cpu = 5}}}, -140);
  story.Advance(-140 + 299);
  EXPECT_EQ(story.Take(), Lines{});
  story.Advance(-140 + 300);
  EXPECT_EQ(story.Take(), Lines({"fire 60 360 value 5 peak 5"}));
}

}  // namespace
}  // namespace alerting::test
