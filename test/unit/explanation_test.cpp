// What the engine tells of a rule on a container: the figures behind explain() and preview().
#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "core/engine.h"
#include "core/plain_words.h"

namespace alerting {
namespace {

class ExplanationTest : public testing::Test {
 protected:
  ExplanationTest() : engine_(0) { container_ = engine_.Add("c", "o"); }

  void SetRule(Condition condition, double threshold, Micros duration) {
    Rule rule;
    rule.id = "r";
    rule.organization = "o";
    rule.condition = condition;
    rule.threshold = threshold;
    rule.duration = duration;
    engine_.SetRules({rule}, 0);
  }
  void Judge(Sample sample) {
    const std::array<Sample, 1> samples = {sample};
    const std::array<ContainerRef, 1> containers = {container_};
    engine_.Judge(samples, containers, kNoTime);
  }
  void Cpu(Micros at, double value) {
    Sample sample;
    sample.at = at;
    sample.present = kCpu;
    sample.cpu = value;
    Judge(sample);
  }
  void Running(Micros at, bool running) {
    Sample sample;
    sample.at = at;
    sample.present = kRunning;
    sample.running = running;
    Judge(sample);
  }
  Explanation Explain(Micros now) const { return engine_.Explain(container_, "r", now); }

  Engine engine_;
  ContainerRef container_;
};

TEST_F(ExplanationTest, PeakIsTheHighestReadingOfTheRun) {
  SetRule(Condition::kCpuUsage, 50, 2 * kMinute);
  Cpu(1 * kMinute, 60);
  Cpu(2 * kMinute, 80);
  EXPECT_EQ(Explain(2 * kMinute).state, Explanation::State::kPending);
  EXPECT_EQ(Explain(2 * kMinute).peak, 80);
  Cpu(3 * kMinute, 70);
  Cpu(4 * kMinute, 95);
  Cpu(5 * kMinute, 75);
  EXPECT_EQ(Explain(5 * kMinute).state, Explanation::State::kFiring);
  EXPECT_EQ(Explain(5 * kMinute).peak, 95);
  Cpu(6 * kMinute, 10);
  Cpu(7 * kMinute, 55);
  EXPECT_EQ(Explain(7 * kMinute).peak, 55);
}

TEST_F(ExplanationTest, DownHasNoPeak) {
  SetRule(Condition::kContainerDown, 0, 0);
  Running(1 * kMinute, false);
  EXPECT_EQ(Explain(1 * kMinute).state, Explanation::State::kFiring);
  EXPECT_TRUE(std::isnan(Explain(1 * kMinute).peak));
}

TEST_F(ExplanationTest, ContainerWithoutAReadingHasNone) {
  SetRule(Condition::kCpuUsage, 50, 0);
  Running(1 * kMinute, true);
  EXPECT_FALSE(Explain(1 * kMinute).has_reading);
}

TEST(PlainWords, TimesAreUtcWithTheFractionThatTheyHave) {
  EXPECT_EQ(TimeInWords(0), "2000-01-01 00:00:00Z");
  EXPECT_EQ(TimeInWords(826'020'240 * kSecond), "2026-03-05 10:04:00Z");
  EXPECT_EQ(TimeInWords(500 * kMillisecond), "2000-01-01 00:00:00.5Z");
  EXPECT_EQ(TimeInWords(-1 * kSecond), "1999-12-31 23:59:59Z");
  EXPECT_EQ(TimeInWords(-24 * kHour), "1999-12-31 00:00:00Z");
  EXPECT_EQ(TimeInWords(kNever), "infinity");
  EXPECT_EQ(TimeInWords(kNoTime), "-infinity");
}

TEST(PlainWords, DurationsTakeTheUnitThatFits) {
  EXPECT_EQ(DurationInWords(30 * kSecond), "30 seconds");
  EXPECT_EQ(DurationInWords(1500 * kMillisecond), "1.5 seconds");
  EXPECT_EQ(DurationInWords(kMinute), "1 minute");
  EXPECT_EQ(DurationInWords(90 * kSecond), "90 seconds");
  EXPECT_EQ(DurationInWords(24 * kHour), "24 hours");
  EXPECT_EQ(DurationInWords(0), "0 seconds");
}

TEST(PlainWords, NumberNeverSeemsToLieOnTheOtherSideOfTheThreshold) {
  Rule rule;
  rule.threshold = 80;
  Explanation seen;
  seen.has_reading = true;
  seen.last_at = 0;
  seen.stale_at = 5 * kMinute;
  seen.breaching = true;
  seen.state = Explanation::State::kFiring;
  seen.since = seen.fired_at = 0;
  seen.last_value = 80.00000001;
  EXPECT_EQ(ExplainInWords(rule, seen),
            "CPU_USAGE 80.00000001 at 2000-01-01 00:00:00Z is above 80 since 2000-01-01 00:00:00Z; "
            "FIRING since 2000-01-01 00:00:00Z, resolves with the first sample not above 80");
}

}  // namespace
}  // namespace alerting
