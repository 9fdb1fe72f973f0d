// See script.h. Runs in the property test. Invariant: the script depends on the seed alone (no
// library distribution, no address, no clock).
#include "oracle/script.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

namespace alerting::oracle {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

class Dice {
 public:
  // The seed is mixed first: of plain seeds one's dice would be another's, some throws later.
  explicit Dice(uint64_t seed) : state_(seed) { state_ = Next() ^ (seed << 32); }
  uint64_t Next() {  // splitmix64
    uint64_t z = (state_ += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  size_t Below(size_t n) { return static_cast<size_t>(Next() % n); }
  bool Percent(size_t chance) { return Below(100) < chance; }
  template <typename T>
  T Of(std::initializer_list<T> list) {
    return list.begin()[Below(list.size())];
  }
  template <typename T>
  const T& Of(const std::vector<T>& list) {
    return list[Below(list.size())];
  }

 private:
  uint64_t state_;
};

class Maker {
 public:
  explicit Maker(uint64_t seed) : dice_(seed) {}
  Script Make();

 private:
  enum class Clock { kLive, kLagging, kOwnTime, kWild };
  struct Known {  // what the script remembers of a container, to make interesting rows
    std::string key;
    std::string organization;
    Micros clock = kEpoch;
    Micros arrival = kEpoch;
    std::vector<Micros> times = {};
    bool bad = false;
    double restarts = 0;
  };

  void Setup();
  void AddStep(Step step) { script_.steps.push_back(std::move(step)); }
  Rule RandomRule(const std::string& id);
  void EditRules();
  void EditSomeRules();
  double Near(double value);
  Micros Jitter() { return dice_.Of<Micros>({-1, 0, 0, 1}); }
  Micros SomeSpan();
  Micros AboutSomeSpan() {
    const Micros span = SomeSpan();
    return span + Jitter();
  }
  Micros NextTime(Known& container);
  Row RandomRow(Known& container);
  void JudgeStep();
  void AdvanceStep();
  void ContainerStep();
  void RestartStep();
  Micros Arrival() const { return clock_ == Clock::kOwnTime ? kNoTime : now_; }

  Dice dice_;
  Script script_;
  Clock clock_ = Clock::kLive;
  bool clean_ = false;  // rows come in order and are never put right: a replay tells nothing new
  Micros step_ = kMinute;
  Micros lag_ = 0;
  Micros now_ = kEpoch;
  std::vector<Known> containers_;
  std::vector<Rule> rules_;
  std::vector<Row> history_;
  uint8_t fields_ = 0;
  int next_rule_ = 0;
  size_t edits_ = 0;
};

void Maker::Setup() {
  const size_t clock = dice_.Below(10);
  clock_ = clock < 5   ? Clock::kLive
           : clock < 7 ? Clock::kLagging
           : clock < 8 ? Clock::kOwnTime
                       : Clock::kWild;
  step_ = dice_.Of<Micros>({10 * kSecond, 30 * kSecond, kMinute, kMinute, 2 * kMinute});
  lag_ = clock_ == Clock::kLagging ? dice_.Of<Micros>({kMinute, 20 * kMinute, 30 * kHour})
                                   : dice_.Of<Micros>({0, 0, 1, kSecond});
  now_ = kEpoch + lag_;
  clean_ = clock_ != Clock::kWild && dice_.Percent(30);
  const size_t sources = 1 + dice_.Below(3);
  for (uint32_t id = 1; id <= sources; ++id) {
    script_.sources.push_back(
        {id, Source{.max_age = clock_ == Clock::kLagging
                                   ? kNever
                                   : dice_.Of<Micros>({2 * kMinute, 10 * kMinute, kHour, kNever}),
                    .stale_after = dice_.Of<Micros>(
                        {30 * kSecond, kMinute, 2 * kMinute, 5 * kMinute, 5 * kMinute, kHour})}});
  }
  // Of two rows at one time, a replay must not find one too old and the other not.
  if (clean_) {
    for (auto& [id, source] : script_.sources) {
      source.max_age = script_.sources.front().second.max_age;
    }
  }
  script_.lazy_saves = dice_.Percent(40);
  // A few kinds of readings make more of the same, and so deeper stories, than all at once.
  fields_ = static_cast<uint8_t>(dice_.Next());
  if (dice_.Percent(30)) fields_ = 0x3f;
  if (clean_) fields_ &= static_cast<uint8_t>(~kMemory);  // it would win over the parts, merged
  const size_t containers = 1 + dice_.Below(3);
  for (size_t i = 0; i < containers; ++i) {
    containers_.push_back({.key = std::string(1, static_cast<char>('a' + i)),
                           .organization = dice_.Of<const char*>({"X", "X", "X", "Y", ""})});
    AddStep({.kind = Step::Kind::kAdd,
             .now = now_,
             .container = containers_.back().key,
             .organization = containers_.back().organization});
  }
  const size_t rules = 1 + dice_.Below(6);
  for (size_t i = 0; i < rules; ++i) {
    rules_.push_back(RandomRule("r" + std::to_string(next_rule_++)));
  }
  AddStep({.kind = Step::Kind::kRules, .now = now_, .rules = rules_});
}

Rule Maker::RandomRule(const std::string& id) {
  Rule rule;
  rule.id = id;
  rule.organization = dice_.Of<const char*>({"X", "X", "X", "Y"});
  rule.condition = static_cast<Condition>(dice_.Below(kConditions));
  const bool counts = rule.condition == Condition::kRestartLoop;
  rule.threshold = counts ? dice_.Of<double>({0, 1, 3, 3, 5}) : dice_.Of<double>({0, 50, 50, 80});
  if (rule.condition == Condition::kContainerDown) rule.threshold = 0;
  rule.duration = counts ? dice_.Of<Micros>({kMinute, 2 * kMinute, 10 * kMinute, kHour})
                         : dice_.Of<Micros>({0, 0, kMinute, 2 * kMinute, 5 * kMinute});
  rule.no_data = dice_.Of<NoData>({NoData::kKeep, NoData::kResolve, NoData::kFire});
  rule.enabled = !dice_.Percent(5);
  return rule;
}

void Maker::EditRules() {
  EditSomeRules();
  AddStep({.kind = Step::Kind::kRules, .now = now_, .rules = rules_});
}

void Maker::EditSomeRules() {
  const size_t edits = 1 + dice_.Below(2);
  for (size_t i = 0; i < edits; ++i) {
    if (rules_.empty() || dice_.Percent(15)) {
      rules_.push_back(RandomRule("r" + std::to_string(next_rule_++)));
      continue;
    }
    const size_t which = dice_.Below(rules_.size());
    Rule& rule = rules_[which];
    const Rule other = RandomRule(rule.id);
    switch (dice_.Below(9)) {
      case 0:
        rules_.erase(rules_.begin() + static_cast<std::ptrdiff_t>(which));
        break;
      case 1:
      case 2:
        rule.enabled = !rule.enabled;
        break;
      case 3:
        rule.condition = other.condition;
        rule.duration = other.duration;
        rule.threshold = other.threshold;
        break;
      case 4:
        rule.organization = other.organization;
        break;
      case 5:
        rule.threshold = Near(rule.threshold);
        break;
      case 6:
        rule.duration =
            rule.condition == Condition::kRestartLoop ? std::max(SomeSpan(), kSecond) : SomeSpan();
        break;
      case 7:
        rule.no_data = other.no_data;
        break;
      default:
        rule = other;
        break;
    }
  }
}

double Maker::Near(double value) {
  return value + dice_.Of<double>({-30, -1, -1e-9, 0, 0, 1e-9, 1, 30});
}

// A span at whose end something may happen.
Micros Maker::SomeSpan() {
  switch (dice_.Below(4)) {
    case 0:
      return step_ * static_cast<Micros>(dice_.Below(4));
    case 1:
      return dice_.Of(script_.sources).second.stale_after;
    case 2:
      return rules_.empty() ? kMinute : dice_.Of(rules_).duration;
    default:
      return dice_.Of<Micros>({0, 1, kSecond, kMinute, 5 * kMinute, 10 * kMinute});
  }
}

Micros Maker::NextTime(Known& container) {
  const size_t what = dice_.Below(100);
  if (what < 55) return container.clock + step_;
  if (what < 65) return container.clock + AboutSomeSpan();
  if (what < 75) return container.clock;
  if (what < 82) return container.clock - AboutSomeSpan();
  if (clean_) return container.clock + step_;
  if (what < 94) {
    const Micros from = container.times.empty() ? container.clock : dice_.Of(container.times);
    return from + AboutSomeSpan();
  }
  if (what < 97) return now_ + 5 * kMinute + Jitter();
  const Micros max_age = dice_.Of(script_.sources).second.max_age;
  return max_age == kNever ? now_ - 30 * kHour : now_ - max_age + Jitter();
}

Row Maker::RandomRow(Known& container) {
  Row row;
  row.container = dice_.Percent(2) ? "unknown" : container.key;
  row.at = NextTime(container);
  row.source = static_cast<uint32_t>(1 + dice_.Below(script_.sources.size()));
  if (!clean_ && dice_.Percent(1)) row.source = 99;
  if (dice_.Percent(25)) container.bad = !container.bad;

  double threshold = 50;
  if (!rules_.empty() && dice_.Percent(70)) threshold = dice_.Of(rules_).threshold;
  auto percent = [&] {
    const size_t what = dice_.Below(20);
    if (what == 0) return std::numeric_limits<double>::quiet_NaN();
    if (what == 1) return dice_.Of<double>({kInfinity, -kInfinity});
    if (what < 6) return Near(threshold);
    return container.bad ? threshold + 10 : threshold - 10;
  };
  uint8_t fields = fields_;
  if (dice_.Percent(40)) fields = static_cast<uint8_t>(fields & dice_.Next());
  if (fields & kCpu) row.cpu = percent();
  if (fields & kMemory && dice_.Percent(50)) row.memory = percent();
  if (fields & kMemoryUsed) row.memory_used = percent() * 10;
  if (fields & kMemoryLimit) {
    row.memory_limit = 1000;
    if (dice_.Percent(30)) {
      row.memory_limit =
          dice_.Of<double>({0, -1, 9223372036854771712.0, 1152921504606846976.0, 500, 2000,
                            kInfinity, -kInfinity, std::numeric_limits<double>::quiet_NaN()});
    }
  }
  if (fields & kRunning) row.running = !container.bad;
  if (fields & kRestarts) {
    if (container.bad) container.restarts += static_cast<double>(dice_.Below(3));
    if (dice_.Percent(5)) container.restarts = static_cast<double>(dice_.Below(3));
    row.restarts = container.restarts;
    if (dice_.Percent(5)) row.restarts = percent() > 0 ? kInfinity : std::nan("");
  }
  container.clock = std::max(container.clock, row.at);
  container.arrival = now_;
  container.times.push_back(row.at);
  if (container.times.size() > 8) container.times.erase(container.times.begin());
  return row;
}

void Maker::JudgeStep() {
  const size_t what = dice_.Below(20);
  const size_t rows = what < 13 ? 1 : what < 19 ? 2 + dice_.Below(4) : 5 + dice_.Below(25);
  Step step{.kind = Step::Kind::kJudge};
  Known& container = containers_[dice_.Below(containers_.size())];
  for (size_t i = 0; i < rows; ++i) {
    Known& of = dice_.Percent(70) ? container : containers_[dice_.Below(containers_.size())];
    step.rows.push_back(RandomRow(of));
    if (dice_.Percent(10)) {  // the same time again, perhaps with other readings
      Row again = RandomRow(of);
      again.at = step.rows.back().at;
      step.rows.push_back(again);
    }
  }
  if (clock_ == Clock::kLive || clock_ == Clock::kLagging) {
    if (clean_) {
      for (const Known& known : containers_) now_ = std::max(now_, known.clock + lag_);
    }
    if (dice_.Percent(90)) now_ = std::max(now_, container.clock + lag_);
  } else if (clock_ == Clock::kWild) {
    now_ += dice_.Of<Micros>({0, 1, step_, step_, SomeSpan()});
  }
  // A row far ahead doesn't take the container's clock along.
  for (Known& known : containers_) {
    if (clock_ != Clock::kOwnTime && known.clock > now_ + 5 * kMinute) known.clock = now_;
  }
  step.now = Arrival();
  history_.insert(history_.end(), step.rows.begin(), step.rows.end());
  AddStep(std::move(step));
}

void Maker::AdvanceStep() {
  const Known& container = dice_.Of(containers_);
  switch (dice_.Below(5)) {
    case 0:
      now_ += AboutSomeSpan();
      break;
    case 1:
      now_ = std::max(now_, container.arrival + AboutSomeSpan());
      break;
    case 2:
      if (!container.times.empty()) {
        const Micros from = dice_.Of(container.times) + lag_;
        now_ = std::max(now_, from + AboutSomeSpan());
      }
      break;
    case 3:
      now_ += step_;
      break;
    default:
      if (!clean_ && dice_.Percent(20)) now_ += dice_.Of<Micros>({-kHour, -kMinute, -1, kHour});
      break;
  }
  AddStep({.kind = Step::Kind::kAdvance, .now = now_});
}

void Maker::ContainerStep() {
  Known& container = containers_[dice_.Below(containers_.size())];
  container.organization = dice_.Of<const char*>({"X", "X", "Y", ""});
  Step step{.kind = Step::Kind::kMove,
            .now = now_,
            .container = container.key,
            .organization = container.organization};
  if (!clean_ && dice_.Percent(25)) {
    Step removal = step;
    removal.kind = Step::Kind::kRemove;
    AddStep(removal);
    if (dice_.Percent(20)) {
      Row row = RandomRow(container);
      AddStep({.kind = Step::Kind::kJudge, .now = Arrival(), .rows = {row}});
    }
    step.kind = Step::Kind::kAdd;
  }
  AddStep(step);
}

void Maker::RestartStep() {
  now_ += dice_.Of<Micros>({0, kSecond, step_, SomeSpan(), kHour});
  Step step{.kind = Step::Kind::kRestart, .now = now_};
  if (edits_ > 0 && dice_.Percent(40)) {  // while the server is down
    EditSomeRules();
    if (dice_.Percent(30)) {
      Known& container = containers_[dice_.Below(containers_.size())];
      container.organization = dice_.Of<const char*>({"X", "X", "Y", ""});
      step.container = container.key;
      step.organization = container.organization;
    }
  }
  step.rules = rules_;
  AddStep(std::move(step));
  if (dice_.Percent(80)) {  // the rows of the last part of history once more, by their own times
    Step replay{.kind = Step::Kind::kJudge, .now = Arrival()};
    const size_t count = dice_.Percent(70) ? history_.size() : dice_.Below(history_.size() + 1);
    replay.rows.assign(history_.end() - static_cast<std::ptrdiff_t>(count), history_.end());
    std::stable_sort(replay.rows.begin(), replay.rows.end(),
                     [](const Row& a, const Row& b) { return a.at < b.at; });
    // With states as they were at the end, all of it was judged before.
    replay.nothing_new = clean_ && !script_.lazy_saves;
    const size_t parts = replay.nothing_new ? 1 : 1 + dice_.Below(3);
    for (size_t part = 1; part < parts && !replay.rows.empty(); ++part) {
      Step first = replay;
      const auto cut = static_cast<std::ptrdiff_t>(dice_.Below(replay.rows.size() + 1));
      first.rows.erase(first.rows.begin() + cut, first.rows.end());
      replay.rows.erase(replay.rows.begin(), replay.rows.begin() + cut);
      AddStep(std::move(first));
    }
    AddStep(std::move(replay));
  }
}

Script Maker::Make() {
  Setup();
  const size_t steps = 3 + dice_.Below(dice_.Percent(10) ? 120 : 40);
  const size_t restarts = dice_.Percent(40) ? 4 : 0;
  edits_ = dice_.Percent(60) ? 10 : 0;
  for (size_t i = 0; i < steps; ++i) {
    const size_t what = dice_.Below(100);
    if (what < restarts) {
      RestartStep();
    } else if (what < 4 + edits_) {
      if (edits_ > 0) {
        EditRules();
      } else {
        AddStep({.kind = Step::Kind::kSave, .now = now_});
      }
    } else if (what == 14 && edits_ > 0 && dice_.Percent(20)) {
      auto& [id, source] = script_.sources[dice_.Below(script_.sources.size())];
      Source other = source;
      other.stale_after = dice_.Of<Micros>({30 * kSecond, kMinute, 2 * kMinute, 5 * kMinute});
      AddStep({.kind = Step::Kind::kSource, .now = now_, .source_id = id, .source = other});
    } else if (what < 18) {
      if (edits_ > 0 && dice_.Percent(60)) {
        ContainerStep();
      } else {
        AddStep({.kind = Step::Kind::kSave, .now = now_});
      }
    } else if (what < 42) {
      AdvanceStep();
    } else {
      JudgeStep();
    }
  }
  return std::move(script_);
}

}  // namespace

Script MakeScript(uint64_t seed) { return Maker(seed).Make(); }

}  // namespace alerting::oracle
