// A restart: saved containers come back, a replay of judged rows changes nothing, alerts are not
// announced twice, and what changed meanwhile counts.
#include <gtest/gtest.h>

#include "engine_story.h"

namespace alerting::test {
namespace {

struct OpenAlert {
  std::string rule = "r";
  double started = 0;
  double fired = 0;
  double value = 95;
};

// A new engine that takes over from `old`, as after a restart at `now`.
void Restart(Story& old, Story& fresh, double now, const std::vector<OpenAlert>& alerts) {
  (void)now;
  const ContainerRef ref = fresh.Ref("c");
  ASSERT_TRUE(fresh.engine().Restore(ref, old.engine().Save(old.Ref("c"))));
  for (const OpenAlert& alert : alerts) {
    fresh.engine().RestoreAlert(ref, alert.rule, At(alert.started), At(alert.fired), alert.value);
  }
  fresh.engine().FinishRestore();
}

TEST(EngineRestore, PendingRunGoesOn) {
  Story old({Cpu(80, 1800)});
  for (int minute = 0; minute <= 20; ++minute) old.Send(minute * kMin, {.cpu = 95});
  Story fresh({Cpu(80, 1800)}, 1210);
  Restart(old, fresh, 1210, {});
  for (int minute = 0; minute <= 31; ++minute) {  // replays what was judged, then goes on
    fresh.Send({{minute * kMin, {.cpu = 95}}}, 1900);
  }
  EXPECT_EQ(fresh.Take(), Lines({"fire 0 1800 value 95 peak 95"}));
}

TEST(EngineRestore, FiringAlertIsNotAnnouncedAgain) {
  Story old({Cpu(80, 0)});
  old.Send(0, {.cpu = 99});
  old.Send(60, {.cpu = 95});
  Story fresh({Cpu(80, 0)}, 90);
  Restart(old, fresh, 90, {{}});
  fresh.Send({{0, {.cpu = 99}}, {60, {.cpu = 95}}, {120, {.cpu = 96}}}, 120);
  EXPECT_EQ(fresh.Take(), Lines{});
  EXPECT_EQ(fresh.State("r", "c", 120), 'F');
  fresh.Send(180, {.cpu = 5});
  EXPECT_EQ(fresh.Take(), Lines({"resolve 180 RECOVERED value 5 peak 99"}));
}

TEST(EngineRestore, CorrectionIsRecognisedAfterARestart) {
  Story old({Cpu(80, 0)});
  old.Send(0, {.cpu = 95});
  Story fresh({Cpu(80, 0)}, 90);
  Restart(old, fresh, 90, {{}});
  fresh.Send({{0, {.cpu = 5}}}, 100);
  EXPECT_EQ(fresh.Take(), Lines({"resolve 0 RECOVERED value 5 peak 95"}));
}

TEST(EngineRestore, AlertThatIsGoneIsDropped) {
  Story old({Cpu(80, 0)});
  old.Send(0, {.cpu = 95});
  Story fresh({Cpu(80, 0)}, 90);
  Restart(old, fresh, 90, {});
  EXPECT_EQ(fresh.Take(), Lines{});
  EXPECT_EQ(fresh.State("r", "c", 90), '-');
  fresh.Send(120, {.cpu = 5});
  EXPECT_EQ(fresh.Take(), Lines{});
}

TEST(EngineRestore, AlertWithoutASavedFormIsKept) {
  Story fresh({Cpu(80, 60)}, 1000);
  const ContainerRef ref = fresh.Ref("c");
  EXPECT_NE(fresh.engine().RestoreAlert(ref, "r", At(0), At(60), 95), 0u);
  fresh.engine().FinishRestore();
  // A replay of what lies before the alert fired is not judged for it again.
  fresh.Send({{-60, {.cpu = 5}}, {0, {.cpu = 95}}, {60, {.cpu = 95}}, {120, {.cpu = 97}}}, 1000);
  EXPECT_EQ(fresh.Take(), Lines{});
  EXPECT_EQ(fresh.State("r", "c", 1000), 'F');
  fresh.Send({{180, {.cpu = 5}}}, 1000);
  EXPECT_EQ(fresh.Take(), Lines({"resolve 180 RECOVERED value 5 peak 97"}));
}

TEST(EngineRestore, UnknownRuleHasNoNumber) {
  Story fresh({Cpu(80, 60)}, 1000);
  EXPECT_EQ(fresh.engine().RestoreAlert(fresh.Ref("c"), "gone", At(0), At(60), 95), 0u);
}

TEST(EngineRestore, RestartsInTheWindowAndTheCounterAreKnown) {
  Story old({Restarts(3, 600)});
  old.Send(0, {.restarts = 10});
  old.Send(60, {.restarts = 12});
  old.Send(120, {.restarts = 13});
  Story fresh({Restarts(3, 600)}, 130);
  Restart(old, fresh, 130, {});
  fresh.Send({{120, {.restarts = 14}}}, 140);  // corrects the last gain: 2, not 1
  EXPECT_EQ(fresh.Take(), Lines({"fire 120 120 value 4 peak 4"}));
  EXPECT_EQ(fresh.NextDeadline(), 130 + 540);
}

TEST(EngineRestore, ResetOfTheCounterIsCorrected) {
  Story old({Restarts(4, 600)});
  old.Send(0, {.restarts = 5});
  old.Send(60, {.restarts = 0});
  Story fresh({Restarts(4, 600)}, 130);
  Restart(old, fresh, 130, {});
  fresh.Send({{60, {.restarts = 7}}}, 140);  // gained 2, not 7
  EXPECT_EQ(fresh.Take(), Lines{});
}

TEST(EngineRestore, ClockThatWasAheadDelaysNoDeadline) {
  Story old({Down(60)});
  old.Send({{0, {.running = false}}}, 250);  // the clock is put right while nobody evaluates
  Story fresh({Down(60)}, 100);
  Restart(old, fresh, 100, {});
  fresh.Advance(160);
  EXPECT_EQ(fresh.Take(), Lines({"fire 0 60"}));
}

TEST(EngineRestore, WindowThatPassedFiresNoSecondAlert) {
  Story old({Restarts(3, 600)});
  old.Send(0, {.restarts = 0});
  old.Send(60, {.restarts = 4});
  old.Advance(661);
  EXPECT_EQ(old.Take().size(), 2u);
  Story fresh({Restarts(3, 600)}, 662);
  Restart(old, fresh, 662, {});
  fresh.Send({{60, {.restarts = 4}}, {659, {.restarts = 4}}}, 663);
  EXPECT_EQ(fresh.Take(), Lines{});
}

TEST(EngineRestore, MemoryPartsAreKnown) {
  Story old({Memory(90, 0)});
  old.Send(0, {.used = 10, .limit = 1000});
  Story fresh({Memory(90, 0)}, 30);
  Restart(old, fresh, 30, {});
  fresh.Send(60, {.used = 950});
  EXPECT_EQ(fresh.Take(), Lines({"fire 60 60 value 95 peak 95"}));
}

TEST(EngineRestore, SilenceIsMeasuredFromTheStart) {
  Story old({Down(60, NoData::kFire)});
  old.Send(0, {.running = true});
  Story fresh({Down(60, NoData::kFire)}, 100000);
  Restart(old, fresh, 100000, {});
  fresh.Advance(100299);
  EXPECT_EQ(fresh.Take(), Lines{});
  fresh.Advance(100300);
  EXPECT_EQ(fresh.Take(), Lines({"fire 0 300"}));
}

TEST(EngineRestore, AlertBySilenceStandsUntilTheNextReading) {
  Story old({Down(60, NoData::kFire)});
  old.Send(0, {.running = true});
  old.Advance(300);
  Story fresh({Down(60, NoData::kFire)}, 1000);
  Restart(old, fresh, 1000, {{.started = 0, .fired = 300}});
  fresh.rule().duration = kHour;
  fresh.EditRules(1001);
  fresh.Advance(5000);
  EXPECT_EQ(fresh.Take(), Lines{});
  fresh.Send(5060, {.running = true});
  EXPECT_EQ(fresh.Take(), Lines({"resolve 5060 RECOVERED"}));
}

TEST(EngineRestore, RulesThatChangedMeanwhile) {
  struct Case {
    const char* what;
    Rule before;
    Rule after;
    Values values;
    std::vector<OpenAlert> alerts;
    Lines expected;
    char state;
  };
  Rule disabled = Cpu(80, 0);
  disabled.enabled = false;
  Rule elsewhere = Cpu(80, 0);
  elsewhere.organization = "p";
  const std::vector<Case> cases = {
      {"disabled",
       Cpu(80, 0),
       disabled,
       {.cpu = 95},
       {{}},
       {"resolve 100 RULE_DISABLED peak 95"},
       '-'},
      {"another condition",
       Cpu(80, 0),
       Memory(80, 0),
       {.cpu = 95},
       {{}},
       {"resolve 100 RULE_CHANGED peak 95"},
       '-'},
      {"another organization",
       Cpu(80, 0),
       elsewhere,
       {.cpu = 95},
       {{}},
       {"resolve 100 CONTAINER_MOVED peak 95"},
       '-'},
      {"raised above the reading",
       Cpu(80, 0),
       Cpu(95, 0),
       {.cpu = 95},
       {{}},
       {"resolve 0 RECOVERED value 95 peak 95"},
       '-'},
      {"raised while pending", Cpu(80, 60), Cpu(95, 60), {.cpu = 95}, {}, {}, '-'},
      {"shorter while pending",
       Cpu(80, 60),
       Cpu(80, 0),
       {.cpu = 95},
       {},
       {"fire 0 0 value 95 peak 95"},
       'F'},
      {"lowered below an OK reading",
       Cpu(99, 0),
       Cpu(80, 0),
       {.cpu = 95},
       {},
       {"fire 0 0 value 95 peak 95"},
       'F'},
      {"unchanged", Cpu(80, 0), Cpu(80, 0), {.cpu = 95}, {{}}, {}, 'F'},
  };
  for (const Case& c : cases) {
    Story old({c.before});
    old.Send(0, c.values);
    Story fresh({c.after}, 100);
    Restart(old, fresh, 100, c.alerts);
    EXPECT_EQ(fresh.Take(), c.expected) << c.what;
    EXPECT_EQ(fresh.State("r", "c", 100), c.state) << c.what;
  }
}

TEST(EngineRestore, RuleMadeMeanwhileIsJudgedUnlessTheReadingIsOld) {
  for (const bool is_old : {false, true}) {
    Story old;
    old.Send(0, {.cpu = 95});
    Story fresh({Cpu(80, 0)}, is_old ? 300 : 299);
    Restart(old, fresh, 0, {});
    EXPECT_EQ(fresh.Take(), is_old ? Lines{} : Lines({"fire 0 0 value 95 peak 95"}));
  }
}

TEST(EngineRestore, DownRuleMadeMeanwhileSeesWhatWasWrittenLongAgo) {
  for (const NoData no_data : {NoData::kKeep, NoData::kResolve}) {
    Story old;
    old.Send(0, {.running = false});
    Story fresh({Down(60, no_data)}, 100000);
    Restart(old, fresh, 100000, {});
    fresh.Advance(100060);
    EXPECT_EQ(fresh.Take(), no_data == NoData::kKeep ? Lines({"fire 0 60"}) : Lines{});
  }
}

TEST(EngineRestore, SilenceCountsFromTheStartUnlessSomebodyHasWatched) {
  for (const bool watched : {true, false}) {
    Story old({Cpu(80, 0, NoData::kFire)});
    old.Send(0, {.cpu = 5});
    Story fresh({Cpu(80, 0, NoData::kFire)}, 200, watched ? -60 : 200);
    Restart(old, fresh, 200, {});
    fresh.Advance(299);
    EXPECT_EQ(fresh.Take(), Lines{});
    fresh.Advance(300);
    EXPECT_EQ(fresh.Take().size(), watched ? 1u : 0u);
    fresh.Advance(500);
    EXPECT_EQ(fresh.Take().size(), watched ? 0u : 1u);
  }
}

TEST(EngineRestore, WhatASourceSaidThatIsGoneIsSilentWhenOthersAre) {
  for (const Micros stale_after : {kHour, kNever}) {
    Story old({Down(0, NoData::kFire)});
    old.engine().SetSource(2, {.stale_after = 2 * kHour});
    old.Send(0, {.running = true}, 2);
    Story fresh({Down(0, NoData::kFire)}, 60, 0);
    fresh.engine().SetOtherSources({.stale_after = stale_after});
    Restart(old, fresh, 60, {});
    fresh.Advance(3599);
    EXPECT_EQ(fresh.Take(), Lines{});
    fresh.Advance(100000);
    EXPECT_EQ(fresh.Take(), stale_after == kNever ? Lines{} : Lines({"fire 0 3600"}));
  }
}

TEST(EngineRestore, OnlyAFreshContainerTakesASavedForm) {
  Story story({Cpu(80, 0)});
  story.Send(0, {.cpu = 95});
  const std::string saved = story.engine().Save(story.Ref("c"));
  EXPECT_FALSE(story.engine().Restore(story.Ref("c"), saved));
  EXPECT_FALSE(story.engine().Restore(story.Ref("d"), saved + "x"));
  EXPECT_FALSE(story.engine().Restore(story.Ref("d"), ""));
  EXPECT_TRUE(story.engine().Restore(story.Ref("d"), saved));
  EXPECT_FALSE(story.engine().Restore(kNoContainer, saved));
}

TEST(EngineRestore, SavedFormOfWhatWasRestoredIsTheSame) {
  Story old({Cpu(80, 600), Down(60, NoData::kFire), Restarts(3, 600)});
  old.rule(1).id = "d";
  old.rule(2).id = "l";
  old.EditRules(-5);
  old.Send(0, {.cpu = 95.25, .used = 3, .limit = 7, .running = false, .restarts = 7});
  old.Send(60, {.cpu = 1.0 / 3, .restarts = 20});
  const std::string saved = old.engine().Save(old.Ref("c"));
  Story fresh({}, 100);
  fresh.rules() = old.rules();
  fresh.EditRules(100);
  const ContainerRef ref = fresh.Ref("c");
  ASSERT_TRUE(fresh.engine().Restore(ref, saved));
  EXPECT_EQ(fresh.engine().Save(ref).size(), saved.size());
  EXPECT_LT(saved.size(), 150u);
}

TEST(EngineRestore, TakeChangedListsEachOnceAndOnlyWhatChanged) {
  Story story({Cpu(80, 0)});
  const ContainerRef c = story.Ref("c");
  const ContainerRef d = story.Ref("d");
  EXPECT_EQ(story.engine().TakeChanged(), std::vector<ContainerRef>{});
  story.Send({{0, {.cpu = 1}}, {1, {.cpu = 2}}, {0, {.cpu = 1}, 1, "d"}}, 1);
  EXPECT_EQ(story.engine().TakeChanged(), (std::vector<ContainerRef>{c, d}));
  EXPECT_EQ(story.engine().TakeChanged(), std::vector<ContainerRef>{});
  story.Send({{1, {.cpu = 2}}}, 5);  // a repeat
  story.Send({{0, {.cpu = 9}}}, 6);  // late
  EXPECT_EQ(story.engine().TakeChanged(), std::vector<ContainerRef>{});
  story.Send({{2, {.cpu = 2}}}, 7);
  story.engine().Remove(c);
  EXPECT_EQ(story.engine().TakeChanged(), std::vector<ContainerRef>{});
  const ContainerRef again = story.Ref("e");  // may have the number of c
  story.Send({{2, {.cpu = 2}, 1, "e"}}, 8);
  EXPECT_EQ(story.engine().TakeChanged(), std::vector<ContainerRef>{again});
}

}  // namespace
}  // namespace alerting::test
