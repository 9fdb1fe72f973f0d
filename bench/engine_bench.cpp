// The evaluation engine alone: samples per second with 4 rules an organization, at growing numbers
// of containers; many rules on one organization; corrections, storms, saving. Build with CMake
// (Release), run `engine_bench`. Items per second are samples; `bytes_per_container` is what the
// engine allocated for each, its key of 25 bytes included.
#include <benchmark/benchmark.h>
#include <malloc.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "core/engine.h"

namespace alerting {
namespace {

constexpr Micros kStart = 800'000'000 * kSecond;
constexpr Micros kStep = 10 * kSecond;  // between a container's samples
constexpr size_t kOrganizations = 100;
constexpr size_t kKeySize = 25;  // a cuid

double AllocatedBytes() {
  const struct mallinfo2 info = mallinfo2();
  return static_cast<double>(info.uordblks + info.hblkhd);
}

std::vector<Rule> FourRules() {
  std::vector<Rule> rules;
  for (size_t i = 0; i < kOrganizations; ++i) {
    const std::string organization = "org" + std::to_string(i);
    const auto add = [&](const char* id, Condition condition, double threshold, Micros duration,
                         NoData no_data) {
      rules.push_back(
          {organization + id, organization, condition, threshold, duration, no_data, true});
    };
    add("cpu", Condition::kCpuUsage, 90, 0, NoData::kKeep);
    add("memory", Condition::kMemoryUsage, 90, 5 * kMinute, NoData::kKeep);
    add("down", Condition::kContainerDown, 0, kMinute, NoData::kFire);
    add("loop", Condition::kRestartLoop, 3, 10 * kMinute, NoData::kKeep);
  }
  return rules;
}

// Rounds of samples over all containers, in an order shuffled once, keys lying as in a batch of
// rows.
class Fleet {
 public:
  Fleet(size_t containers, std::vector<Rule> rules)
      : containers_(containers), engine_(kStart), order_(containers) {
    engine_.SetSource(1, SourceSettings{});
    engine_.SetRules(std::move(rules), kStart);
    std::mt19937_64 random(1);
    std::string keys(containers * kKeySize, ' ');
    for (char& c : keys) c = "0123456789abcdefghijklmnopqrstuvwxyz"[random() % 36];
    std::iota(order_.begin(), order_.end(), size_t{0});
    std::shuffle(order_.begin(), order_.end(), random);
    shuffled_keys_.resize(keys.size());
    for (size_t i = 0; i < containers; ++i) {
      keys.copy(&shuffled_keys_[i * kKeySize], kKeySize, order_[i] * kKeySize);
    }
    const double before = AllocatedBytes();
    for (size_t i = 0; i < containers; ++i) {
      engine_.Add({&keys[i * kKeySize], kKeySize}, "org" + std::to_string(i % kOrganizations));
    }
    // One round of judging, so that the queue of deadlines and all else is there.
    Round(1'000, 0, true);
    grown_ = AllocatedBytes() - before;
  }

  // Judges one sample of each container in batches; `breaches` per thousand are above the limit.
  void Round(size_t batch, uint32_t breaches, bool find) {
    now_ += kStep;
    for (size_t first = 0; first < containers_; first += batch) {
      const size_t count = std::min(batch, containers_ - first);
      samples_.resize(count);
      refs_.resize(count);
      for (size_t i = 0; i < count; ++i) {
        Sample& sample = samples_[i];
        noise_ = noise_ * 1664525 + 1013904223;
        sample.container = {&shuffled_keys_[(first + i) * kKeySize], kKeySize};
        sample.at = now_;
        sample.source = 1;
        sample.present = kCpu | kMemory | kRunning | kRestarts;
        sample.running = true;
        sample.cpu = (noise_ >> 8) % 1000 < breaches ? 95 : 40;
        sample.memory = 50;
        sample.restarts = 1;
        refs_[i] = static_cast<ContainerRef>(order_[first + i]);
      }
      if (find) engine_.FindAll(samples_, refs_);
      engine_.Judge(samples_, refs_, now_);
      engine_.Advance(now_);
      benchmark::DoNotOptimize(engine_.TakeTransitions());
    }
  }

  Engine& engine() { return engine_; }
  size_t containers() const { return containers_; }
  double grown_per_container() const { return grown_ / static_cast<double>(containers_); }

 private:
  size_t containers_;
  Engine engine_;
  std::vector<size_t> order_;
  std::string shuffled_keys_;
  std::vector<Sample> samples_;
  std::vector<ContainerRef> refs_;
  Micros now_ = kStart;
  uint32_t noise_ = 12345;
  double grown_ = 0;
};

void Samples(benchmark::State& state) {
  Fleet fleet(static_cast<size_t>(state.range(0)), FourRules());
  for ([[maybe_unused]] auto _ : state) {
    fleet.Round(static_cast<size_t>(state.range(1)), static_cast<uint32_t>(state.range(2)),
                state.range(3) != 0);
    state.PauseTiming();
    fleet.engine().TakeChanged();  // the evaluator saves every few seconds
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
  state.counters["bytes_per_container"] = fleet.grown_per_container();
}
BENCHMARK(Samples)
    ->ArgNames({"containers", "batch", "breach", "find"})
    ->Args({10'000, 1'000, 0, 1})
    ->Args({10'000, 1'000, 0, 0})
    ->Args({10'000, 1'000, 50, 1})
    ->Args({10'000, 1, 0, 1})
    ->Args({100'000, 1'000, 0, 1})
    ->Args({1'000'000, 1'000, 0, 1})
    ->Args({1'000'000, 1'000, 0, 0})
    ->Args({1'000'000, 1'000, 50, 1})
    ->Args({1'000'000, 100'000, 0, 1})
    ->Unit(benchmark::kMillisecond);

// Rules on one organization, each with its own threshold; `breached` of them fire all the time.
void RulesOnOneOrganization(benchmark::State& state) {
  const int64_t count = state.range(0);
  const int64_t breached = state.range(1);
  std::vector<Rule> rules;
  for (int64_t i = 0; i < count; ++i) {
    rules.push_back({"rule" + std::to_string(i), "org", Condition::kCpuUsage,
                     static_cast<double>(i), 0, NoData::kKeep, true});
  }
  Engine engine(kStart);
  engine.SetSource(1, SourceSettings{});
  engine.SetRules(std::move(rules), kStart);
  std::vector<ContainerRef> refs;
  for (int i = 0; i < 1'000; ++i) refs.push_back(engine.Add(std::to_string(i), "org"));
  std::vector<Sample> samples(refs.size());
  Micros now = kStart;
  for ([[maybe_unused]] auto _ : state) {
    now += kStep;
    for (Sample& sample : samples) {
      sample.at = now;
      sample.source = 1;
      sample.present = kCpu;
      sample.cpu = static_cast<double>(breached) - 0.5;
    }
    engine.Judge(samples, refs, now);
    benchmark::DoNotOptimize(engine.TakeTransitions());
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(samples.size()));
}
BENCHMARK(RulesOnOneOrganization)
    ->ArgNames({"rules", "breached"})
    ->Args({1, 0})
    ->Args({1'000, 0})
    ->Args({1'000, 1})
    ->Args({1'000, 10})
    ->Args({1'000, 1'000});

// All containers cross at once, and back: transitions per second.
void Storm(benchmark::State& state) {
  Fleet fleet(static_cast<size_t>(state.range(0)), FourRules());
  for ([[maybe_unused]] auto _ : state) {
    fleet.Round(1'000, 1'000, true);
    fleet.Round(1'000, 0, true);
  }
  state.SetItemsProcessed(state.iterations() * 2 * state.range(0));
}
BENCHMARK(Storm)->Arg(20'000)->Unit(benchmark::kMillisecond);

// One rule is edited: what the evaluator pays, all rules handed in again.
void EditOneRule(benchmark::State& state) {
  std::vector<Rule> rules = FourRules();
  Fleet fleet(static_cast<size_t>(state.range(0)), rules);
  for (int64_t i = static_cast<int64_t>(rules.size()); i < state.range(1); ++i) {
    Rule rule = rules[static_cast<size_t>(i) % 400];
    rule.id += "-" + std::to_string(i);
    rule.organization = "empty" + std::to_string(i / 10);
    rules.push_back(rule);
  }
  fleet.engine().SetRules(rules, kStart);
  for ([[maybe_unused]] auto _ : state) {
    rules[0].threshold = rules[0].threshold == 90 ? 91 : 90;
    fleet.engine().SetRules(rules, kStart);
  }
}
BENCHMARK(EditOneRule)
    ->ArgNames({"containers", "rules"})
    ->Args({10'000, 400})
    ->Args({10'000, 100'000})
    ->Args({1'000'000, 400})
    ->Unit(benchmark::kMillisecond);

void SaveChanged(benchmark::State& state) {
  Fleet fleet(static_cast<size_t>(state.range(0)), FourRules());
  size_t bytes = 0;
  size_t saved = 0;
  for ([[maybe_unused]] auto _ : state) {
    state.PauseTiming();
    fleet.Round(1'000, 0, true);
    state.ResumeTiming();
    for (const ContainerRef container : fleet.engine().TakeChanged()) {
      bytes += fleet.engine().Save(container).size();
      ++saved;
    }
  }
  state.SetItemsProcessed(static_cast<int64_t>(saved));
  state.counters["saved_bytes"] = static_cast<double>(bytes) / static_cast<double>(saved);
}
BENCHMARK(SaveChanged)->Arg(100'000)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace alerting

BENCHMARK_MAIN();
