// What a reading is, and in which order readings count.
#include <gtest/gtest.h>

#include <limits>

#include "engine_story.h"

namespace alerting::test {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

TEST(EngineReadings, NanAndInfinityAreNoReading) {
  for (const double nothing : {kNan, kInf, -kInf}) {
    Story story({Cpu(80, 0)});
    story.Send(0, {.cpu = nothing});
    EXPECT_EQ(story.Take(), Lines{});
    EXPECT_FALSE(story.engine().Explain(story.Ref("c"), "r", At(0)).has_reading);
    story.Send(60, {.cpu = 95});
    EXPECT_EQ(story.Take(), Lines({"fire 60 60 value 95 peak 95"}));
    story.Send(120, {.cpu = nothing});  // neither recovers nor fires again
    story.Send(180, {.cpu = 96});
    EXPECT_EQ(story.Take(), Lines{});
    story.Send(240, {.cpu = 5});
    EXPECT_EQ(story.Take(), Lines({"resolve 240 RECOVERED value 5 peak 96"}));
  }
}

TEST(EngineReadings, NanDoesNotEndSilence) {
  Story story({Cpu(80, 0, NoData::kFire)});
  story.Send(0, {.cpu = 5});
  story.Send(200, {.cpu = kNan});
  story.Advance(300);
  EXPECT_EQ(story.Take(), Lines({"fire 0 300 value 5 peak 5"}));
}

struct MemoryCase {
  const char* what;
  std::vector<Row> rows;
  Lines expected;
};

TEST(EngineReadings, MemoryOfUseAndLimit) {
  const std::vector<MemoryCase> cases = {
      {"both in one row", {{0, {.used = 950, .limit = 1000}}}, {"fire 0 0 value 95 peak 95"}},
      {"use first", {{0, {.used = 950}}, {60, {.limit = 1000}}}, {"fire 60 60 value 95 peak 95"}},
      {"limit first", {{0, {.limit = 1000}}, {60, {.used = 950}}}, {"fire 60 60 value 95 peak 95"}},
      {"no limit ever", {{0, {.used = 950}}, {60, {.used = 990}}}, {}},
      {"limit 0", {{0, {.used = 950, .limit = 0}}}, {}},
      {"limit -1", {{0, {.used = 950, .limit = -1}}}, {}},
      {"largest integer", {{0, {.used = 950, .limit = 9223372036854771712.0}}}, {}},
      {"2^60 is no limit", {{0, {.used = 2e18, .limit = 1152921504606846976.0}}}, {}},
      {"below 2^60 is one",
       {{0, {.used = 1152921504606846848.0, .limit = 1152921504606846848.0}}},
       {"fire 0 0 value 100 peak 100"}},
      {"NaN limit keeps the known one",
       {{0, {.used = 1, .limit = 1000}}, {60, {.used = 950, .limit = kNan}}},
       {"fire 60 60 value 95 peak 95"}},
      {"infinite limit keeps the known one",
       {{0, {.used = 1, .limit = 1000}}, {60, {.used = 950, .limit = kInf}}},
       {"fire 60 60 value 95 peak 95"}},
      {"limit 0 forgets the known one",
       {{0, {.used = 1, .limit = 1000}}, {60, {.limit = 0}}, {120, {.used = 950}}},
       {}},
      {"a NaN use alone is no reading",
       {{0, {.used = 950, .limit = 1000}}, {60, {.used = kNan}}},
       {"fire 0 0 value 95 peak 95"}},
      {"late use is ignored",
       {{60, {.used = 1, .limit = 1000}}, {0, {.used = 950}}, {120, {.limit = 1000}}},
       {}},
      {"late limit is ignored",
       {{60, {.used = 95, .limit = 1000}}, {0, {.limit = 100}}, {120, {.used = 95}}},
       {}},
      {"percent wins over use and limit", {{0, {.memory = 10, .used = 950, .limit = 1000}}}, {}},
      {"but both are remembered",
       {{0, {.memory = 10, .used = 1, .limit = 1000}}, {60, {.used = 950}}},
       {"fire 60 60 value 95 peak 95"}},
      {"an overflowing percentage is no reading", {{0, {.used = 1e308, .limit = 1}}}, {}},
  };
  for (const MemoryCase& c : cases) {
    Story story({Memory(90, 0)});
    for (const Row& row : c.rows) story.Send({row}, 120);
    EXPECT_EQ(story.Take(), c.expected) << c.what;
  }
}

TEST(EngineReadings, RowsOfOneTransactionAreSortedAndMerged) {
  Story story({Cpu(80, 60), Memory(90, 0)});
  story.rule(1).id = "m";
  story.EditRules(0);
  // Out of order, an incident begins and ends inside one transaction.
  story.Send({{180, {.cpu = 5}}, {60, {.cpu = 95}}, {120, {.cpu = 97}}, {0, {.cpu = 5}}}, 180);
  EXPECT_EQ(story.Take(),
            Lines({"fire 60 120 value 97 peak 97", "resolve 180 RECOVERED value 5 peak 97"}));
  // Of rows at one time the last reading of each metric counts; NaN overrides nothing.
  story.Send({{240, {.cpu = 95, .memory = 95}}, {240, {.cpu = 5}}, {240, {.memory = kNan}}}, 240);
  EXPECT_EQ(story.Take(), Lines({"m@c fire 240 240 value 95 peak 95"}));
  EXPECT_EQ(story.State("r"), '-');
}

TEST(EngineReadings, RowsAtOneTimeAreMergedAlsoWhenOthersLieBetween) {
  Story story({Cpu(80, 0)});
  story.Send({{0, {.cpu = 95}}, {0, {.cpu = 95}, 1, "d"}, {0, {.cpu = 5}}}, 0);
  EXPECT_EQ(story.Take(), Lines({"r@d fire 0 0 value 95 peak 95"}));
}

TEST(EngineReadings, NarrowRowsOfOneTimeMakeOneReading) {
  Story story({Memory(90, 0)});
  story.Send({{0, {.used = 950}}, {0, {.limit = 1000}}, {0, {.cpu = 1}}}, 0);
  EXPECT_EQ(story.Take(), Lines({"fire 0 0 value 95 peak 95"}));
  EXPECT_EQ(story.engine().counters().samples, 3u);
}

TEST(EngineReadings, LateRowsAreCountedAndNotJudged) {
  Story story({Cpu(80, 0)});
  story.Send(600, {.cpu = 95});
  story.Take();
  story.Send(30, {.cpu = 5});
  story.Send(599, {.cpu = 5, .memory = 5});  // late for cpu, new for memory
  EXPECT_EQ(story.Take(), Lines{});
  EXPECT_EQ(story.State(), 'F');
  EXPECT_EQ(story.engine().counters().late, 2u);
  EXPECT_EQ(story.engine().counters().samples, 3u);
}

TEST(EngineReadings, EachMetricHasItsOwnOrder) {
  Story story({Memory(90, 0)});
  story.Send(600, {.cpu = 5});
  story.Send(300, {.memory = 95});
  EXPECT_EQ(story.Take(), Lines({"fire 300 300 value 95 peak 95"}));
  EXPECT_EQ(story.engine().counters().late, 0u);
}

TEST(EngineReadings, RepeatChangesNothingNotEvenArrival) {
  Story story({Cpu(80, 0, NoData::kFire)});
  story.Send({{0, {.cpu = 5}}}, 0);
  story.Send({{0, {.cpu = 5}}}, 200);
  story.Advance(299);
  EXPECT_EQ(story.Take(), Lines{});
  story.Advance(300);
  EXPECT_EQ(story.Take(), Lines({"fire 0 300 value 5 peak 5"}));
  EXPECT_EQ(story.engine().counters().late, 0u);
}

struct CorrectionCase {
  const char* what;
  double duration;
  std::vector<Row> rows;
  Lines expected;
  char state;
};

TEST(EngineReadings, CorrectionsAreJudgedAtTheirTime) {
  const std::vector<CorrectionCase> cases = {
      {"bad to good drops a pending run, however long it was",
       300,
       {{0, {.cpu = 95}}, {60, {.cpu = 95}}, {60, {.cpu = 5}}},
       {},
       '-'},
      {"bad to good resolves at that time",
       60,
       {{0, {.cpu = 95}}, {60, {.cpu = 95}}, {60, {.cpu = 5}}},
       {"fire 0 60 value 95 peak 95", "resolve 60 RECOVERED value 5 peak 95"},
       '-'},
      {"good to bad starts a run at that time",
       60,
       {{0, {.cpu = 5}}, {0, {.cpu = 95}}, {60, {.cpu = 95}}},
       {"fire 0 60 value 95 peak 95"},
       'F'},
      {"good to bad fires at once without a duration",
       0,
       {{0, {.cpu = 5}}, {0, {.cpu = 95}}},
       {"fire 0 0 value 95 peak 95"},
       'F'},
      {"bad to worse goes on",
       120,
       {{0, {.cpu = 95}}, {60, {.cpu = 95}}, {60, {.cpu = 99}}, {120, {.cpu = 91}}},
       {"fire 0 120 value 91 peak 99"},
       'F'},
  };
  for (const CorrectionCase& c : cases) {
    Story story({Cpu(80, c.duration)});
    for (const Row& row : c.rows) story.Send({row}, 600);
    EXPECT_EQ(story.Take(), c.expected) << c.what;
    EXPECT_EQ(story.State(), c.state) << c.what;
  }
}

TEST(EngineReadings, FutureRowsCountAtTheirArrival) {
  Story story({Cpu(80, 0)});
  story.Send({{300, {.cpu = 95}}}, 0);  // five minutes ahead is still believed
  EXPECT_EQ(story.Take(), Lines({"fire 300 300 value 95 peak 95"}));
  story.Send({{86400, {.cpu = 5}}}, 360);
  EXPECT_EQ(story.Take(), Lines({"resolve 360 RECOVERED value 5 peak 95"}));
  story.Send({{420, {.cpu = 95}}}, 420);  // and shuts nobody out until tomorrow
  EXPECT_EQ(story.Take(), Lines({"fire 420 420 value 95 peak 95"}));
}

TEST(EngineReadings, BackfillIsCountedAndNotJudged) {
  Story story({Cpu(80, 0)});
  story.Send({{-3601, {.cpu = 95}}}, 0);
  EXPECT_EQ(story.Take(), Lines{});
  EXPECT_EQ(story.engine().counters().backfill, 1u);
  story.Send({{-3600, {.cpu = 95}}}, 0);  // exactly max_age is judged
  EXPECT_EQ(story.Take(), Lines({"fire -3600 -3600 value 95 peak 95"}));
  EXPECT_EQ(story.engine().counters().backfill, 1u);
  EXPECT_EQ(story.engine().counters().late, 0u);
}

TEST(EngineReadings, NoMaxAgeJudgesWhateverComes) {
  Story story({Cpu(80, 0)});
  story.engine().SetSource(2, {.max_age = kNever, .stale_after = 300 * kSecond});
  story.Send({{-1e7, {.cpu = 95}, 2}}, 0);
  EXPECT_EQ(story.Take(), Lines({"fire -10000000 -10000000 value 95 peak 95"}));
}

TEST(EngineReadings, OwnTimeKnowsNeitherFutureNorBackfill) {
  Story story({Cpu(80, 60)});
  story.SendAtOwnTime({{-1e8, {.cpu = 95}}, {-1e8 + 60, {.cpu = 95}}, {1e8, {.cpu = 5}}});
  EXPECT_EQ(story.Take(), Lines({"fire -100000000 -99999940 value 95 peak 95",
                                 "resolve 100000000 RECOVERED value 5 peak 95"}));
  EXPECT_EQ(story.engine().counters().backfill, 0u);
}

TEST(EngineReadings, UnknownSourceHasTheDefaults) {
  Story story({Cpu(80, 0)});
  story.Send({{-3601, {.cpu = 95}, 77}}, 0);
  EXPECT_EQ(story.engine().counters().backfill, 1u);
  story.Send({{-3599, {.cpu = 95}, 77}}, 0);
  EXPECT_EQ(story.Take(), Lines({"fire -3599 -3599 value 95 peak 95"}));
}

TEST(EngineReadings, UnknownContainersAreSkipped) {
  Story story({Cpu(80, 0)});
  Sample sample;
  sample.at = At(0);
  sample.present = kCpu;
  sample.cpu = 95;
  const std::vector<Sample> samples(3, sample);
  const std::vector<ContainerRef> refs = {kNoContainer, 12345, kNoContainer - 1};
  story.engine().Judge(samples, refs, At(0));
  EXPECT_EQ(story.Take(), Lines{});
  EXPECT_EQ(story.engine().counters().samples, 0u);
}

}  // namespace
}  // namespace alerting::test
