// What Prometheus' published rule tests say (prometheus/prometheus: rules/alerting_test.go,
// rules/manager_test.go, promql/promqltest/testdata, cmd/promtool's `for` examples), as tables of
// values: one column a sample, P pending, F firing, - neither. Where ours differs by intent, the
// case says so.
#include <gtest/gtest.h>

#include "engine_story.h"

namespace alerting::test {
namespace {

struct PeerCase {
  const char* what;
  double threshold;
  double duration;  // `for`
  double step;      // between samples
  std::vector<double> values;
  std::string states;
};

TEST(Peers, ForOfPrometheus) {
  const std::vector<PeerCase> cases = {
      {"for 0 fires with the first breaching sample", 50, 0, 60, {10, 75, 10}, "-F-"},
      {"for 5m, each minute: at 4m P, at 5m F", 50, 300, 60, {75, 75, 75, 75, 75, 75}, "PPPPPF"},
      {"for 1m, each minute (without keep_firing_for the fifth is resolved)",
       50,
       60,
       60,
       {75, 85, 70, 70, 10, 10},
       "PFFF--"},
      {"a single breach below `for`", 50, 60, 60, {75, 10, 10}, "P--"},
      {"one good sample in the middle of `for` starts it anew",
       50,
       300,
       60,
       {75, 75, 75, 10, 75, 75, 75, 75, 75, 75},
       "PPP-PPPPPF"},
      {"never above", 50, 0, 60, {50, 49, 0}, "---"},
  };
  for (const PeerCase& c : cases) {
    Story story({Cpu(c.threshold, c.duration)});
    std::string states;
    for (size_t i = 0; i < c.values.size(); ++i) {
      const double at = static_cast<double>(i) * c.step;
      story.Send(at, {.cpu = c.values[i]});
      states += story.State("r", "c", at);
    }
    EXPECT_EQ(states, c.states) << c.what;
  }
}

// Their `x < 100` alerts, turned round: we alert on the use that is too high.
TEST(Peers, SamplesFurtherApartThanFor) {
  struct Case {
    std::vector<double> values;
    std::string states;
  };
  const std::vector<Case> cases = {{{75, 85, 95, 105, 105, 95, 85}, "PFF--PF"},
                                   {{80, 90, 100, 110}, "PF--"}};
  for (const Case& c : cases) {
    Story story({Cpu(-100, 60)});
    story.engine().SetSource(1, {.max_age = kHour, .stale_after = 6 * kMinute});
    std::string states;
    for (size_t i = 0; i < c.values.size(); ++i) {
      const double at = static_cast<double>(i) * 300;
      story.Send(at, {.cpu = -c.values[i]});
      states += story.State("r", "c", at);
    }
    EXPECT_EQ(states, c.states);
  }
}

// Theirs goes back to pending without a notice; ours stays FIRING, since a resolved notice without
// a recovery, or an alert that is silently no alert any more, misleads.
TEST(Peers, ForRaisedWhileFiringStaysFiring) {
  Story story({Cpu(50, 15)});
  story.Send(0, {.cpu = 75});
  story.Send(15, {.cpu = 75});
  EXPECT_EQ(story.Take(), Lines({"fire 0 15 value 75 peak 75"}));
  story.rule().duration = kHour;
  story.EditRules(20);
  story.Send(30, {.cpu = 75});
  EXPECT_EQ(story.Take(), Lines{});
  EXPECT_EQ(story.State("r", "c", 30), 'F');
}

// A state that was restored (ALERTS_FOR_STATE): the clock of `for` goes on.
TEST(Peers, MissedSampleBelowStaleAfterDoesNotRestartFor) {
  Story story({Cpu(50, 300)});
  for (const double minute : {0, 1, 2, 4, 5}) story.Send(minute * kMin, {.cpu = 75});
  EXPECT_EQ(story.Take(), Lines({"fire 0 300 value 75 peak 75"}));
}

TEST(Peers, IncreaseOverACounterWithResets) {
  // 5 6 7 0 1: 2 + 0 + 1 = 3, with no extrapolation.
  const std::vector<double> counter = {5, 6, 7, 0, 1};
  for (const double threshold : {2.0, 3.0}) {
    Story story({Restarts(threshold, 3600)});
    for (size_t i = 0; i < counter.size(); ++i) {
      story.Send(static_cast<double>(i) * 60, {.restarts = counter[i]});
    }
    EXPECT_EQ(story.Take(), threshold < 3 ? Lines({"fire 240 240 value 3 peak 3"}) : Lines{});
  }
}

}  // namespace
}  // namespace alerting::test
