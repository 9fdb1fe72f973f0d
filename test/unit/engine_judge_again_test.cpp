// Rows that a restart reads again: what was judged before is not judged twice, though the readings
// that are known do not show it.
#include <gtest/gtest.h>

#include <algorithm>

#include "core/judged_rows.h"
#include "engine_story.h"

namespace alerting::test {
namespace {

// An engine that takes over at `now`, with the alert that is FIRING since `firing`, if any.
void TakeOver(Story& old, Story& fresh, std::optional<double> firing = {}) {
  const ContainerRef ref = fresh.Ref("c");
  ASSERT_TRUE(fresh.engine().Restore(ref, old.engine().Save(old.Ref("c"))));
  if (firing) fresh.engine().RestoreAlert(ref, "r", At(*firing), At(*firing), 95);
  fresh.engine().FinishRestore();
}

TEST(JudgeAgain, RowAheadOfItsTimeWasJudgedAtItsArrival) {
  Story old({Cpu(80, 0)});
  old.Send({{0, {.cpu = 10}}}, 0);
  old.Send({{600, {.cpu = 95}}}, 60);  // by a clock that is nine minutes ahead
  EXPECT_EQ(old.Take(), Lines({"fire 60 60 value 95 peak 95"}));
  old.Send({{660, {.cpu = 10}}}, 120);
  EXPECT_EQ(old.Take(), Lines({"resolve 120 RECOVERED value 10 peak 95"}));

  Story fresh({Cpu(80, 0)}, 400);
  TakeOver(old, fresh);
  fresh.ReadBack({{600, {.cpu = 95}}, {660, {.cpu = 10}}}, 400);
  EXPECT_EQ(fresh.Take(), Lines{});
  fresh.Send(405, {.cpu = 99});  // and is not late
  EXPECT_EQ(fresh.Take(), Lines({"fire 405 405 value 99 peak 99"}));

  // What nobody has judged is judged, also at the same time.
  Story other({Cpu(80, 0)}, 400);
  TakeOver(old, other);
  other.ReadBack({{600, {.cpu = 95}}, {600, {.cpu = 96}}}, 400);
  EXPECT_EQ(other.Take(), Lines({"fire 600 600 value 96 peak 96"}));
}

TEST(JudgeAgain, AllRowsAheadOfAContainersFirstTransactionWereJudged) {
  Story old({Cpu(80, 0)});
  old.Send({{600, {.cpu = 95}}, {660, {.cpu = 10}}}, 60);
  EXPECT_EQ(old.Take(), Lines{});  // both at 60, the last one counts

  Story fresh({Cpu(80, 0)}, 400);
  TakeOver(old, fresh);
  fresh.ReadBack({{600, {.cpu = 95}}, {660, {.cpu = 10}}}, 400);
  EXPECT_EQ(fresh.Take(), Lines{});
}

TEST(JudgeAgain, RowsAheadAreForgottenWhenTheirTimeHasCome) {
  Story story({Cpu(80, 0)});
  size_t most = 0;
  for (int i = 0; i < 2000; ++i) {
    story.Send({{i * 10.0 + 600, {.cpu = 10}}}, i * 10);
    most = std::max(most, story.engine().Save(story.Ref("c")).size());
  }
  EXPECT_LT(most, 700u);  // 60 rows
}

TEST(JudgeAgain, ManyRowsFarAheadAreNotAllRemembered) {
  Story story({Cpu(80, 0)});
  for (int i = 0; i < 3000; ++i) story.Send({{1e6 + i, {.cpu = 10}}}, i);
  EXPECT_LT(story.engine().Save(story.Ref("c")).size(), 12'000u);
}

// A story with two tables.
struct TwoSources : Story {
  explicit TwoSources(std::vector<Rule> rules, double started = -86400)
      : Story(std::move(rules), started) {
    engine().SetSource(2, SourceSettings{});
  }
};

TEST(JudgeAgain, CorrectedReadingsAreNotTakenForCorrections) {
  // Rows of one time from two tables, read back in another order than they came in.
  TwoSources old({Cpu(80, 0)});
  old.Send({{0, {.cpu = 10, .running = true}, 2}}, 0);
  old.Send({{0, {.cpu = 95, .running = false}, 1}}, 1);
  EXPECT_EQ(old.Take(), Lines({"fire 0 0 value 95 peak 95"}));
  TwoSources fresh({Cpu(80, 0), Down(0)}, 90);
  fresh.rule(1).id = "d";
  fresh.EditRules(90);
  TakeOver(old, fresh, 0);
  EXPECT_EQ(fresh.Take(), Lines({"d@c fire 0 0"}));
  fresh.ReadBack({{0, {.cpu = 95, .running = false}, 1}, {0, {.cpu = 10, .running = true}, 2}}, 90);
  EXPECT_EQ(fresh.Take(), Lines{});
  fresh.ReadBack({{0, {.cpu = 20}, 2}}, 100);  // a correction that nobody has seen
  EXPECT_EQ(fresh.Take(), Lines({"resolve 0 RECOVERED value 20 peak 95"}));
}

TEST(JudgeAgain, ReadingsOverriddenInTheirTransactionAreNotTakenForCorrections) {
  TwoSources old({Memory(80, 0)});
  old.Send({{0, {.used = 10, .limit = 100}, 2}, {0, {.used = 95, .limit = 100}, 1}}, 0);
  EXPECT_EQ(old.Take(), Lines({"fire 0 0 value 95 peak 95"}));
  TwoSources fresh({Memory(80, 0)}, 90);
  TakeOver(old, fresh, 0);
  fresh.ReadBack({{0, {.used = 95, .limit = 100}, 1}, {0, {.used = 10, .limit = 100}, 2}}, 90);
  EXPECT_EQ(fresh.Take(), Lines{});
}

TEST(JudgeAgain, CorrectedPartsOfMemoryAreNotTakenForCorrections) {
  TwoSources old({Memory(80, 0)});
  old.Send({{0, {.used = 40, .limit = -1}, 2}}, 0);
  old.Send({{0, {.used = 95, .limit = 100}, 1}}, 1);
  EXPECT_EQ(old.Take(), Lines({"fire 0 0 value 95 peak 95"}));
  TwoSources fresh({Memory(80, 0)}, 90);
  TakeOver(old, fresh, 0);
  fresh.ReadBack({{0, {.used = 95, .limit = 100}, 1}, {0, {.used = 40, .limit = -1}, 2}}, 90);
  EXPECT_EQ(fresh.Take(), Lines{});
}

TEST(JudgeAgain, LateRowsForgetNoCorrection) {
  TwoSources old({Cpu(80, 0)});
  old.Send({{60, {.cpu = 95}, 2}}, 60);
  old.Send({{60, {.cpu = 10}, 1}}, 61);
  EXPECT_EQ(old.Take(),
            Lines({"fire 60 60 value 95 peak 95", "resolve 60 RECOVERED value 10 peak 95"}));
  old.Send({{0, {.cpu = 20}, 1}, {0, {.cpu = 30}, 2}}, 62);
  TwoSources fresh({Cpu(80, 0)}, 90);
  TakeOver(old, fresh);
  fresh.ReadBack({{60, {.cpu = 10}, 1}, {60, {.cpu = 95}, 2}}, 90);
  EXPECT_EQ(fresh.Take(), Lines{});
}

TEST(JudgeAgain, PercentageMadeOfPartsStandsForNoRow) {
  TwoSources old({Memory(80, 0)});
  old.Send({{0, {.used = 95, .limit = 100}, 2}}, 0);
  old.Send({{0, {.memory = 10}, 1}}, 1);
  EXPECT_EQ(old.Take(),
            Lines({"fire 0 0 value 95 peak 95", "resolve 0 RECOVERED value 10 peak 95"}));
  TwoSources fresh({Memory(80, 0)}, 90);
  TakeOver(old, fresh);
  fresh.ReadBack({{0, {.memory = 10}, 1}, {0, {.used = 95, .limit = 100}, 2}}, 90);
  EXPECT_EQ(fresh.Take(), Lines{});
  fresh.ReadBack({{0, {.memory = 95}, 1}}, 100);  // a correction that nobody has seen
  EXPECT_EQ(fresh.Take(), Lines({"fire 0 0 value 95 peak 95"}));
}

TEST(JudgeAgain, NothingIsKeptOfCorrectionsInTheOnlyTable) {
  Story story({Cpu(80, 0)});
  story.Send(0, {.cpu = 1});
  const size_t before = story.engine().Save(story.Ref("c")).size();
  for (int i = 100; i > 0; --i) story.Send({{0, {.cpu = i * 1.0}}}, 0);
  EXPECT_EQ(story.engine().Save(story.Ref("c")).size(), before);
}

TEST(JudgedRowsTest, RemembersTheRowsThatAreReachedFirst) {
  JudgedRows rows;
  for (uint32_t i = 0; i < 1000; ++i) EXPECT_TRUE(rows.AddAhead({Micros{2000 - i}, i}));
  EXPECT_FALSE(rows.AddAhead({Micros{1500}, 500}));  // known
  EXPECT_TRUE(rows.AddAhead({Micros{1500}, 501}));   // another row of that time; the last one goes
  EXPECT_EQ(rows.ahead.size(), 1000u);
  EXPECT_EQ(rows.ahead.back().at, 1999);
  EXPECT_FALSE(rows.AddAhead({Micros{3000}, 0}));  // no room
  EXPECT_TRUE(std::ranges::is_sorted(rows.ahead, {}, &RowAhead::at));
  rows.DropAheadBefore(1990);
  EXPECT_EQ(rows.ahead.size(), 10u);
  EXPECT_EQ(rows.ahead.front().at, 1990);
}

TEST(JudgedRowsTest, TakesForJudgedWhatLiesBeyondThoseThatItHasRoomFor) {
  JudgedRows rows;
  const auto judged = [&](Micros at) {
    Sample sample;
    sample.at = at;
    sample.present = kCpu;
    return rows.Judged(sample) == kCpu;
  };
  for (uint32_t i = 0; i < 999; ++i) EXPECT_TRUE(rows.AddAhead({Micros{2000 + i}, i}));
  EXPECT_FALSE(judged(5000));
  EXPECT_TRUE(rows.AddAhead({Micros{4000}, 0}));
  EXPECT_TRUE(judged(4001));
  EXPECT_FALSE(judged(4000));  // another one of that time
  EXPECT_FALSE(judged(3999));
}

TEST(JudgeAgain, RowFarAheadIsNotRememberedAgain) {
  Story old({Cpu(80, 0)});
  for (int i = 0; i < 3; ++i) old.Send({{6000.0 + i, {.cpu = 95}}}, i);
  Story fresh({Cpu(80, 0)}, 400);
  TakeOver(old, fresh, 0);
  const size_t before = fresh.engine().Save(fresh.Ref("c")).size();
  fresh.ReadBack({{6000, {.cpu = 95}}, {6001, {.cpu = 95}}, {6002, {.cpu = 95}}}, 400);
  EXPECT_EQ(fresh.engine().Save(fresh.Ref("c")).size(), before);
  fresh.ReadBack({{6003, {.cpu = 5}}}, 400);  // that nobody has judged: as of when it is read
  EXPECT_EQ(fresh.Take(), Lines({"resolve 400 RECOVERED value 5 peak 95"}));
}

TEST(JudgedRowsTest, RemembersTheNewestCorrections) {
  JudgedRows rows;
  for (int i = 0; i < 300; ++i) EXPECT_TRUE(rows.AddSuperseded({Micros{7}, kCpu, i * 1.0}));
  EXPECT_EQ(rows.superseded.size(), 100u);
  Sample sample;
  sample.at = 7;
  sample.present = kCpu;
  sample.cpu = 299;
  EXPECT_EQ(rows.Judged(sample), kCpu);
  sample.cpu = 199;
  EXPECT_EQ(rows.Judged(sample), 0);
  EXPECT_TRUE(rows.AddSuperseded({Micros{7}, kMemory, 1}));
  EXPECT_TRUE(rows.AddSuperseded({Micros{8}, kCpu, 1}));  // of a metric those of one time
  EXPECT_EQ(rows.superseded.size(), 2u);
}

}  // namespace
}  // namespace alerting::test
