// Cases where the meaning of a rule had to be settled (docs/design.md), each with its decision as a
// name. Engine and oracle must both give the listed events. Times are seconds from the start of the
// story; rows arrive when they are taken unless the story says otherwise.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "oracle/duel.h"
#include "oracle/scene.h"

namespace alerting::oracle {
namespace {

constexpr auto kCpuUsage = Condition::kCpuUsage;
constexpr auto kMemoryUsage = Condition::kMemoryUsage;
constexpr auto kDown = Condition::kContainerDown;
constexpr auto kLoop = Condition::kRestartLoop;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// The events that the engine gives, value included where a reading decided.
std::vector<std::string> Events(const Scene& scene) {
  const auto difference = Duel(scene.script());
  EXPECT_FALSE(difference) << "engine and oracle part at step " << difference->step << "\n"
                           << difference->what;
  std::vector<std::string> lines;
  for (const Event& event : RunEngine(scene.script())) {
    std::string line = Describe(event);
    if (!event.fire && event.reason != ResolveReason::kRecovered) {
      line.resize(line.find(" value "));
    }
    lines.push_back(line);
  }
  return lines;
}

using Lines = std::vector<std::string>;

TEST(SettledCases, GoodRowThatArrivesAfterTheClockFiredResolvesAtThatMoment) {
  // Stopped at 0, down by the clock at 60; the row that says "running" since 59 comes a bit late.
  Scene scene;
  scene.SetRule("r", kDown, 0, 60).Running(0, false).Advance(60).Running(59, true);
  EXPECT_EQ(Events(scene),
            (Lines{"fire r on c started +0 fired +60 value nan",
                   "resolve r on c started +0 fired +60 resolved +60 recovered value nan"}));
}

TEST(SettledCases, RowBeforeAWindowEndThatPassedAlreadyFiresNoSecondAlert) {
  Scene scene;
  scene.SetRule("r", kLoop, 3, 600)
      .Restarts(0, 0)
      .Restarts(60, 4)
      .Advance(660)
      .Restarts(659, 4)  // the window (59, 659] still holds four; (60, 660] does not
      .Restarts(720, 4);
  EXPECT_EQ(Events(scene),
            (Lines{"fire r on c started +60 fired +60 value 4.000000",
                   "resolve r on c started +60 fired +60 resolved +660 recovered value 0.000000"}));
}

TEST(SettledCases, BadRowBeforeASilenceThatResolvedBeginsItsRunThere) {
  Scene scene;
  scene.SetRule("r", kCpuUsage, 50, 0, NoData::kResolve).Cpu(0, 90).Advance(300).Cpu(250, 90);
  EXPECT_EQ(Events(scene), (Lines{"fire r on c started +0 fired +0 value 90.000000",
                                  "resolve r on c started +0 fired +0 resolved +300 no data",
                                  "fire r on c started +300 fired +300 value 90.000000"}));
}

TEST(SettledCases, ClockSetBackNeverPutsAnEndBeforeTheLastSample) {
  Scene scene;
  scene.SetRule("r", kCpuUsage, 50, 0).Cpu(0, 90).Cpu(120, 90).At(30);
  scene.SetRule("r", kCpuUsage, 50, 0, NoData::kKeep, false);
  EXPECT_EQ(Events(scene), (Lines{"fire r on c started +0 fired +0 value 90.000000",
                                  "resolve r on c started +0 fired +0 resolved +120 disabled"}));
}

TEST(SettledCases, CorrectionDoesNotEndSilence) {
  Scene scene;
  scene.SetRule("r", kDown, 0, 60, NoData::kFire).Running(0, true).Advance(300);
  scene.Transaction({{.at = Scene::Time(0), .running = false}});
  scene.Transaction({{.at = Scene::Time(0), .running = true}});
  scene.Running(360, true);
  EXPECT_EQ(Events(scene),
            (Lines{"fire r on c started +0 fired +300 value nan",
                   "resolve r on c started +0 fired +300 resolved +360 recovered value nan"}));
}

TEST(SettledCases, CorrectionDoesNotPutSilenceOff) {
  Scene scene;
  scene.SetRule("r", kCpuUsage, 50, 600, NoData::kFire).Cpu(0, 10).At(200);
  scene.Transaction({{.at = Scene::Time(0), .cpu = 20}}).Advance(300);
  EXPECT_EQ(Events(scene), (Lines{"fire r on c started +0 fired +300 value 20.000000"}));
}

TEST(SettledCases, CorrectionBeforeWhatSilenceEndedIsNotJudged) {
  Scene scene;
  scene.SetRule("r", kCpuUsage, 50, 0, NoData::kResolve).Cpu(0, 90).Advance(300);
  scene.Transaction({{.at = Scene::Time(0), .cpu = 95}}).Advance(400);
  EXPECT_EQ(Events(scene), (Lines{"fire r on c started +0 fired +0 value 90.000000",
                                  "resolve r on c started +0 fired +0 resolved +300 no data"}));
}

TEST(SettledCases, CorrectionFromBadToBadBeginsNothingThatSilenceEnded) {
  // The run that silence dropped was of the same readings: what comes next begins its own.
  Scene scene;
  scene.SetRule("r", kCpuUsage, 50, 600, NoData::kResolve).Cpu(0, 90).Advance(300);
  scene.Transaction({{.at = Scene::Time(0), .cpu = 80}}).Cpu(280, 90);
  scene.Cpu(570, 90).Cpu(860, 90).Cpu(900, 90);
  EXPECT_EQ(Events(scene), (Lines{"fire r on c started +280 fired +900 value 90.000000"}));
}

TEST(SettledCases, CorrectionOfWhatCameAfterTheClockEndedItIsJudgedAtThatMoment) {
  // As if the right value had come at once: what is down now must not wait for another sample.
  Scene down;
  down.SetRule("r", kDown, 0, 60).Running(0, false).Advance(60).Running(59, true);
  down.Transaction({{.at = Scene::Time(59), .running = false}}).Advance(200);
  EXPECT_EQ(Events(down),
            (Lines{"fire r on c started +0 fired +60 value nan",
                   "resolve r on c started +0 fired +60 resolved +60 recovered value nan",
                   "fire r on c started +60 fired +120 value nan"}));
  Scene silent;
  silent.SetRule("r", kCpuUsage, 50, 0, NoData::kResolve).Cpu(0, 90).Advance(300).Cpu(250, 10);
  silent.Transaction({{.at = Scene::Time(250), .cpu = 90}});
  EXPECT_EQ(Events(silent), (Lines{"fire r on c started +0 fired +0 value 90.000000",
                                   "resolve r on c started +0 fired +0 resolved +300 no data",
                                   "fire r on c started +300 fired +300 value 90.000000"}));
  Scene loop;
  loop.SetRule("r", kLoop, 3, 600).Restarts(0, 0).Restarts(60, 4).Restarts(500, 4).Advance(700);
  loop.Transaction({{.at = Scene::Time(500), .restarts = 8}});
  EXPECT_EQ(Events(loop),
            (Lines{"fire r on c started +60 fired +60 value 4.000000",
                   "resolve r on c started +60 fired +60 resolved +660 recovered value 0.000000",
                   "fire r on c started +660 fired +660 value 4.000000"}));
}

TEST(SettledCases, CorrectionOfWhatEndedJustBeforeASilenceFiresNothing) {
  // The window ends as the silence begins: the two restarts that the corrected reading leaves in
  // the next one would fire at 100 and be resolved at once.
  Scene scene;
  scene.Source(1, 100).SetRule("r", kLoop, 1, 120, NoData::kResolve);
  scene.Restarts(-80, 2).Restarts(-20, 3).Restarts(0, 4).Advance(100);
  scene.Transaction({{.at = Scene::Time(0), .restarts = 2}}).Advance(400);
  EXPECT_EQ(Events(scene),
            (Lines{"fire r on c started +0 fired +0 value 2.000000",
                   "resolve r on c started +0 fired +0 resolved +100 recovered value 1.000000"}));
}

TEST(SettledCases, CorrectionUnderSilenceFiresAndSilenceResolvesIt) {
  // As if the right value had come at once.
  Scene scene;
  scene.SetRule("r", kCpuUsage, 50, 0, NoData::kResolve).Cpu(0, 10).Advance(400);
  scene.Transaction({{.at = Scene::Time(0), .cpu = 95}}).Advance(400);
  EXPECT_EQ(Events(scene), (Lines{"fire r on c started +0 fired +0 value 95.000000",
                                  "resolve r on c started +0 fired +0 resolved +300 no data"}));
}

TEST(SettledCases, CorrectionAfterTheDeadlineThatFiredResolvesAtTheDeadline) {
  Scene scene;
  scene.SetRule("r", kDown, 0, 60).Running(0, false).Advance(60);
  scene.Transaction({{.at = Scene::Time(0), .running = true}});
  EXPECT_EQ(Events(scene),
            (Lines{"fire r on c started +0 fired +60 value nan",
                   "resolve r on c started +0 fired +60 resolved +60 recovered value nan"}));
}

TEST(SettledCases, ClockSetBackDoesNotFreeANewAlertFromSilence) {
  Scene scene;
  scene.Cpu(0, 90).SetRule("other", kCpuUsage, 100, 0, NoData::kResolve).Advance(300).Advance(100);
  scene.SetRule("r", kCpuUsage, 50, 0, NoData::kResolve).Advance(299).Advance(300);
  EXPECT_EQ(Events(scene), (Lines{"fire r on c started +0 fired +0 value 90.000000",
                                  "resolve r on c started +0 fired +0 resolved +300 no data"}));
}

TEST(SettledCases, WindowEndDoesNotResolveARestartLoopThatWentSilent) {
  Scene scene;
  scene.SetRule("r", kLoop, 0, 600, NoData::kFire).Restarts(0, 0).Restarts(60, 1).Advance(700);
  EXPECT_EQ(Events(scene), (Lines{"fire r on c started +60 fired +60 value 1.000000"}));
  scene.Restarts(720, 1);
  EXPECT_EQ(Events(scene),
            (Lines{"fire r on c started +60 fired +60 value 1.000000",
                   "resolve r on c started +60 fired +60 resolved +720 recovered value 0.000000"}));
}

TEST(SettledCases, SilenceIsMeasuredAgainAfterARestart) {
  Scene scene;
  scene.SetRule("r", kCpuUsage, 50, 0, NoData::kKeep).Cpu(0, 90).Advance(400).Restart(1000);
  scene.SetRule("r", kCpuUsage, 50, 0, NoData::kResolve);  // 0 seconds after the start: not silent
  scene.Advance(1299).Advance(1300);
  EXPECT_EQ(Events(scene), (Lines{"fire r on c started +0 fired +0 value 90.000000",
                                  "resolve r on c started +0 fired +0 resolved +300 no data"}));
}

TEST(SettledCases, AlertBySilenceStaysSilentAfterARestart) {
  // An edit right after the start must not take the old good reading for news.
  Scene scene;
  scene.SetRule("r", kCpuUsage, 50, 0, NoData::kFire).Cpu(0, 10).Advance(300).Restart(1000);
  scene.SetRule("r", kCpuUsage, 60, 0, NoData::kFire).Advance(2000);
  EXPECT_EQ(Events(scene), (Lines{"fire r on c started +0 fired +300 value 10.000000"}));
}

TEST(SettledCases, EditToResolveEndsTheAlertOfASilentContainer) {
  Scene scene;
  scene.SetRule("r", kCpuUsage, 50, 0).Cpu(0, 90).Advance(1000);
  scene.SetRule("r", kCpuUsage, 50, 0, NoData::kResolve);
  EXPECT_EQ(Events(scene), (Lines{"fire r on c started +0 fired +0 value 90.000000",
                                  "resolve r on c started +0 fired +0 resolved +300 no data"}));
}

TEST(SettledCases, RaisedThresholdResolvesTheAlertOfASilentContainerUnderKeep) {
  Scene scene;
  scene.SetRule("r", kCpuUsage, 50, 0).Cpu(0, 90).Advance(1000);
  scene.SetRule("r", kCpuUsage, 95, 0);
  EXPECT_EQ(Events(scene),
            (Lines{"fire r on c started +0 fired +0 value 90.000000",
                   "resolve r on c started +0 fired +0 resolved +0 recovered value 90.000000"}));
}

TEST(SettledCases, NewRuleDoesNotFireOnWhatASilentContainerSaidLongAgo) {
  Scene scene;
  scene.Cpu(0, 90).Advance(1000).SetRule("r", kCpuUsage, 50, 0);
  EXPECT_EQ(Events(scene), Lines{});
}

TEST(SettledCases, NewDownRuleUnderKeepSeesAContainerThatStoppedLongAgo) {
  // A source that writes state changes only: silence says nothing.
  Scene scene;
  scene.Running(0, false).Advance(7200).SetRule("r", kDown, 0, 60, NoData::kKeep);
  EXPECT_EQ(Events(scene), (Lines{"fire r on c started +0 fired +60 value nan"}));
}

TEST(SettledCases, ShorterDurationOfAPendingDownRuleFiresNoEarlierThanTheLastReading) {
  Scene scene;
  scene.SetRule("r", kDown, 0, 600).Running(0, false).Running(120, false);
  scene.SetRule("r", kDown, 0, 60);
  EXPECT_EQ(Events(scene), (Lines{"fire r on c started +0 fired +120 value nan"}));
}

TEST(SettledCases, DisabledAndChangedAtOnceIsDisabled) {
  Scene scene;
  scene.SetRule("r", kCpuUsage, 50, 0).Cpu(0, 90);
  scene.SetRule("r", kMemoryUsage, 50, 0, NoData::kKeep, false);
  EXPECT_EQ(Events(scene), (Lines{"fire r on c started +0 fired +0 value 90.000000",
                                  "resolve r on c started +0 fired +0 resolved +0 disabled"}));
}

TEST(SettledCases, InfiniteLimitIsNoReadingOfTheLimit) {
  Scene scene;
  scene.SetRule("r", kMemoryUsage, 90, 0);
  scene.Put(0, {.memory_used = 500, .memory_limit = 1000});
  scene.Put(60, {.memory_used = 950, .memory_limit = kInfinity});
  EXPECT_EQ(Events(scene), (Lines{"fire r on c started +60 fired +60 value 95.000000"}));
}

TEST(SettledCases, LimitThatIsNoLimitForgetsTheKnownOne) {
  for (const double none : {0.0, -1.0, 9223372036854771712.0}) {
    Scene scene;
    scene.SetRule("r", kMemoryUsage, 90, 0);
    scene.Put(0, {.memory_used = 500, .memory_limit = 1000});
    scene.Put(60, {.memory_limit = none}).Put(120, {.memory_used = 950});
    EXPECT_EQ(Events(scene), Lines{}) << none;
    scene.Put(180, {.memory_limit = 1000});  // alone, with a use known: a reading
    EXPECT_EQ(Events(scene), (Lines{"fire r on c started +180 fired +180 value 95.000000"}))
        << none;
  }
}

TEST(SettledCases, LateUseMakesNoReading) {
  Scene scene;
  scene.SetRule("r", kMemoryUsage, 90, 0);
  scene.Put(0, {.memory_limit = 1000}).Put(100, {.memory_used = 100});
  scene.Put(50, {.memory_used = 950});
  EXPECT_EQ(Events(scene), Lines{});
}

TEST(SettledCases, PartsMakeAReadingOfTheLaterOnesTime) {
  // The use of 59 comes after the limit of 60: the reading at 60 is put right, and a replay in
  // order of time makes the same of the two.
  Scene scene;
  scene.SetRule("r", kMemoryUsage, 90, 0);
  scene.Put(0, {.memory_used = 100, .memory_limit = 1000});
  scene.Put(60, {.memory_limit = 1000}).Put(59, {.memory_used = 950});
  EXPECT_EQ(Events(scene), (Lines{"fire r on c started +60 fired +60 value 95.000000"}));
  scene.Restart(70);
  scene.Transaction(
      {{.at = Scene::Time(59), .memory_used = 950}, {.at = Scene::Time(60), .memory_limit = 1000}});
  EXPECT_EQ(Events(scene), (Lines{"fire r on c started +60 fired +60 value 95.000000"}));
}

TEST(SettledCases, NewDownRuleUnderKeepMadeWhileDownSeesAContainerThatStoppedLongAgo) {
  Scene scene;
  scene.Running(0, false).Advance(600);
  scene.Restart(7200, {.id = "r", .organization = "X", .condition = kDown, .duration = kMinute});
  scene.Advance(7259).Advance(7260);
  EXPECT_EQ(Events(scene), (Lines{"fire r on c started +0 fired +60 value nan"}));
}

TEST(SettledCases, NewDownRuleUnderFireMadeWhileDownSeesAContainerThatStoppedLongAgo) {
  // It goes by the clock, which counts first; the silence begins again with the start.
  Scene scene;
  scene.Running(0, false).Advance(600);
  scene.Restart(7200, {.id = "r",
                       .organization = "X",
                       .condition = kDown,
                       .duration = kMinute,
                       .no_data = NoData::kFire});
  scene.Lag(7200).Running(120, true);
  EXPECT_EQ(Events(scene),
            (Lines{"fire r on c started +0 fired +60 value nan",
                   "resolve r on c started +0 fired +60 resolved +120 recovered value nan"}));
}

TEST(SettledCases, PercentOfMemoryWinsOverUseAndLimit) {
  Scene scene;
  scene.SetRule("r", kMemoryUsage, 90, 0);
  scene.Put(0, {.memory = 10, .memory_used = 990, .memory_limit = 1000});
  EXPECT_EQ(Events(scene), Lines{});
}

TEST(SettledCases, RestartLoopBySilenceTellsTheRestartsUpToTheLastSample) {
  Scene scene;
  scene.SetRule("r", kLoop, 3, 600, NoData::kFire).Restarts(0, 0).Restarts(60, 2).Advance(360);
  EXPECT_EQ(Events(scene), (Lines{"fire r on c started +60 fired +360 value 2.000000"}));
}

TEST(SettledCases, FirstRunningReadingTakesOverFromTheNewestOfAll) {
  // Before it, silence of everything counts; after it, the silence of `running`.
  Scene scene;
  scene.SetRule("r", kDown, 0, 0, NoData::kFire).Cpu(0, 10).Advance(300).Cpu(360, 10);
  scene.Running(420, true).Cpu(660, 10).Advance(720);
  EXPECT_EQ(Events(scene),
            (Lines{"fire r on c started +0 fired +300 value nan",
                   "resolve r on c started +0 fired +300 resolved +360 recovered value nan",
                   "fire r on c started +420 fired +720 value nan"}));
}

TEST(SettledCases, DownRuleEditedToFireOnceSilenceEndedItFiresFromTheLastSampleOn) {
  for (const bool during : {false, true}) {
    Scene scene;
    scene.SetRule("r", kDown, 0, 60, NoData::kResolve).Running(0, false).Advance(60).Advance(300);
    const alerting::Rule fire = {.id = "r",
                                 .organization = "X",
                                 .condition = kDown,
                                 .duration = kMinute,
                                 .no_data = NoData::kFire};
    if (during) {
      scene.Restart(1100, fire);
    } else {
      scene.At(1050).SetRule(fire).Restart(1100);
    }
    scene.Advance(1400);
    EXPECT_EQ(Events(scene), (Lines{"fire r on c started +0 fired +60 value nan",
                                    "resolve r on c started +0 fired +60 resolved +300 no data",
                                    "fire r on c started +0 fired +300 value nan"}))
        << during;
  }
}

TEST(SettledCases, RuleEditedWhileDownDoesNotJudgeWhatWentSilent) {
  Scene scene;
  scene.SetRule("r", kLoop, 0, 60).Restarts(0, 0).Restarts(60, 2).Advance(5000);
  scene.Restart(
      9000,
      {.id = "r", .organization = "X", .condition = kLoop, .threshold = -1, .duration = kMinute});
  EXPECT_EQ(Events(scene),
            (Lines{"fire r on c started +60 fired +60 value 2.000000",
                   "resolve r on c started +60 fired +60 resolved +120 recovered value 0.000000"}));
}

TEST(SettledCases, RuleEditedWhileDownDoesNotFireOnWhatWentSilent) {
  // As when it is edited in that silence; the run goes on with what is near enough.
  for (const bool during : {false, true}) {
    Scene scene;
    scene.SetRule("r", kCpuUsage, 50, 600).Cpu(0, 90).Cpu(120, 90).Advance(1000);
    const alerting::Rule shorter = {.id = "r",
                                    .organization = "X",
                                    .condition = kCpuUsage,
                                    .threshold = 50,
                                    .duration = kMinute};
    if (during) {
      scene.Restart(1100, shorter);
    } else {
      scene.At(1050).SetRule(shorter).Restart(1100);
    }
    EXPECT_EQ(Events(scene), Lines{}) << during;
    scene.Lag(1000).Cpu(180, 80);
    EXPECT_EQ(Events(scene), (Lines{"fire r on c started +0 fired +180 value 80.000000"}));
  }
}

TEST(SettledCases, RuleOfAnotherConditionAfterARestartIsJudgedAtOnce) {
  Scene scene;
  scene.SetRule("r", kCpuUsage, 50, 0).Put(0, {.cpu = 90, .memory = 80});
  scene.Restart(10, {.id = "r", .organization = "X", .condition = kMemoryUsage, .threshold = 50});
  EXPECT_EQ(Events(scene), (Lines{"fire r on c started +0 fired +0 value 90.000000",
                                  "resolve r on c started +0 fired +0 resolved +10 changed",
                                  "fire r on c started +0 fired +0 value 80.000000"}));
}

TEST(SettledCases, RuleDisabledAfterOrDuringARestartEndsItsAlertThen) {
  for (const bool during : {false, true}) {
    Scene scene;
    scene.SetRule("r", kCpuUsage, 50, 0).Cpu(0, 90).Advance(60);
    const alerting::Rule disabled = {
        .id = "r", .organization = "X", .condition = kCpuUsage, .threshold = 50, .enabled = false};
    if (during) {
      scene.Restart(100, disabled);
    } else {
      scene.Restart(80).At(100).SetRule(disabled);
    }
    EXPECT_EQ(Events(scene), (Lines{"fire r on c started +0 fired +0 value 90.000000",
                                    "resolve r on c started +0 fired +0 resolved +100 disabled"}))
        << during;
  }
}

TEST(SettledCases, EditOfAFiringRestartLoopRecountsWhereTheAlertStands) {
  // The alert fired at the end of a window that the clock had passed before its row came.
  Scene scene;
  scene.SetRule("r", kLoop, 3, 120).Restarts(60, 2).Restarts(120, 8).Advance(500).Restarts(239, 12);
  scene.SetRule("r", kLoop, 5, 120);
  EXPECT_EQ(
      Events(scene),
      (Lines{"fire r on c started +120 fired +120 value 6.000000",
             "resolve r on c started +120 fired +120 resolved +240 recovered value 0.000000",
             "fire r on c started +240 fired +240 value 4.000000",
             "resolve r on c started +240 fired +240 resolved +240 recovered value 4.000000"}));
}

TEST(SettledCases, NewDownRuleGoesByTheClockThoughAllIsSilent) {
  Scene scene;
  scene.Put(0, {.cpu = 90, .running = false}).Advance(1000);
  scene.SetRule("soon", kDown, 0, 60)
      .SetRule("later", kDown, 0, 600)
      .SetRule("not yet", kDown, 0, 1200);
  scene.SetRule("fire", kDown, 0, 600, NoData::kFire);
  scene.SetRule("resolve", kDown, 0, 600, NoData::kResolve).SetRule("cpu", kCpuUsage, 50, 0);
  EXPECT_EQ(Events(scene), (Lines{"fire soon on c started +0 fired +60 value nan",
                                  "fire later on c started +0 fired +600 value nan",
                                  "fire fire on c started +0 fired +300 value nan"}));
}

TEST(SettledCases, AlertOfAChangedRuleMayFireBeforeTheOldOnesEnd) {
  Scene scene;
  scene.SetRule("r", kCpuUsage, 50, 0).Put(0, {.cpu = 90, .memory = 80}).Advance(100);
  scene.SetRule("r", kMemoryUsage, 50, 0);
  EXPECT_EQ(Events(scene), (Lines{"fire r on c started +0 fired +0 value 90.000000",
                                  "resolve r on c started +0 fired +0 resolved +100 changed",
                                  "fire r on c started +0 fired +0 value 80.000000"}));
}

TEST(SettledCases, PartOfMemorySaidAgainDoesNotContradictAPercentage) {
  // As after a restart, which looks at rows again that were judged.
  Scene scene;
  scene.SetRule("r", kMemoryUsage, 90, 0).Put(0, {.memory_used = 48});
  scene.Put(60, {.memory = 95, .memory_limit = 100}).Put(0, {.memory_used = 48});
  scene.Put(60, {.memory_limit = 100}).Put(120, {.memory_used = 48});
  EXPECT_EQ(
      Events(scene),
      (Lines{"fire r on c started +60 fired +60 value 95.000000",
             "resolve r on c started +60 fired +60 resolved +120 recovered value 48.000000"}));
}

TEST(SettledCases, PercentOfMemoryWinsOverPartsOfItsTimeInAnyOrder) {
  Scene scene;
  scene.SetRule("r", kMemoryUsage, 90, 0).Put(0, {.memory_used = 48});
  scene.Put(60, {.memory = 95}).Put(60, {.memory_limit = 100});
  scene.Put(60, {.memory_limit = 50}).Restart(70).Put(60, {.memory_limit = 200});
  EXPECT_EQ(Events(scene), (Lines{"fire r on c started +60 fired +60 value 95.000000"}));
  scene.Put(120, {.memory_used = 20}).Put(120, {.memory = 10});
  EXPECT_EQ(
      Events(scene),
      (Lines{"fire r on c started +60 fired +60 value 95.000000",
             "resolve r on c started +60 fired +60 resolved +120 recovered value 10.000000"}));
}

// What Prometheus documents and tests of its own rules (alerting rules' `for`, `increase` over
// counters; rules/alerting_test.go and the promtool unit tests tell the same tables), in our names:
// a value each `every` seconds, and after it - (none), P (pending) or F (firing).
struct PeersTable {
  const char* name;
  Condition condition;
  double threshold;
  double duration;
  double every;
  double stale_after;
  std::vector<double> values;
  std::string states;
};

const PeersTable kPeersTables[] = {
    {"for 0 fires at the first breaching sample",
     kCpuUsage,
     50,
     0,
     60,
     300,
     {10, 75, 75, 10},
     "-FF-"},
    {"for is inclusive", kCpuUsage, 50, 300, 60, 300, {75, 75, 75, 75, 75, 75, 75}, "PPPPPFF"},
    {"for 1m, samples each minute", kCpuUsage, 50, 60, 60, 300, {75, 85, 70, 70, 10, 10}, "PFFF--"},
    {"for 1m, one bad sample", kCpuUsage, 50, 60, 60, 300, {75, 10, 10}, "P--"},
    // x < 100 becomes -x > -100.
    {"for 1m, a sample every 5m",
     kCpuUsage,
     -100,
     60,
     300,
     600,
     {-75, -85, -95, -105, -105, -95, -85},
     "PFF--PF"},
    {"for 1m, until it recovers", kCpuUsage, -100, 60, 300, 600, {-80, -90, -100, -110}, "PF--"},
    {"one good sample starts `for` again",
     kCpuUsage,
     50,
     120,
     60,
     300,
     {75, 75, 10, 75, 75, 75},
     "PP-PPF"},
    {"one missed sample does not", kCpuUsage, 50, 180, 60, 300, {75, 75, std::nan(""), 75}, "PPPF"},
    {"increase counts what a reset counter shows",
     kLoop,
     2,
     600,
     60,
     300,
     {5, 6, 7, 0, 1},
     "----F"},
    {"increase is no more than that", kLoop, 3, 600, 60, 300, {5, 6, 7, 0, 1}, "-----"},
};

TEST(PeersTables, HoldForEngineAndOracle) {
  for (const PeersTable& table : kPeersTables) {
    Scene scene;
    scene.Source(1, table.stale_after);
    scene.SetRule("r", table.condition, table.threshold, table.duration);
    std::string states;
    double at = 0;
    for (const double value : table.values) {
      if (table.condition == kLoop) {
        scene.Restarts(at, value);
      } else {
        scene.Cpu(at, value);
      }
      at += table.every;
      states += "-PF"[static_cast<size_t>(EngineState(scene.script(), "c", "r"))];
    }
    EXPECT_EQ(states, table.states) << table.name;
    const auto difference = Duel(scene.script());
    EXPECT_FALSE(difference) << table.name << "\n" << difference->what;
  }
}

TEST(PeersTables, LongerForWhileFiringStaysFiring) {
  // Prometheus falls back to pending without a notice; a notice of an end would be untrue, and none
  // would leave the receiver's incident open, so ours goes on firing.
  Scene scene;
  scene.SetRule("r", kCpuUsage, 50, 15).Cpu(0, 75).Cpu(15, 75).SetRule("r", kCpuUsage, 50, 3600);
  scene.Cpu(30, 75);
  EXPECT_EQ(EngineState(scene.script(), "c", "r"), Phase::kFiring);
  EXPECT_EQ(Events(scene), (Lines{"fire r on c started +0 fired +15 value 75.000000"}));
}

}  // namespace
}  // namespace alerting::oracle
