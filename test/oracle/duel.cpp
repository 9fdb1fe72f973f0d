// See duel.h. Runs in test programs. Invariant: the engine and the oracle are told the same things,
// and the engine is kept as the evaluator keeps it: states saved when it says they changed, alerts
// that fire known to the "database" and given back at a restart.
#include "oracle/duel.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <set>
#include <tuple>
#include <utility>

#include "core/engine.h"

namespace alerting::oracle {
namespace {

using PairKey = std::pair<std::string, std::string>;  // container, rule

class EngineSide {
 public:
  explicit EngineSide(const Script& script)
      : sources_(script.sources.begin(), script.sources.end()) {
    Start(kEpoch - kHour);
  }

  void Do(const Step& step);
  std::vector<Event> TakeEvents();
  // Saves what must be on disk after this step; `all`: everything that changed.
  void SaveChanged(bool all, const std::vector<Event>& events);

  const std::set<std::string>& just_saved() const { return just_saved_; }
  Engine& engine() { return *engine_; }
  const std::string& problem() const { return problem_; }

 private:
  struct Open {
    uint64_t number;
    Event event;
  };

  void Start(Micros now);
  void SetSource(uint32_t id, const Source& source) {
    engine_->SetSource(id, {.max_age = source.max_age, .stale_after = source.stale_after});
  }
  void SetKnownRules(const std::vector<Rule>& rules);
  void Restart(const Step& step);
  void Judge(const Step& step);

