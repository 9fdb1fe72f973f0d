// Small hand-written stories for tests: a Script put together line by line, times in seconds from
// kEpoch, rows that arrive `lag` after their own time. Used by test programs.
#ifndef ALERTING_TEST_ORACLE_SCENE_H_
#define ALERTING_TEST_ORACLE_SCENE_H_

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "oracle/script.h"

namespace alerting::oracle {

class Scene {
 public:
  // One container `c` of organization X; source 1, stale after 300 s, without a largest age.
  Scene() {
    Source(1, 300);
    Add("c", "X");
  }

  Scene& Source(uint32_t id, double stale_after, Micros max_age = kNever) {
    std::erase_if(script_.sources, [id](const auto& source) { return source.first == id; });
    script_.sources.push_back({id, {.max_age = max_age, .stale_after = Span(stale_after)}});
    return *this;
  }
  // The wall clock; steps below happen then.
  Scene& At(double now) {
    now_ = Time(now);
    return *this;
  }
  Scene& Lag(double seconds) {
    lag_ = Span(seconds);
    return *this;
  }
  Scene& Add(const std::string& container, const std::string& organization) {
    return Push({.kind = Step::Kind::kAdd, .container = container, .organization = organization});
  }
  Scene& Move(const std::string& container, const std::string& organization) {
    return Push({.kind = Step::Kind::kMove, .container = container, .organization = organization});
  }
  Scene& Remove(const std::string& container) {
    return Push({.kind = Step::Kind::kRemove, .container = container});
  }
  // Sets a rule of organization X, new or changed.
  Scene& SetRule(const std::string& id, Condition condition, double threshold, double duration,
                 NoData no_data = NoData::kKeep, bool enabled = true) {
    return SetRule({.id = id,
                    .organization = "X",
                    .condition = condition,
                    .threshold = threshold,
                    .duration = Span(duration),
                    .no_data = no_data,
                    .enabled = enabled});
  }
  Scene& SetRule(const alerting::Rule& rule) {
    std::erase_if(rules_, [&](const alerting::Rule& old) { return old.id == rule.id; });
    rules_.push_back(rule);
    return Push({.kind = Step::Kind::kRules, .rules = rules_});
  }
  Scene& DeleteRule(const std::string& id) {
    std::erase_if(rules_, [&](const alerting::Rule& old) { return old.id == id; });
    return Push({.kind = Step::Kind::kRules, .rules = rules_});
  }
  // A row of container c; the clock goes to its arrival.
  Scene& Cpu(double at, double percent) { return Put(at, {.cpu = percent}); }
  Scene& Memory(double at, double percent) { return Put(at, {.memory = percent}); }
  Scene& Running(double at, bool running) { return Put(at, {.running = running}); }
  Scene& Restarts(double at, double counter) { return Put(at, {.restarts = counter}); }
  Scene& Put(double at, Row row) {
    row.at = Time(at);
    now_ = std::max(now_, row.at + lag_);
    return Transaction({std::move(row)});
  }
  // Rows with their times (MakeRow) in one transaction at the clock's time.
  Scene& Transaction(std::vector<Row> rows) {
    for (Row& row : rows) {
      if (row.container.empty()) row.container = "c";
      if (row.source == 0) row.source = 1;
    }
    return Push({.kind = Step::Kind::kJudge, .rows = std::move(rows)});
  }
  Scene& Advance(double now) {
    now_ = Time(now);
    return Push({.kind = Step::Kind::kAdvance});
  }
  // The server starts again; `edited` was changed while it was down.
  Scene& Restart(double now, const alerting::Rule& edited) {
    std::erase_if(rules_, [&](const alerting::Rule& old) { return old.id == edited.id; });
    rules_.push_back(edited);
    return Restart(now);
  }
  Scene& Restart(double now) {
    now_ = Time(now);
    return Push({.kind = Step::Kind::kRestart, .rules = rules_});
  }

  const Script& script() const { return script_; }

  static Micros Span(double seconds) {
    return static_cast<Micros>(seconds * static_cast<double>(kSecond));
  }
  static Micros Time(double seconds) { return kEpoch + Span(seconds); }

 private:
  Scene& Push(Step step) {
    step.now = now_;
    script_.steps.push_back(std::move(step));
    return *this;
  }

  Script script_;
  std::vector<alerting::Rule> rules_;
  Micros now_ = kEpoch;
  Micros lag_ = 0;
};

}  // namespace alerting::oracle

#endif  // ALERTING_TEST_ORACLE_SCENE_H_
