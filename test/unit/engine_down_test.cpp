// CONTAINER_DOWN: fires by the clock; without `running` it looks at silence alone.
#include <gtest/gtest.h>

#include "engine_story.h"

namespace alerting::test {
namespace {

TEST(EngineDown, FiresByTheClockWithoutAnotherSample) {
  Story story({Down(180)});
  story.Send(0, {.running = false});
  EXPECT_EQ(story.State(), 'P');
  EXPECT_EQ(story.NextDeadline(), 180);
  story.Advance(179.999999);
  EXPECT_EQ(story.Take(), Lines{});
  story.Advance(180);
  EXPECT_EQ(story.Take(), Lines({"fire 0 180"}));
  EXPECT_EQ(story.NextDeadline(), std::nullopt);
}

TEST(EngineDown, DeadlineFollowsTheSamplesOwnClock) {
  // Two minutes behind: the deadline comes two minutes later by the wall clock.
  Story story({Down(180)});
  story.Send({{0, {.running = false}}}, 120);
  EXPECT_EQ(story.NextDeadline(), 300);
  story.Advance(299);
  EXPECT_EQ(story.Take(), Lines{});
  story.Advance(5000);
  EXPECT_EQ(story.Take(), Lines({"fire 0 180"}));
}

TEST(EngineDown, DurationZeroFiresAtOnce) {
  Story story({Down(0)});
  story.Send(0, {.running = false});
  EXPECT_EQ(story.Take(), Lines({"fire 0 0"}));
  story.Send(60, {.running = true});
  EXPECT_EQ(story.Take(), Lines({"resolve 60 RECOVERED"}));
}

struct Case {
  const char* what;
  std::vector<std::pair<double, bool>> samples;  // at, running; duration is 180
  Lines expected;
  char state;
};

TEST(EngineDown, SamplesAroundTheDeadline) {
  const std::vector<Case> cases = {
      {"bad after it: the deadline counts first", {{0, false}, {200, false}}, {"fire 0 180"}, 'F'},
      {"good after it: fired and resolved",
       {{0, false}, {200, true}},
       {"fire 0 180", "resolve 200 RECOVERED"},
       '-'},
      {"good at it: nothing happened", {{0, false}, {180, true}}, {}, '-'},
      {"bad at it: fires", {{0, false}, {180, false}}, {"fire 0 180"}, 'F'},
      {"good before it", {{0, false}, {179, true}, {400, true}}, {}, '-'},
      {"a gap does not start the run again",
       {{0, false}, {100, false}, {1000, false}},
       {"fire 0 180"},
       'F'},
      {"short outages raise nothing",
       {{0, false}, {60, true}, {120, false}, {180, true}, {240, false}, {300, true}},
       {},
       '-'},
      {"exactly one pair for the long one",
       {{0, false}, {60, true}, {120, false}, {240, false}, {300, false}, {360, true}},
       {"fire 120 300", "resolve 360 RECOVERED"},
       '-'},
  };
  for (const Case& c : cases) {
    Story story({Down(180)});
    for (const auto& [at, running] : c.samples) story.Send(at, {.running = running});
    EXPECT_EQ(story.Take(), c.expected) << c.what;
    EXPECT_EQ(story.State(), c.state) << c.what;
    // The same rows in one transaction, and as a backlog, mean the same.
    for (const double arrival : {1000.0, 3000.0}) {
      Story at_once({Down(180)});
      std::vector<Row> rows;
      for (const auto& [at, running] : c.samples) rows.push_back({at, {.running = running}});
      at_once.Send(rows, arrival);
      EXPECT_EQ(at_once.Take(), c.expected) << c.what;
    }
  }
}

TEST(EngineDown, CorrectionToGoodDropsTheRun) {
  Story story({Down(180)});
  story.Send(0, {.running = false});
  story.Send({{0, {.running = true}}}, 10);
  story.Advance(1000);
  EXPECT_EQ(story.Take(), Lines{});
  story.Send(1060, {.running = true});
  story.Send({{1060, {.running = false}}}, 1070);
  story.Advance(1240);
  EXPECT_EQ(story.Take(), Lines({"fire 1060 1240"}));
}

TEST(EngineDown, GoodRowFromBeforeAPassedDeadlineResolvesAtTheDeadline) {
  Story story({Down(60)});
  story.Send(0, {.running = false});
  story.Advance(61);
  story.Send({{59, {.running = true}}}, 62);
  EXPECT_EQ(story.Take(), Lines({"fire 0 60", "resolve 60 RECOVERED"}));
}

TEST(EngineDown, WithoutRunningOnlySilenceCounts) {
  Story story({Down(180, NoData::kFire)});
  story.Send(0, {.cpu = 1});
  story.Send(60, {.memory = 1});
  EXPECT_EQ(story.State(), '-');
  story.Advance(359);
  EXPECT_EQ(story.Take(), Lines{});
  story.Advance(360);  // five minutes after the newest sample of any metric
  EXPECT_EQ(story.Take(), Lines({"fire 60 360"}));
  story.Send(400, {.restarts = 0});
  EXPECT_EQ(story.Take(), Lines({"resolve 400 RECOVERED"}));
}

TEST(EngineDown, AnOlderSampleOfAnotherMetricDoesNotEndTheSilence) {
  Story story({Down(180, NoData::kFire)});
  story.Send(60, {.cpu = 1});
  story.Advance(360);
  EXPECT_EQ(story.Take(), Lines({"fire 60 360"}));
  story.Send({{30, {.memory = 1}}}, 400);
  EXPECT_EQ(story.Take(), Lines{});
  EXPECT_EQ(story.State(), 'F');
}

TEST(EngineDown, FirstRunningReadingTakesOver) {
  Story story({Down(0, NoData::kFire)});
  story.Send(0, {.cpu = 1});
  story.Advance(300);
  EXPECT_EQ(story.Take(), Lines({"fire 0 300"}));
  story.Send(400, {.cpu = 1, .running = false});  // not back: the alert goes on
  EXPECT_EQ(story.Take(), Lines{});
  EXPECT_EQ(story.State(), 'F');
  story.Send(460, {.cpu = 1});  // cpu says nothing about running from now on
  EXPECT_EQ(story.Take(), Lines{});
  story.Send(520, {.running = true});
  EXPECT_EQ(story.Take(), Lines({"resolve 520 RECOVERED"}));
}

TEST(EngineDown, NeverReportedRaisesNothing) {
  Story story({Down(0, NoData::kFire)});
  story.Ref("c");
  story.Advance(1e6);
  EXPECT_EQ(story.Take(), Lines{});
  EXPECT_EQ(story.NextDeadline(), std::nullopt);
}

}  // namespace
}  // namespace alerting::test