  std::map<uint32_t, Source> sources_;
  std::unique_ptr<Engine> engine_;
  std::vector<Rule> rules_;
  std::map<std::string, std::string> organizations_;  // the database's containers
  std::map<std::string, std::string> saved_;          // the database's series_state
  std::map<PairKey, Open> open_;                      // the database's FIRING alerts
  std::set<std::string> dirty_, just_saved_;
  std::string problem_;
};

void EngineSide::Start(Micros now) {
  engine_ = std::make_unique<Engine>(now);
  for (const auto& [id, source] : sources_) SetSource(id, source);
}

// The database deletes a deleted rule's alerts.
void EngineSide::SetKnownRules(const std::vector<Rule>& rules) {
  rules_ = rules;
  std::erase_if(open_, [this](const auto& open) {
    return std::none_of(rules_.begin(), rules_.end(),
                        [&](const Rule& rule) { return rule.id == open.first.second; });
  });
}

void EngineSide::Restart(const Step& step) {
  SetKnownRules(step.rules);
  const auto moved = organizations_.find(step.container);
  if (moved != organizations_.end()) moved->second = step.organization;
  Start(step.now);
  engine_->SetRules(rules_, step.now);
  for (const auto& [key, organization] : organizations_) engine_->Add(key, organization);
  for (const auto& [key, bytes] : saved_) {
    if (!engine_->Restore(engine_->Find(key), bytes)) problem_ = "Restore refuses what Save made";
  }
  for (auto& [pair, open] : open_) {
    open.number =
        engine_->RestoreAlert(engine_->Find(pair.first), pair.second, open.event.started_at,
                              open.event.fired_at, open.event.value);
  }
  engine_->FinishRestore();
  dirty_.clear();
}

void EngineSide::Judge(const Step& step) {
  std::vector<Sample> samples;
  std::vector<ContainerRef> refs;
  for (const Row& row : step.rows) {
    Sample sample;
    sample.container = row.container;
    sample.at = row.at;
    sample.source = row.source;
    auto take = [&sample](const auto& from, auto& into, alerting::Reading bit) {
      if (!from) return;
      into = *from;
      sample.present = static_cast<uint8_t>(sample.present | bit);
    };
    take(row.cpu, sample.cpu, kCpu);
    take(row.memory, sample.memory, kMemory);
    take(row.memory_used, sample.memory_used, kMemoryUsed);
    take(row.memory_limit, sample.memory_limit, kMemoryLimit);
    take(row.running, sample.running, kRunning);
    take(row.restarts, sample.restarts, kRestarts);
    samples.push_back(sample);
    refs.push_back(engine_->Find(row.container));
  }
  engine_->Judge(samples, refs, step.now);
}

void EngineSide::Do(const Step& step) {
  switch (step.kind) {
    case Step::Kind::kRules:
      SetKnownRules(step.rules);
      engine_->SetRules(step.rules, step.now);
      break;
    case Step::Kind::kAdd:
      if (organizations_.contains(step.container)) break;
      organizations_[step.container] = step.organization;
      engine_->Add(step.container, step.organization);
      break;
    case Step::Kind::kMove:
      if (!organizations_.contains(step.container)) break;
      organizations_[step.container] = step.organization;
      engine_->SetOrganization(engine_->Find(step.container), step.organization, step.now);
      break;
    case Step::Kind::kRemove:
      if (!organizations_.contains(step.container)) break;
      organizations_.erase(step.container);
      saved_.erase(step.container);
      std::erase_if(open_, [&](const auto& open) { return open.first.first == step.container; });
      engine_->Remove(engine_->Find(step.container));
      break;
    case Step::Kind::kJudge:
      Judge(step);
      break;
    case Step::Kind::kAdvance: {
      const Micros deadline = engine_->NextDeadline();
      engine_->Advance(step.now);
      if (engine_->NextDeadline() <= step.now) problem_ = "a deadline is left after Advance";
      if (deadline > step.now && !engine_->TakeChanged().empty()) {
        problem_ = "Advance changes something before NextDeadline";
      }
      break;
    }
    case Step::Kind::kSave:
      break;
    case Step::Kind::kSource:
      sources_[step.source_id] = step.source;
      SetSource(step.source_id, step.source);
      break;
    case Step::Kind::kRestart:
      Restart(step);
      break;
  }
}

std::vector<Event> EngineSide::TakeEvents() {
  std::vector<Event> events;
  for (const Transition& transition : engine_->TakeTransitions()) {
    Event event{.fire = transition.kind == Transition::Kind::kFire,
                .container = transition.container_key,
                .rule = transition.rule_id,
                .started_at = transition.started_at,
                .fired_at = transition.fired_at,
                .resolved_at = transition.resolved_at,
                .value = transition.value,
                .peak = transition.peak,
                .reason = transition.reason};
    const PairKey pair(event.container, event.rule);
    const auto open = open_.find(pair);
    if (event.fire) {
      if (open != open_.end()) problem_ = "fires twice: " + Describe(event);
      if (event.fired_at < event.started_at) problem_ = "fires before it starts";
      open_[pair] = {transition.alert, event};
    } else if (open == open_.end()) {
      problem_ = "resolves what does not fire: " + Describe(event);
    } else {
      if (open->second.number != transition.alert) problem_ = "another alert's number";
      if (open->second.event.started_at != event.started_at ||
          open->second.event.fired_at != event.fired_at) {
        problem_ = "resolve tells other times than its fire: " + Describe(event);
      }
      if (event.resolved_at < event.fired_at) problem_ = "resolves before it fires";
      open_.erase(open);
    }
    events.push_back(std::move(event));
  }
  return events;
}

void EngineSide::SaveChanged(bool all, const std::vector<Event>& events) {
  for (const ContainerRef ref : engine_->TakeChanged()) {
    const std::string_view key = engine_->Key(ref);
    if (!key.empty()) dirty_.emplace(key);
  }
  just_saved_.clear();
  for (const Event& event : events) {
    if (dirty_.contains(event.container)) just_saved_.insert(event.container);
  }
  if (all) just_saved_ = dirty_;
  for (const std::string& key : just_saved_) {
    dirty_.erase(key);
    const ContainerRef ref = engine_->Find(key);
    if (ref != kNoContainer) saved_[key] = engine_->Save(ref);
  }
}

class OracleSide {
 public:
  explicit OracleSide(const Script& script) : oracle_(kEpoch - kHour) {
    for (const auto& [id, source] : script.sources) oracle_.SetSource(id, source);
  }

  void Do(const Step& step);
  void Save(const std::set<std::string>& keys);
  Oracle& oracle() { return oracle_; }

