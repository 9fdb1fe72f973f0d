// Rules that are made, edited, disabled and deleted while readings are known and alerts fire.
#include <gtest/gtest.h>

#include <functional>

#include "engine_story.h"

namespace alerting::test {
namespace {

using Rows = std::vector<std::pair<double, Values>>;

TEST(EngineRules, NewRuleIsJudgedAtOnceOnTheLastReadings) {
  struct Case {
    const char* what;
    Rule rule;
    Rows rows;
    double now;
    Lines expected;
    char state;
  };
  const std::vector<Case> cases = {
      {"fires at the reading's time",
       Cpu(80, 0),
       {{0, {.cpu = 95}}},
       100,
       {"fire 0 0 value 95 peak 95"},
       'F'},
      {"pends since the last reading, not before",
       Cpu(80, 60),
       {{0, {.cpu = 95}}, {60, {.cpu = 95}}},
       100,
       {},
       'P'},
      {"a good reading raises nothing", Cpu(80, 0), {{0, {.cpu = 5}}}, 100, {}, '-'},
      {"a reading that fell silent raises nothing", Cpu(80, 0), {{0, {.cpu = 95}}}, 300, {}, '-'},
      {"unless silence fires",
       Cpu(80, 0, NoData::kFire),
       {{0, {.cpu = 5}}},
       400,
       {"fire 0 300 value 5 peak 5"},
       'F'},
      {"DOWN pends by the clock", Down(180), {{0, {.running = false}}}, 100, {}, 'P'},
      {"DOWN whose deadline has passed",
       Down(180),
       {{0, {.running = false}}},
       200,
       {"fire 0 180"},
       'F'},
      {"DOWN that was written once, long ago",
       Down(180),
       {{0, {.running = false}}},
       1e5,
       {"fire 0 180"},
       'F'},
      {"RESTART_LOOP counts at the last reading",
       Restarts(3, 600),
       {{0, {.restarts = 0}}, {60, {.restarts = 4}}},
       100,
       {"fire 60 60 value 4 peak 4"},
       'F'},
      {"never read", Cpu(80, 0, NoData::kFire), {{0, {.memory = 95}}}, 1e6, {}, '-'},
  };
  for (const Case& c : cases) {
    for (const bool was_disabled : {false, true}) {
      Story story;
      if (was_disabled) {
        story.rules() = {c.rule};
        story.rule().enabled = false;
        story.EditRules(-10);
      }
      for (const auto& [at, values] : c.rows) story.Send(at, values);
      EXPECT_EQ(story.Take(), Lines{}) << c.what;
      story.rules() = {c.rule};
      story.EditRules(c.now);
      EXPECT_EQ(story.Take(), c.expected) << c.what << was_disabled;
      EXPECT_EQ(story.State("r", "c", c.now), c.state) << c.what << was_disabled;
    }
  }
}

struct Edit {
  const char* what;
  Rule rule;
  Rows rows;
  double now;
  std::function<void(Rule&)> edit;
  Lines expected;  // of the edit
  char state;
};

void Check(const std::vector<Edit>& edits) {
  for (const Edit& c : edits) {
    Story story({c.rule});
    for (const auto& [at, values] : c.rows) story.Send(at, values);
    story.Advance(c.now);
    story.Take();
    c.edit(story.rule());
    story.EditRules(c.now);
    EXPECT_EQ(story.Take(), c.expected) << c.what;
    EXPECT_EQ(story.State("r", "c", c.now), c.state) << c.what;
  }
}

TEST(EngineRules, EditsWhilePending) {
  const Rows bad = {{0, {.cpu = 99}}, {60, {.cpu = 95}}};
  Check({
      {"raised, still bad: the run starts at the last reading",
       Cpu(80, 600),
       bad,
       90,
       [](Rule& r) { r.threshold = 90, r.duration = 60 * kSecond; },
       {},
       'P'},
      {"lowered: since is kept",
       Cpu(80, 600),
       bad,
       90,
       [](Rule& r) { r.threshold = 70, r.duration = 60 * kSecond; },
       {"fire 0 60 value 95 peak 99"},
       'F'},
      {"raised above the reading: dropped",
       Cpu(80, 600),
       bad,
       90,
       [](Rule& r) { r.threshold = 95; },
       {},
       '-'},
      {"a shorter duration that has passed fires at the last reading",
       Cpu(80, 600),
       bad,
       90,
       [](Rule& r) { r.duration = 60 * kSecond; },
       {"fire 0 60 value 95 peak 99"},
       'F'},
      {"a shorter duration that has not",
       Cpu(80, 600),
       bad,
       90,
       [](Rule& r) { r.duration = 61 * kSecond; },
       {},
       'P'},
      {"a longer duration", Cpu(80, 120), bad, 90, [](Rule& r) { r.duration = kHour; }, {}, 'P'},
      {"no edit fires what is silent",
       Cpu(80, 600),
       bad,
       500,
       [](Rule& r) { r.duration = 60 * kSecond; },
       {},
       'P'},
      {"a silent one edited to fire",
       Cpu(80, 600),
       bad,
       500,
       [](Rule& r) { r.no_data = NoData::kFire; },
       {"fire 0 360 value 95 peak 99"},
       'F'},
      {"a silent one edited to resolve",
       Cpu(80, 600),
       bad,
       500,
       [](Rule& r) { r.no_data = NoData::kResolve; },
       {},
       '-'},
      {"DOWN, shorter, passed",
       Down(600),
       {{0, {.running = false}}},
       90,
       [](Rule& r) { r.duration = 60 * kSecond; },
       {"fire 0 60"},
       'F'},
      {"DOWN, shorter, fires no earlier than the last reading",
       Down(600),
       {{0, {.running = false}}, {80, {.running = false}}},
       90,
       [](Rule& r) { r.duration = 60 * kSecond; },
       {"fire 0 80"},
       'F'},
      {"DOWN, shorter, not passed",
       Down(600),
       {{0, {.running = false}}},
       90,
       [](Rule& r) { r.duration = 100 * kSecond; },
       {},
       'P'},
      {"the threshold of DOWN means nothing",
       Down(600),
       {{0, {.running = false}}},
       90,
       [](Rule& r) { r.threshold = 7; },
       {},
       'P'},
  });
}

TEST(EngineRules, EditsWhileFiring) {
  const Rows bad = {{0, {.cpu = 99}}, {60, {.cpu = 95}}};
  const Rows loop = {{0, {.restarts = 0}}, {60, {.restarts = 3}}, {180, {.restarts = 5}}};
  Check({
      {"a longer duration announces nothing again",
       Cpu(80, 15),
       bad,
       90,
       [](Rule& r) { r.duration = kHour; },
       {},
       'F'},
      {"raised, still bad", Cpu(80, 0), bad, 90, [](Rule& r) { r.threshold = 94; }, {}, 'F'},
      {"raised above the reading resolves at its time",
       Cpu(80, 0),
       bad,
       90,
       [](Rule& r) { r.threshold = 95; },
       {"resolve 60 RECOVERED value 95 peak 99"},
       '-'},
      {"also when it is silent",
       Cpu(80, 0),
       bad,
       500,
       [](Rule& r) { r.threshold = 95; },
       {"resolve 60 RECOVERED value 95 peak 99"},
       '-'},
      {"a silent one edited to resolve",
       Cpu(80, 0),
       bad,
       500,
       [](Rule& r) { r.no_data = NoData::kResolve; },
       {"resolve 360 NO_DATA peak 99"},
       '-'},
      {"by silence, edited to keep, stays",
       Cpu(80, 0, NoData::kFire),
       {{0, {.cpu = 5}}},
       500,
       [](Rule& r) { r.no_data = NoData::kKeep; },
       {},
       'F'},
      {"by silence, edited to resolve",
       Cpu(80, 0, NoData::kFire),
       {{0, {.cpu = 5}}},
       500,
       [](Rule& r) { r.no_data = NoData::kResolve; },
       {"resolve 300 NO_DATA peak 5"},
       '-'},
      {"by silence, other terms",
       Cpu(80, 0, NoData::kFire),
       {{0, {.cpu = 5}}},
       500,
       [](Rule& r) { r.threshold = 50; },
       {},
       'F'},
      {"DOWN that fired after its last sample resolves no earlier",
       Down(60),
       {{0, {.running = false}}},
       90,
       [](Rule& r) { r.duration = kHour; },
       {},
       'F'},
      {"RESTART_LOOP recounts a shorter window at the last reading",
       Restarts(3, 600),
       loop,
       200,
       [](Rule& r) { r.duration = 60 * kSecond; },
       {"resolve 180 RECOVERED value 2 peak 5"},
       '-'},
      {"RESTART_LOOP still above",
       Restarts(3, 600),
       loop,
       200,
       [](Rule& r) { r.threshold = 4; },
       {},
       'F'},
      {"disabled, at the metric's own time",
       Cpu(80, 0),
       bad,
       90,
       [](Rule& r) { r.enabled = false; },
       {"resolve 90 RULE_DISABLED peak 99"},
       '-'},
      {"another condition",
       Cpu(80, 0),
       bad,
       90,
       [](Rule& r) { r.condition = Condition::kMemoryUsage; },
       {"resolve 90 RULE_CHANGED peak 99"},
       '-'},
      {"another organization",
       Cpu(80, 0),
       bad,
       90,
       [](Rule& r) { r.organization = "p"; },
       {"resolve 90 RULE_CHANGED peak 99"},
       '-'},
      {"disabled and changed at once",
       Cpu(80, 0),
       bad,
       90,
       [](Rule& r) { r.condition = Condition::kMemoryUsage, r.enabled = false; },
       {"resolve 90 RULE_DISABLED peak 99"},
       '-'},
  });
}

TEST(EngineRules, ChangedRuleIsJudgedWhereItWasOk) {
  Check({
      {"lowered below the reading",
       Cpu(80, 0),
       {{0, {.cpu = 70}}},
       90,
       [](Rule& r) { r.threshold = 60; },
       {"fire 0 0 value 70 peak 70"},
       'F'},
      {"a wider window",
       Restarts(3, 120),
       {{0, {.restarts = 0}}, {60, {.restarts = 2}}, {240, {.restarts = 4}}},
       250,
       [](Rule& r) { r.duration = 600 * kSecond; },
       {"fire 240 240 value 4 peak 4"},
       'F'},
      {"nothing of note",
       Cpu(80, 0),
       {{0, {.cpu = 70}}},
       90,
       [](Rule& r) { r.threshold = 75; },
       {},
       '-'},
  });
}

TEST(EngineRules, ChangedConditionIsJudgedByItsOwnMetric) {
  Story story({Cpu(80, 0)});
  story.Send(0, {.cpu = 95, .memory = 96});
  story.Take();
  story.rule().condition = Condition::kMemoryUsage;
  story.EditRules(10);
  EXPECT_EQ(story.Take(), Lines({"resolve 10 RULE_CHANGED peak 95", "fire 0 0 value 96 peak 96"}));
}

TEST(EngineRules, DeletedRuleGoesWithoutATransition) {
  Story story({Cpu(80, 0)});
  story.Send(0, {.cpu = 95});
  story.Take();
  story.rules().clear();
  story.EditRules(10);
  EXPECT_EQ(story.Take(), Lines{});
  story.rules() = {Cpu(80, 0)};  // the same id anew is another rule
  story.EditRules(20);
  EXPECT_EQ(story.Take(), Lines({"fire 0 0 value 95 peak 95"}));
}

TEST(EngineRules, DisabledResolvesNotBeforeItFired) {
  Story story({Down(60)});
  story.Send({{0, {.running = false}}}, 0);
  story.Advance(60);
  story.Take();
  story.rule().enabled = false;
  story.EditRules(-100);  // the wall clock was set back
  EXPECT_EQ(story.Take(), Lines({"resolve 60 RULE_DISABLED"}));
}

TEST(EngineRules, UnchangedRulesAreLeftAlone) {
  Story story({Cpu(80, 600), Cpu(80, 0)});
  story.rule(1).id = "s";
  story.EditRules(-5);
  story.Send(0, {.cpu = 95});
  story.Take();
  story.rules().push_back(Memory(10, 0));
  story.rules().back().id = "m";
  story.EditRules(10);
  EXPECT_EQ(story.Take(), Lines{});
  story.Send(300, {.cpu = 95});
  story.Send(600, {.cpu = 95});
  EXPECT_EQ(story.Take(), Lines({"fire 0 600 value 95 peak 95"}));
}

TEST(EngineRules, AnIdGivenTwiceCountsOnce) {
  Story story({Cpu(80, 0), Cpu(10, 0)});
  story.Send(0, {.cpu = 50});
  EXPECT_EQ(story.Take(), Lines{});
}

}  // namespace
}  // namespace alerting::test
