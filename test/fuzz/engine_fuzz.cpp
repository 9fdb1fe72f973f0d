// Random use of the whole engine, driven by bytes: samples, rules, moves, restarts and clocks in
// any order, at ordinary and extreme times. Checks what must hold whatever happens: alerts fire
// and resolve in turn, never resolve before they fired, and the clock leaves no deadline behind.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "core/engine.h"

namespace {

using namespace alerting;

class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  bool empty() const { return size_ == 0; }
  uint8_t Byte() {
    if (size_ == 0) return 0;
    --size_;
    return *data_++;
  }
  Micros Time() {
    switch (Byte() % 16) {
      case 0:
        return kNoTime;
      case 1:
        return kNever;
      case 2:
        return kNever - Byte();
      case 3:
        return kNoTime + Byte();
      default:
        return 800'000'000 * kSecond + Byte() * 20 * kSecond;
    }
  }
  Micros Span() {
    const uint8_t byte = Byte();
    if (byte == 255) return kNever;
    if (byte == 254) return kNoTime;
    return byte * 15 * kSecond;
  }
  double Number() {
    switch (const uint8_t byte = Byte()) {
      case 255:
        return std::numeric_limits<double>::quiet_NaN();
      case 254:
        return std::numeric_limits<double>::infinity();
      case 253:
        return 1e308;
      case 252:
        return -1e308;
      default:
        return byte - 20;
    }
  }

 private:
  const uint8_t* data_;
  size_t size_;
};

const char* const kKeys[] = {"a", "b", "container-with-a-longer-key"};
const char* const kOrganizations[] = {"x", "y", ""};

std::vector<Rule> TakeRules(Input& in) {
  std::vector<Rule> rules(in.Byte() % 6);
  for (Rule& rule : rules) {
    rule.id = std::string(1, static_cast<char>('0' + in.Byte() % 8));
    rule.organization = kOrganizations[in.Byte() % 3];
    const uint8_t bits = in.Byte();
    rule.condition = static_cast<Condition>(bits % 4);
    rule.no_data = static_cast<NoData>(bits / 4 % 3);
    rule.enabled = bits < 200;
    rule.threshold = in.Number();
    rule.duration = in.Span();
  }
  return rules;
}

class Run {
 public:
  explicit Run(Input& in)
      : in_(in), started_(in.Time()), engine_(std::make_unique<Engine>(started_)) {
    for (const char* key : kKeys) engine_->Add(key, "x");
  }

  void Step() {
    switch (in_.Byte() % 12) {
      case 0:
        rules_ = TakeRules(in_);
        engine_->SetRules(rules_, in_.Time());
        ForgetDeletedRules();
        break;
      case 1:
        engine_->SetSource(in_.Byte() % 3, {in_.Span(), in_.Span()});
        break;
      case 2:
        engine_->SetOrganization(Container(), kOrganizations[in_.Byte() % 3], in_.Time());
        break;
      case 3:
        RemoveContainer();
        break;
      case 4:
        Restart();
        break;
      case 5:
      case 6:
        Advance();
        break;
      default:
        Judge();
    }
    CheckTransitions();
  }

 private:
  std::string Key() { return kKeys[in_.Byte() % 3]; }
  ContainerRef Container() { return engine_->Find(Key()); }

  void Judge() {
    std::vector<Sample> samples(in_.Byte() % 4);
    std::vector<ContainerRef> refs;
    for (Sample& sample : samples) {
      refs.push_back(Container());
      sample.at = in_.Time();
      sample.source = in_.Byte() % 3;
      sample.present = in_.Byte();
      sample.running = (sample.source & 1) != 0;
      sample.cpu = in_.Number();
      sample.memory = in_.Number();
      sample.memory_used = in_.Number();
      sample.memory_limit = in_.Number();
      sample.restarts = in_.Number();
    }
    engine_->Judge(samples, refs, in_.Time());
  }

  void Advance() {
    const Micros now = in_.Time();
    engine_->Advance(now);
    const Micros next = engine_->NextDeadline();
    if (next != kNever && next <= now && next > started_) std::abort();
  }

  void RemoveContainer() {
    const std::string key = Key();
    engine_->Remove(engine_->Find(key));
    std::erase_if(firing_, [&](const auto& alert) { return alert.first.first == key; });
    engine_->Add(key, "x");
  }

  void ForgetDeletedRules() {
    std::erase_if(firing_, [&](const auto& alert) {
      return std::none_of(rules_.begin(), rules_.end(),
                          [&](const Rule& rule) { return rule.id == alert.first.second; });
    });
  }

  void Restart() {
    started_ = in_.Time();
    auto fresh = std::make_unique<Engine>(started_);
    fresh->SetRules(rules_, started_);
    for (const char* key : kKeys) {
      const ContainerRef old = engine_->Find(key);
      const ContainerRef ref = fresh->Add(key, engine_->Organization(old));
      if (!fresh->Restore(ref, engine_->Save(old))) std::abort();
    }
    for (auto& [pair, alert] : firing_) {
      alert.alert = fresh->RestoreAlert(fresh->Find(pair.first), pair.second, alert.started_at,
                                        alert.fired_at, alert.value);
      if (alert.alert == 0) std::abort();
    }
    fresh->FinishRestore();
    engine_ = std::move(fresh);
  }

  void CheckTransitions() {
    for (const Transition& t : engine_->TakeTransitions()) {
      const auto pair = std::make_pair(t.container_key, t.rule_id);
      if (t.kind == Transition::Kind::kFire) {
        if (!firing_.emplace(pair, t).second) std::abort();
        continue;
      }
      const auto open = firing_.find(pair);
      if (open == firing_.end() || open->second.alert != t.alert) std::abort();
      if (t.resolved_at < t.fired_at || t.fired_at != open->second.fired_at) std::abort();
      firing_.erase(open);
    }
  }

  Input& in_;
  Micros started_;
  std::unique_ptr<Engine> engine_;
  std::vector<Rule> rules_;
  std::map<std::pair<std::string, std::string>, Transition> firing_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input in(data, size);
  Run run(in);
  while (!in.empty()) run.Step();
  return 0;
}
