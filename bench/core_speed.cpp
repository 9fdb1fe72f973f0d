// The engine alone: million samples a CPU second with four rules an organization, samples of all
// containers in an order shuffled once, 1,000 a transaction; and the bytes that it allocates for a
// container, key included. core_speed containers
#include <malloc.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "core/engine.h"

namespace {

using namespace alerting;

constexpr size_t kOrganizations = 100;
constexpr size_t kBatch = 1000;
constexpr size_t kSamples = 5'000'000;
constexpr Micros kStart = 800'000'000 * kSecond;

double CpuSeconds() {
  timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

double AllocatedBytes() {
  const struct mallinfo2 info = mallinfo2();
  return static_cast<double>(info.uordblks + info.hblkhd);
}

std::vector<Rule> Rules() {
  std::vector<Rule> rules;
  for (size_t i = 0; i < kOrganizations; ++i) {
    const std::string organization = "org" + std::to_string(i);
    const auto add = [&](const char* id, Condition condition, double threshold, Micros duration) {
      rules.push_back(
          {organization + id, organization, condition, threshold, duration, NoData::kKeep, true});
    };
    add("cpu", Condition::kCpuUsage, 90, 0);
    add("memory", Condition::kMemoryUsage, 90, 5 * kMinute);
    add("down", Condition::kContainerDown, 0, kMinute);
    add("loop", Condition::kRestartLoop, 3, 10 * kMinute);
  }
  return rules;
}

}  // namespace

int main(int argc, char** argv) {
  const size_t containers = argc > 1 ? strtoul(argv[1], nullptr, 10) : 10'000;
  Engine engine(kStart);
  engine.SetSource(1, SourceSettings{});
  engine.SetRules(Rules(), kStart);
  std::vector<std::string> keys(containers);
  for (size_t i = 0; i < containers; ++i) keys[i] = "ctr-" + std::to_string(1'000'000 + i);
  const double before = AllocatedBytes();
  for (size_t i = 0; i < containers; ++i)
    engine.Add(keys[i], "org" + std::to_string(i % kOrganizations));
  const double of_index = AllocatedBytes() - before;
  double grown = 0;
  std::shuffle(keys.begin(), keys.end(), std::mt19937_64(1));
  // As a transaction's rows lie: one after another.
  std::string bytes;
  for (const std::string& key : keys) bytes += key;
  std::vector<std::string_view> views;
  size_t offset = 0;
  for (const std::string& key : keys) {
    views.push_back(std::string_view(bytes).substr(offset, key.size()));
    offset += key.size();
  }
  std::vector<Sample> samples;
  std::vector<ContainerRef> refs;
  const size_t rounds = std::max<size_t>(3, kSamples / containers);
  double started = 0;
  samples.reserve(kBatch);
  refs.reserve(kBatch);
  const double with_engine = AllocatedBytes() - of_index;
  for (size_t round = 0; round <= rounds; ++round) {
    if (round == 1) started = CpuSeconds();  // the first is a warm-up
    const Micros now = kStart + static_cast<Micros>(round) * 10 * kSecond;
    for (size_t first = 0; first < containers; first += kBatch) {
      samples.resize(std::min(kBatch, containers - first));
      refs.resize(samples.size());
      for (size_t i = 0; i < samples.size(); ++i) {
        samples[i] = {.container = views[first + i],
                      .at = now,
                      .source = 1,
                      .present = kCpu | kMemory | kRunning | kRestarts,
                      .running = true,
                      .cpu = 40,
                      .memory = 50,
                      .restarts = 1};
      }
      engine.FindAll(samples, refs);
      engine.Judge(samples, refs, now);
      engine.Advance(now);
      if (!engine.TakeTransitions().empty()) abort();
    }
    engine.TakeChanged();
    if (round == 0) grown = AllocatedBytes() - with_engine;
  }
  printf("%.2f %.0f\n", static_cast<double>(rounds * containers) / (CpuSeconds() - started) / 1e6,
         grown / static_cast<double>(containers));
}
