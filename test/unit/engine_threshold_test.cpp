// CPU_USAGE and MEMORY_USAGE: thresholds, durations, gaps.
#include <gtest/gtest.h>

#include "engine_story.h"

namespace alerting::test {
namespace {

struct Case {
  const char* what;
  double duration;
  std::vector<std::pair<double, double>> readings;  // at, value
  Lines expected;
  char state;
};

TEST(EngineThreshold, States) {
  const std::vector<Case> cases = {
      {"the threshold itself is no breach", 0, {{0, 80}}, {}, '-'},
      {"just above is", 0, {{0, 80.000001}}, {"fire 0 0 value 80.000001 peak 80.000001"}, 'F'},
      {"duration 0 fires at once", 0, {{0, 95}}, {"fire 0 0 value 95 peak 95"}, 'F'},
      {"a duration pends", 300, {{0, 95}, {60, 95}}, {}, 'P'},
      {"not before its end", 300, {{0, 95}, {299.999999, 95}}, {}, 'P'},
      {"its end is inclusive", 300, {{0, 95}, {300, 96}}, {"fire 0 300 value 96 peak 96"}, 'F'},
      {"fires with the first sample after its end",
       300,
       {{0, 99}, {100, 95}, {290, 95}, {310, 96}},
       {"fire 0 310 value 96 peak 99"},
       'F'},
      {"a good sample starts the run anew",
       300,
       {{0, 95}, {240, 95}, {270, 80}, {300, 95}, {500, 95}, {600, 95}},
       {"fire 300 600 value 95 peak 95"},
       'F'},
      {"a gap of exactly stale_after breaks nothing",
       300,
       {{0, 95}, {300, 95}},
       {"fire 0 300 value 95 peak 95"},
       'F'},
      {"a longer gap starts the pending run again",
       300,
       {{0, 99}, {60, 95}, {360.000001, 95}, {600, 95}, {660.000001, 95}},
       {"fire 360.000001 660.000001 value 95 peak 95"},
       'F'},
      {"a gap never touches what fires",
       60,
       {{0, 95}, {60, 95}, {36000, 95}, {36060, 5}},
       {"fire 0 60 value 95 peak 95", "resolve 36060 RECOVERED value 5 peak 95"},
       '-'},
      {"a gap longer than the duration fires nothing", 60, {{0, 95}, {301, 95}}, {}, 'P'},
      {"three incidents are three alerts",
       0,
       {{0, 95}, {60, 5}, {120, 96}, {180, 5}, {240, 97}},
       {"fire 0 0 value 95 peak 95", "resolve 60 RECOVERED value 5 peak 95",
        "fire 120 120 value 96 peak 96", "resolve 180 RECOVERED value 5 peak 96",
        "fire 240 240 value 97 peak 97"},
       'F'},
      {"the peak is the highest of the run",
       120,
       {{0, 85}, {60, 99}, {120, 90}, {180, 98}, {240, 5}},
       {"fire 0 120 value 90 peak 99", "resolve 240 RECOVERED value 5 peak 99"},
       '-'},
  };
  for (const bool is_memory : {false, true}) {
    for (const Case& c : cases) {
      Story story({is_memory ? Memory(80, c.duration) : Cpu(80, c.duration)});
      for (const auto& [at, value] : c.readings) {
        story.Send(at, is_memory ? Values{.memory = value} : Values{.cpu = value});
      }
      EXPECT_EQ(story.Take(), c.expected) << c.what;
      EXPECT_EQ(story.State(), c.state) << c.what;
    }
  }
}

TEST(EngineThreshold, GapIsMeasuredByTheSourceOfTheReadingBefore) {
  Story story({Cpu(80, 900)});
  story.engine().SetSource(2, {.max_age = kHour, .stale_after = kHour});
  story.Send(0, {.cpu = 95}, 2);
  story.Send(600, {.cpu = 95}, 1);   // within the hour of source 2
  story.Send(1200, {.cpu = 95}, 2);  // past the five minutes of source 1
  EXPECT_EQ(story.State(), 'P');
  EXPECT_EQ(story.engine().Explain(story.Ref("c"), "r", At(1200)).since, At(1200));
}

TEST(EngineThreshold, GapBetweenSampleTimesCountsAlsoInABacklog) {
  Story story({Cpu(80, 300)});
  story.Send({{0, {.cpu = 95}}, {400, {.cpu = 95}}}, 400);
  EXPECT_EQ(story.State(), 'P');
  EXPECT_EQ(story.Take(), Lines{});
}

TEST(EngineThreshold, LateArrivalIsNoGap) {
  Story story({Cpu(80, 300)});
  story.Send({{0, {.cpu = 95}}}, 0);
  story.Send({{200, {.cpu = 95}}}, 1000);
  story.Send({{300, {.cpu = 95}}}, 1001);
  EXPECT_EQ(story.Take(), Lines({"fire 0 300 value 95 peak 95"}));
}

TEST(EngineThreshold, SeveralRulesOnOneMetricAreIndependent) {
  Story story({Cpu(50, 0), Cpu(80, 60), Cpu(90, 0), Cpu(50, 60)});
  const char* ids[] = {"a", "b", "c", "d"};
  for (size_t i = 0; i < 4; ++i) story.rule(i).id = ids[i];
  story.EditRules(0);
  story.Send(0, {.cpu = 85});
  EXPECT_EQ(story.Take(), Lines({"a@c fire 0 0 value 85 peak 85"}));
  story.Send(60, {.cpu = 60});
  EXPECT_EQ(story.Take(), Lines({"d@c fire 0 60 value 60 peak 85"}));
  EXPECT_EQ(story.State("b"), '-');
  story.Send(120, {.cpu = 95});
  EXPECT_EQ(story.Take(), Lines({"c@c fire 120 120 value 95 peak 95"}));
  EXPECT_EQ(story.State("b"), 'P');
  story.Send(180, {.cpu = 50});
  EXPECT_EQ(story.Take().size(), 3u);
}

TEST(EngineThreshold, RulesOfOtherOrganizationsDoNotApply) {
  Story story({Cpu(50, 0)});
  story.rule().organization = "other";
  story.EditRules(0);
  story.Send(0, {.cpu = 95});
  EXPECT_EQ(story.Take(), Lines{});
}

TEST(EngineThreshold, FireAndResolveShareTheAlertsNumber) {
  Story story({Cpu(80, 0)});
  story.Send(0, {.cpu = 95});
  story.Send(60, {.cpu = 5});
  story.Send(120, {.cpu = 95});
  const std::vector<Transition> t = story.engine().TakeTransitions();
  ASSERT_EQ(t.size(), 3u);
  EXPECT_NE(t[0].alert, 0u);
  EXPECT_EQ(t[0].alert, t[1].alert);
  EXPECT_NE(t[2].alert, t[1].alert);
  EXPECT_EQ(t[1].started_at, At(0));
  EXPECT_EQ(t[1].fired_at, At(0));
  EXPECT_EQ(t[0].container, story.Ref("c"));
}

}  // namespace
}  // namespace alerting::test