 private:
  Oracle oracle_;
  std::map<std::string, Saved> saved_;
};

void OracleSide::Do(const Step& step) {
  switch (step.kind) {
    case Step::Kind::kRules:
      oracle_.SetRules(step.rules, step.now);
      break;
    case Step::Kind::kAdd:
      oracle_.AddContainer(step.container, step.organization);
      break;
    case Step::Kind::kMove:
      oracle_.SetOrganization(step.container, step.organization, step.now);
      break;
    case Step::Kind::kRemove:
      oracle_.Remove(step.container);
      saved_.erase(step.container);
      break;
    case Step::Kind::kJudge:
      oracle_.Judge(step.rows, step.now);
      break;
    case Step::Kind::kAdvance:
      oracle_.Advance(step.now);
      break;
    case Step::Kind::kSave:
      break;
    case Step::Kind::kSource:
      oracle_.SetSource(step.source_id, step.source);
      break;
    case Step::Kind::kRestart: {
      std::map<std::string, Saved> restored;
      for (const auto& [key, container] : oracle_.containers()) {
        if (saved_.contains(key)) restored[key] = saved_[key];
        restored[key].container.organization =  // the database's
            key == step.container ? step.organization : container.organization;
      }
      oracle_.Restart(step.now, restored, step.rules);
      break;
    }
  }
}

void OracleSide::Save(const std::set<std::string>& keys) {
  for (const std::string& key : keys) {
    const auto found = oracle_.containers().find(key);
    if (found != oracle_.containers().end()) saved_[key] = {found->second, oracle_.rules()};
  }
}

bool Same(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

bool Same(const Event& a, const Event& b) {
  if (std::tie(a.fire, a.container, a.rule, a.started_at, a.fired_at) !=
      std::tie(b.fire, b.container, b.rule, b.started_at, b.fired_at)) {
    return false;
  }
  if (!Same(a.peak, b.peak)) return false;
  if (a.fire) return Same(a.value, b.value);
  if (a.resolved_at != b.resolved_at || a.reason != b.reason) return false;
  return a.reason != ResolveReason::kRecovered || Same(a.value, b.value);
}

// Per container and rule the order counts; between them it doesn't.
void Sort(std::vector<Event>& events) {
  std::stable_sort(events.begin(), events.end(), [](const Event& a, const Event& b) {
    return std::tie(a.container, a.rule) < std::tie(b.container, b.rule);
  });
}

std::string List(const std::vector<Event>& events) {
  std::string text;
  for (const Event& event : events) {
    text += "\n      " + Describe(event) + " peak " + std::to_string(event.peak);
  }
  return text.empty() ? "\n      nothing" : text;
}

std::string PhaseOf(Phase phase, Micros since, Micros fired_at, bool by_silence) {
  if (phase == Phase::kOk) return "ok";
  const std::string from = " since " + std::to_string(since - kEpoch);
  if (phase == Phase::kPending) return "pending" + from;
  return "firing" + from + " fired " + std::to_string(fired_at - kEpoch) +
         (by_silence ? " by silence" : "");
}

std::string CompareCounters(const EngineCounters& engine, const Counters& oracle) {
  auto text = [](uint64_t samples, uint64_t late, uint64_t backfill) {
    return std::to_string(samples) + " samples, " + std::to_string(late) + " late, " +
           std::to_string(backfill) + " backfill";
  };
  const std::string got = text(engine.samples, engine.late, engine.backfill);
  const std::string expected = text(oracle.samples, oracle.late, oracle.backfill);
  return got == expected ? "" : "counters: engine " + got + ", oracle " + expected;
}

// Compares every pair's state; a difference there is one that will show later.
std::string CompareStates(Engine& engine, const Oracle& oracle, Micros now) {
  for (const auto& [key, container] : oracle.containers()) {
    for (const Rule& rule : oracle.rules()) {
      if (!rule.enabled || rule.organization != container.organization) continue;
      const auto found = container.pairs.find(rule.id);
      const Pair pair = found == container.pairs.end() ? Pair{} : found->second;
      const Explanation seen = engine.Explain(engine.Find(key), rule.id, now);
      const std::string expected = PhaseOf(pair.phase, pair.since, pair.fired_at, pair.by_silence);
      const std::string got =
          PhaseOf(static_cast<Phase>(seen.state), seen.since, seen.fired_at, seen.by_silence);
      if (expected != got) {
        return "state of " + rule.id + " on " + key + ": engine " + got + ", oracle " + expected;
      }
    }
  }
  return "";
}

}  // namespace

std::string Describe(const Event& event) {
  auto time = [](Micros at) {
    if (at == kNoTime) return std::string("-");
    const Micros offset = at - kEpoch;
    std::string text = (offset < 0 ? "-" : "+") + std::to_string(std::abs(offset) / kSecond);
    if (offset % kSecond != 0)
      text += "." + std::to_string(kSecond + std::abs(offset) % kSecond).substr(1);
    return text;
  };
  constexpr const char* kReasons[] = {"recovered", "no data", "disabled", "changed", "moved"};
  std::string text = std::string(event.fire ? "fire " : "resolve ") + event.rule + " on " +
                     event.container + " started " + time(event.started_at) + " fired " +
                     time(event.fired_at);
  if (!event.fire) {
    text +=
        " resolved " + time(event.resolved_at) + " " + kReasons[static_cast<size_t>(event.reason)];
  }
  return text + " value " + std::to_string(event.value);
}

std::optional<Difference> Duel(const Script& script, Tally* tally) {
  EngineSide engine(script);
  OracleSide oracle(script);
  for (size_t i = 0; i < script.steps.size(); ++i) {
    const Step& step = script.steps[i];
    engine.Do(step);
    oracle.Do(step);
    std::vector<Event> got = engine.TakeEvents();
    std::vector<Event> expected = oracle.oracle().TakeEvents();
    const bool save_all = !script.lazy_saves || step.kind == Step::Kind::kRules ||
                          step.kind == Step::Kind::kSave || step.kind == Step::Kind::kMove ||
                          step.kind == Step::Kind::kAdd || step.kind == Step::Kind::kRestart;
    engine.SaveChanged(save_all, got);
    oracle.Save(engine.just_saved());
    Sort(got);
    Sort(expected);
    const bool same = std::equal(got.begin(), got.end(), expected.begin(), expected.end(),
                                 [](const Event& a, const Event& b) { return Same(a, b); });
    if (!same) {
      return Difference{i, "    engine:" + List(got) + "\n    oracle:" + List(expected)};
    }
    std::string what = engine.problem();
    if (step.nothing_new && !got.empty()) what = "a replay tells something:" + List(got);
    if (what.empty())
      what = CompareCounters(engine.engine().counters(), oracle.oracle().counters());
    if (what.empty()) what = CompareStates(engine.engine(), oracle.oracle(), step.now);
    if (!what.empty()) return Difference{i, "    " + what};
    if (tally != nullptr) {
      ++tally->steps;
      tally->rows += step.rows.size();
      tally->restarts += step.kind == Step::Kind::kRestart ? 1 : 0;
      for (const Event& event : got) ++(event.fire ? tally->fires : tally->resolves);
    }
  }
  return std::nullopt;
}

std::vector<Event> RunEngine(const Script& script) {
  EngineSide engine(script);
  std::vector<Event> all;
  for (const Step& step : script.steps) {
    engine.Do(step);
    std::vector<Event> events = engine.TakeEvents();
    engine.SaveChanged(true, events);
    all.insert(all.end(), events.begin(), events.end());
  }
  return all;
}

Phase EngineState(const Script& script, const std::string& container, const std::string& rule) {
  EngineSide engine(script);
  for (const Step& step : script.steps) engine.Do(step);
  const Micros now = script.steps.back().now;
  const ContainerRef ref = engine.engine().Find(container);
  return static_cast<Phase>(engine.engine().Explain(ref, rule, now).state);
}

}  // namespace alerting::oracle
