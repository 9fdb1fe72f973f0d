// Deadlines as the worker sees them, and times at the ends of what a number can hold.
#include <gtest/gtest.h>

#include <limits>
#include <random>

#include "engine_story.h"

namespace alerting::test {
namespace {

TEST(EngineClock, NothingPendingMeansNoDeadline) {
  Story story({Cpu(80, 600), Memory(80, 0), Restarts(3, 600), Down(60, NoData::kKeep)});
  EXPECT_EQ(story.NextDeadline(), std::nullopt);
  story.Send(0, {.cpu = 95, .memory = 95, .running = true, .restarts = 0});
  EXPECT_EQ(story.NextDeadline(), std::nullopt);  // cpu waits for samples, not for the clock
}

TEST(EngineClock, SilenceHasADeadlineOnlyWhereARuleCares) {
  Story story({Cpu(80, 0, NoData::kFire)});
  story.Send({{0, {.memory = 5}}}, 0);
  EXPECT_EQ(story.NextDeadline(), std::nullopt);
  story.Send({{0, {.cpu = 5}}}, 0);
  EXPECT_EQ(story.NextDeadline(), 300);
}

TEST(EngineClock, DeadlineIsNeverLateAndNoTick) {
  Story story({Cpu(80, 0, NoData::kFire)});
  int wake_ups = 0;
  for (double now = 0; now <= 3600; now += 10) {
    story.Send(now, {.cpu = 5});
    ASSERT_TRUE(story.NextDeadline().has_value());
    if (*story.NextDeadline() <= now) {
      ++wake_ups;
      story.Advance(now);
      EXPECT_GT(*story.NextDeadline(), now);
    }
  }
  EXPECT_EQ(story.Take(), Lines{});
  EXPECT_LE(wake_ups, 3600 / 290 + 1);  // once per stale_after, however many samples came
  story.Advance(3600 + 300);
  EXPECT_EQ(story.Take(), Lines({"fire 3600 3900 value 5 peak 5"}));
  EXPECT_EQ(story.NextDeadline(), std::nullopt);
}

TEST(EngineClock, EarlierDeadlineTakesTheLeadAndLaterOnesFollow) {
  Story story({Down(60, NoData::kFire)});
  story.Send({{0, {.running = true}}, {0, {.running = true}, 1, "d"}}, 0);
  EXPECT_EQ(story.NextDeadline(), 300);
  story.Send({{10, {.running = false}, 1, "d"}}, 10);
  EXPECT_EQ(story.NextDeadline(), 70);
  story.Advance(70);
  EXPECT_EQ(story.Take(), Lines({"r@d fire 10 70"}));
  story.Advance(300);
  EXPECT_EQ(story.Take(), Lines({"fire 0 300"}));
}

TEST(EngineClock, BacklogBringsTheDeadlineNearer) {
  Story story({Down(600)});
  story.Send({{0, {.running = false}}}, 1000);
  EXPECT_EQ(story.NextDeadline(), 1600);
  story.Send({{500, {.running = false}}}, 1001);  // comes at once: 100 seconds are left
  EXPECT_EQ(story.NextDeadline(), 1101);
  story.Advance(1101);
  EXPECT_EQ(story.Take(), Lines({"fire 0 600"}));
}

TEST(EngineClock, ReplayedBacklogFiresDeadlinesThatPassedLongAgo) {
  Story story({Down(180), Restarts(3, 600)}, 100000);
  story.rule(1).id = "loop";
  story.EditRules(100000);
  story.engine().SetSource(1, {.max_age = kNever, .stale_after = 5 * kMinute});
  story.Send({{0, {.running = false, .restarts = 0}},
              {60, {.restarts = 4}},
              {2000, {.running = true, .restarts = 4}}},
             100000);
  EXPECT_EQ(story.Take(),
            Lines({"loop@c fire 60 60 value 4 peak 4", "fire 0 180", "resolve 2000 RECOVERED",
                   "loop@c resolve 660 RECOVERED value 0 peak 4"}));
}

TEST(EngineClock, OwnTimeRunsWithTheWallClock) {
  Story story({Down(180, NoData::kFire)}, -1e9);
  story.SendAtOwnTime({{0, {.running = true}}});
  story.Advance(299);
  EXPECT_EQ(story.Take(), Lines{});
  story.Advance(300);
  EXPECT_EQ(story.Take(), Lines({"fire 0 300"}));
}

// Whatever the numbers: no undefined behaviour (this runs under UBSan), no endless loop.
TEST(EngineClock, ExtremeTimesAndTerms) {
  const Micros times[] = {kNoTime, kNoTime + 1, -kHour,         -1,         0,
                          1,       kHour,       kNever - kHour, kNever - 1, kNever};
  const double numbers[] = {-1e308,
                            -1,
                            -0.0,
                            0,
                            1e-308,
                            1,
                            100,
                            1e308,
                            std::numeric_limits<double>::infinity(),
                            -std::numeric_limits<double>::infinity(),
                            std::numeric_limits<double>::quiet_NaN()};
  std::mt19937_64 random(1);
  const auto time = [&] { return times[random() % std::size(times)]; };
  const auto number = [&] { return numbers[random() % std::size(numbers)]; };
  for (int round = 0; round < 150; ++round) {
    Engine engine(time());
    for (uint32_t source = 0; source < 3; ++source) engine.SetSource(source, {time(), time()});
    const ContainerRef container = engine.Add("c", "o");
    for (int step = 0; step < 60; ++step) {
      if (step % 10 == 0) {
        std::vector<Rule> rules;
        for (int i = 0; i < 8; ++i) {
          Rule& rule = rules.emplace_back();
          rule.id = std::to_string(i);
          rule.organization = "o";
          rule.condition = static_cast<Condition>(random() % 4);
          rule.threshold = number();
          rule.duration = time();
          rule.no_data = static_cast<NoData>(random() % 3);
          rule.enabled = random() % 5 != 0;
        }
        engine.SetRules(rules, time());
      }
      std::vector<Sample> samples(random() % 4);
      for (Sample& sample : samples) {
        sample.at = time();
        sample.source = static_cast<uint32_t>(random() % 4);
        sample.present = static_cast<uint8_t>(random());
        sample.running = random() % 2 == 0;
        sample.cpu = number();
        sample.memory = number();
        sample.memory_used = number();
        sample.memory_limit = number();
        sample.restarts = number();
      }
      const std::vector<ContainerRef> refs(samples.size(), container);
      engine.Judge(samples, refs, time());
      engine.Advance(time());
      engine.NextDeadline();
      engine.Explain(container, "0", time());
      for (const Transition& t : engine.TakeTransitions()) {
        const bool is_resolve = t.kind == Transition::Kind::kResolve;
        EXPECT_TRUE(!is_resolve || t.resolved_at >= t.fired_at);
      }
      const std::string saved = engine.Save(container);
      Engine other(time());
      other.SetRules({}, 0);
      EXPECT_TRUE(other.Restore(other.Add("c", "o"), saved));
      other.FinishRestore();
    }
  }
}

}  // namespace
}  // namespace alerting::test
