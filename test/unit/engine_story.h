// A small language for tests of the engine: rows, rules and the clock go in by seconds, what
// happened comes out as lines of text. Used by unit tests only.
#ifndef ALERTING_TEST_UNIT_ENGINE_STORY_H_
#define ALERTING_TEST_UNIT_ENGINE_STORY_H_

#include <cmath>
#include <cstdio>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/engine.h"

namespace alerting::test {

using Lines = std::vector<std::string>;

// Story times are seconds after noon of some day; the minute is the unit of most rules.
constexpr Micros kNoon = 800'000'000 * kSecond;
inline Micros At(double seconds) {
  return kNoon + static_cast<Micros>(std::llround(seconds * 1e6));
}
constexpr double kMin = 60;

struct Values {
  std::optional<double> cpu = {};
  std::optional<double> memory = {};
  std::optional<double> used = {};
  std::optional<double> limit = {};
  std::optional<bool> running = {};
  std::optional<double> restarts = {};
};

struct Row {
  double at = 0;
  Values values = {};
  uint32_t source = 1;
  std::string container = "c";
};

inline Rule MakeRule(Condition condition, double threshold, double duration,
                     NoData no_data = NoData::kKeep, std::string id = "r") {
  Rule rule;
  rule.id = std::move(id);
  rule.organization = "o";
  rule.condition = condition;
  rule.threshold = threshold;
  rule.duration = static_cast<Micros>(std::llround(duration * 1e6));
  rule.no_data = no_data;
  return rule;
}
inline Rule Cpu(double threshold, double duration, NoData no_data = NoData::kKeep) {
  return MakeRule(Condition::kCpuUsage, threshold, duration, no_data);
}
inline Rule Memory(double threshold, double duration, NoData no_data = NoData::kKeep) {
  return MakeRule(Condition::kMemoryUsage, threshold, duration, no_data);
}
inline Rule Down(double duration, NoData no_data = NoData::kKeep) {
  return MakeRule(Condition::kContainerDown, 0, duration, no_data);
}
inline Rule Restarts(double threshold, double window, NoData no_data = NoData::kKeep) {
  return MakeRule(Condition::kRestartLoop, threshold, window, no_data);
}

inline std::string Number(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.10g", value);
  return text;
}
inline std::string Seconds(Micros time) { return Number(static_cast<double>(time - kNoon) / 1e6); }

class Story {
 public:
  explicit Story(std::vector<Rule> rules = {}, double started = -86400)
      : Story(std::move(rules), started, started) {}
  Story(std::vector<Rule> rules, double started, double watched_since)
      : engine_(At(started), At(watched_since)), rules_(std::move(rules)) {
    engine_.SetSource(1, SourceSettings{});
    engine_.SetRules(rules_, At(started));
  }

  Engine& engine() { return engine_; }
  Rule& rule(size_t i = 0) { return rules_[i]; }
  std::vector<Rule>& rules() { return rules_; }
  // Makes the edits of rule(...) hold.
  void EditRules(double now) { engine_.SetRules(rules_, At(now)); }

  ContainerRef Ref(const std::string& container) {
    const ContainerRef ref = engine_.Find(container);
    return ref != kNoContainer ? ref : engine_.Add(container, "o");
  }

  // One transaction.
  void Send(const std::vector<Row>& rows, double arrival) { Judge(rows, At(arrival)); }
  // Rows that are read back from the tables.
  void ReadBack(const std::vector<Row>& rows, double now) { Judge(rows, At(now), true); }
  void SendAtOwnTime(const std::vector<Row>& rows) { Judge(rows, kNoTime); }
  // One row that arrives at its own time.
  void Send(double at, const Values& values, uint32_t source = 1) {
    Send({Row{at, values, source}}, at);
  }
  void Advance(double now) { engine_.Advance(At(now)); }
  // Seconds of the next deadline; nothing when there is none.
  std::optional<double> NextDeadline() const {
    const Micros next = engine_.NextDeadline();
    if (next == kNever) return std::nullopt;
    return static_cast<double>(next - kNoon) / 1e6;
  }

  // What happened since the last call:
  //   "fire 0 5m"       run since 0, fired at 5 minutes
  //   "resolve 10m RECOVERED"
  // Times in seconds; `r@c` before it when it is not rule r on container c; figures after it.
  Lines Take() {
    Lines lines;
    for (const Transition& t : engine_.TakeTransitions()) {
      std::string line;
      if (t.rule_id != "r" || t.container_key != "c") {
        line += t.rule_id + "@" + t.container_key + " ";
      }
      if (t.kind == Transition::Kind::kFire) {
        line += "fire " + Seconds(t.started_at) + " " + Seconds(t.fired_at);
      } else {
        line += "resolve " + Seconds(t.resolved_at);
        line += " " + std::string(ResolveReasonName(t.reason));
      }
      if (!std::isnan(t.value)) line += " value " + Number(t.value);
      if (!std::isnan(t.peak)) line += " peak " + Number(t.peak);
      lines.push_back(line);
    }
    return lines;
  }

  // '-', 'P' or 'F'.
  char State(const std::string& rule_id = "r", const std::string& container = "c", double now = 0) {
    switch (engine_.Explain(Ref(container), rule_id, At(now)).state) {
      case Explanation::State::kPending:
        return 'P';
      case Explanation::State::kFiring:
        return 'F';
      case Explanation::State::kOk:
        break;
    }
    return '-';
  }

 private:
  void Judge(const std::vector<Row>& rows, Micros arrival, bool is_stored = false) {
    std::vector<Sample> samples;
    std::vector<ContainerRef> refs;
    for (const Row& row : rows) {
      Sample sample;
      sample.at = At(row.at);
      sample.source = row.source;
      const auto set = [&sample](Reading bit, const std::optional<double>& value, double* field) {
        if (!value) return;
        sample.present |= bit;
        *field = *value;
      };
      set(kCpu, row.values.cpu, &sample.cpu);
      set(kMemory, row.values.memory, &sample.memory);
      set(kMemoryUsed, row.values.used, &sample.memory_used);
      set(kMemoryLimit, row.values.limit, &sample.memory_limit);
      set(kRestarts, row.values.restarts, &sample.restarts);
      if (row.values.running) {
        sample.present |= kRunning;
        sample.running = *row.values.running;
      }
      samples.push_back(sample);
      refs.push_back(Ref(row.container));
    }
    if (is_stored) engine_.ClearJudged(samples, refs);
    engine_.Judge(samples, refs, arrival);
  }

  Engine engine_;
  std::vector<Rule> rules_;
};

}  // namespace alerting::test

#endif  // ALERTING_TEST_UNIT_ENGINE_STORY_H_
