// What the engine tells of a rule on a container: the figures behind explain() and preview().
#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "core/engine.h"

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

}  // namespace
}  // namespace alerting
