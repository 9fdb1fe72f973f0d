// RESTART_LOOP: restarts in a sliding window, counter resets, window ends.
#include <gtest/gtest.h>

#include "engine_story.h"

namespace alerting::test {
namespace {

using Counter = std::vector<std::pair<double, double>>;  // at, counter

Lines Replay(const Rule& rule, const Counter& counter) {
  Story story({rule});
  for (const auto& [at, restarts] : counter) story.Send(at, {.restarts = restarts});
  return story.Take();
}

TEST(EngineRestartLoop, FirstReadingGainsNothing) {
  EXPECT_EQ(Replay(Restarts(3, 600), {{0, 40}, {60, 40}, {120, 43}}), Lines{});
  EXPECT_EQ(Replay(Restarts(3, 600), {{0, 40}, {60, 44}}), Lines({"fire 60 60 value 4 peak 4"}));
}

TEST(EngineRestartLoop, ThresholdIsExclusive) {
  EXPECT_EQ(Replay(Restarts(3, 600), {{0, 0}, {60, 3}}), Lines{});
  EXPECT_EQ(Replay(Restarts(3, 600), {{0, 0}, {60, 3}, {120, 4}}),
            Lines({"fire 120 120 value 4 peak 4"}));
}

TEST(EngineRestartLoop, WindowIsOpenAtItsBeginning) {
  // Gains of 2 at 60 and 2 at 660: exactly ten minutes apart do not meet in (60, 660].
  EXPECT_EQ(Replay(Restarts(3, 600), {{0, 0}, {60, 2}, {660, 4}}), Lines{});
  EXPECT_EQ(Replay(Restarts(3, 600), {{0, 0}, {60, 2}, {659.999999, 4}}),
            Lines({"fire 659.999999 659.999999 value 4 peak 4"}));
}

TEST(EngineRestartLoop, ResetCountsWhatTheCounterShows) {
  // 5 6 7 0 1: 2 + 0 + 1.
  EXPECT_EQ(Replay(Restarts(2, 600), {{0, 5}, {60, 6}, {120, 7}, {180, 0}, {240, 1}}),
            Lines({"fire 240 240 value 3 peak 3"}));
  EXPECT_EQ(Replay(Restarts(3, 600), {{0, 5}, {60, 6}, {120, 7}, {180, 0}, {240, 1}}), Lines{});
  EXPECT_EQ(Replay(Restarts(3, 600), {{0, 5}, {60, 4}}), Lines({"fire 60 60 value 4 peak 4"}));
}

TEST(EngineRestartLoop, FieldCase) {
  // Quiet at 40, then 42, 44, 46, a recreated container at 0: fires once, resolves by the window.
  Story story({Restarts(3, 600)});
  for (int minute = 0; minute <= 20; ++minute) story.Send(minute * kMin, {.restarts = 40});
  for (int i = 1; i <= 3; ++i) story.Send((20 + i) * kMin, {.restarts = 40 + 2.0 * i});
  EXPECT_EQ(story.Take(), Lines({"fire 1320 1320 value 4 peak 4"}));
  for (int minute = 24; minute <= 40; ++minute) story.Send(minute * kMin, {.restarts = 0});
  // At 32 minutes the gain of 22 has left; that of 23 minutes still counts.
  EXPECT_EQ(story.Take(), Lines({"resolve 1920 RECOVERED value 2 peak 6"}));
}

TEST(EngineRestartLoop, ResolvesWithASampleOrByTheClock) {
  Story story({Restarts(3, 600)});
  story.Send(0, {.restarts = 0});
  story.Send(60, {.restarts = 2});
  story.Send(120, {.restarts = 5});
  EXPECT_EQ(story.Take(), Lines({"fire 120 120 value 5 peak 5"}));
  EXPECT_EQ(story.NextDeadline(), 660);  // without the two of 60, three are left
  story.Advance(659);
  EXPECT_EQ(story.Take(), Lines{});
  story.Advance(660);
  EXPECT_EQ(story.Take(), Lines({"resolve 660 RECOVERED value 3 peak 5"}));
  EXPECT_EQ(story.NextDeadline(), std::nullopt);
}

TEST(EngineRestartLoop, WindowEndBeforeASampleCountsFirst) {
  EXPECT_EQ(Replay(Restarts(3, 600), {{0, 0}, {60, 4}, {700, 4}}),
            Lines({"fire 60 60 value 4 peak 4", "resolve 660 RECOVERED value 0 peak 4"}));
  // Also when that sample makes it fire again: two incidents.
  EXPECT_EQ(Replay(Restarts(3, 600), {{0, 0}, {60, 4}, {700, 9}}),
            Lines({"fire 60 60 value 4 peak 4", "resolve 660 RECOVERED value 0 peak 4",
                   "fire 700 700 value 5 peak 5"}));
}

TEST(EngineRestartLoop, SampleAtTheWindowsEndDecides) {
  EXPECT_EQ(Replay(Restarts(3, 600), {{0, 0}, {60, 4}, {660, 8}, {700, 8}}),
            Lines({"fire 60 60 value 4 peak 4"}));
  EXPECT_EQ(Replay(Restarts(3, 600), {{0, 0}, {60, 4}, {660, 5}}),
            Lines({"fire 60 60 value 4 peak 4", "resolve 660 RECOVERED value 1 peak 4"}));
}

TEST(EngineRestartLoop, RowFromBeforeAPassedWindowEndFiresNoSecondAlert) {
  Story story({Restarts(3, 600)});
  story.Send(0, {.restarts = 0});
  story.Send(60, {.restarts = 4});
  story.Advance(661);
  story.Send({{659, {.restarts = 4}}}, 662);
  EXPECT_EQ(story.Take(),
            Lines({"fire 60 60 value 4 peak 4", "resolve 660 RECOVERED value 0 peak 4"}));
}

TEST(EngineRestartLoop, CorrectionReplacesTheGain) {
  Story story({Restarts(3, 600)});
  story.Send(0, {.restarts = 10});
  story.Send(60, {.restarts = 15});
  EXPECT_EQ(story.Take(), Lines({"fire 60 60 value 5 peak 5"}));
  story.Send({{60, {.restarts = 12}}}, 61);  // two, not five
  EXPECT_EQ(story.Take(), Lines({"resolve 60 RECOVERED value 2 peak 5"}));
  story.Send({{60, {.restarts = 14}}}, 62);
  EXPECT_EQ(story.Take(), Lines({"fire 60 60 value 4 peak 4"}));
  story.Send({{60, {.restarts = 1}}}, 63);  // a reset after all
  EXPECT_EQ(story.Take(), Lines({"resolve 60 RECOVERED value 1 peak 4"}));
  story.Send(120, {.restarts = 3});
  EXPECT_EQ(story.Take(), Lines{});  // 1 + 2
}

TEST(EngineRestartLoop, CorrectionOfTheFirstReadingGainsNothing) {
  Story story({Restarts(3, 600)});
  story.Send(0, {.restarts = 10});
  story.Send({{0, {.restarts = 100}}}, 1);
  story.Send(60, {.restarts = 101});
  EXPECT_EQ(story.Take(), Lines{});
}

TEST(EngineRestartLoop, CorrectionAfterAnUnchangedCounter) {
  Story story({Restarts(3, 600)});
  story.Send(0, {.restarts = 10});
  story.Send(60, {.restarts = 10});
  story.Send({{60, {.restarts = 14}}}, 61);
  EXPECT_EQ(story.Take(), Lines({"fire 60 60 value 4 peak 4"}));
  story.Send({{60, {.restarts = 10}}}, 62);
  EXPECT_EQ(story.Take(), Lines({"resolve 60 RECOVERED value 0 peak 4"}));
}

TEST(EngineRestartLoop, NegativeThresholdFiresWithTheFirstReadingForEver) {
  Story story({Restarts(-1, 600)});
  story.Send(0, {.restarts = 5});
  EXPECT_EQ(story.Take(), Lines({"fire 0 0 value 0 peak 0"}));
  EXPECT_EQ(story.NextDeadline(), std::nullopt);
}

TEST(EngineRestartLoop, AGapInTheWindowMakesNoDifference) {
  EXPECT_EQ(Replay(Restarts(3, 3600), {{0, 0}, {60, 2}, {3000, 4}}),
            Lines({"fire 3000 3000 value 4 peak 4"}));
}

TEST(EngineRestartLoop, GainsAreKeptForTheLargestWindowAndAtLeastAnHour) {
  Story story;
  story.Send(0, {.restarts = 0});
  story.Send(60, {.restarts = 4});
  story.Send(3600, {.restarts = 4});
  story.rules() = {Restarts(3, 3600)};
  story.EditRules(3600);  // no rule wanted it, yet the last hour is known
  EXPECT_EQ(story.Take(), Lines({"fire 3600 3600 value 4 peak 4"}));

  Story wide({Restarts(100, 7200)});
  wide.Send(0, {.restarts = 0});
  wide.Send(60, {.restarts = 4});
  wide.Send(7000, {.restarts = 4});
  wide.rule().threshold = 3;
  wide.EditRules(7000);
  EXPECT_EQ(wide.Take(), Lines({"fire 7000 7000 value 4 peak 4"}));
}

TEST(EngineRestartLoop, ManyGainsInOneWindow) {
  Story story({Restarts(999, 100000)});
  for (int i = 0; i <= 1000; ++i) story.Send(i * 60.0, {.restarts = static_cast<double>(i)});
  EXPECT_EQ(story.Take(), Lines({"fire 60000 60000 value 1000 peak 1000"}));
}

}  // namespace
}  // namespace alerting::test
