// Drives random streams of rows, clock, rule and container changes and restarts through the engine
// and through the oracle (test/oracle) and compares every transition and every state.
//
// ALERTING_STREAMS: how many streams (default 100000), seeds 1, 2, ...
// ALERTING_FIRST_SEED: where to begin instead of 1, for a longer hunt.
// ALERTING_SEED: that one stream only.
#include <gtest/gtest.h>
#include <malloc.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "oracle/duel.h"
#include "oracle/script.h"

namespace alerting::oracle {
namespace {

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr || *text == '\0' ? otherwise : std::strtoull(text, nullptr, 10);
}

// What the failed stream comes down to, with the command that shows it again.
std::string Report(uint64_t seed, const Script& script) {
  const Script small = Shrink(script);
  const auto difference = Duel(small);
  std::string text = "seed " + std::to_string(seed) + " (ALERTING_SEED=" + std::to_string(seed) +
                     " runs it alone), shrunk to\n" + Describe(small);
  if (difference) {
    text += "  they part at step " + std::to_string(difference->step) + ":\n" + difference->what;
  }
  return text;
}

TEST(Property, EngineMeansWhatTheOracleMeans) {
  // An engine's tables are large; taking them from the kernel anew for each stream would be most of
  // the time.
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 256 << 20);
  const uint64_t only = FromEnvironment("ALERTING_SEED", 0);
  const uint64_t first = only != 0 ? only : FromEnvironment("ALERTING_FIRST_SEED", 1);
  const uint64_t streams = only != 0 ? 1 : FromEnvironment("ALERTING_STREAMS", 100'000);
  constexpr int kMostFailures = 5;
  Tally tally;
  int failures = 0;
  for (uint64_t seed = first; seed < first + streams && failures < kMostFailures; ++seed) {
    const Script script = MakeScript(seed);
    if (only != 0) std::printf("seed %llu\n%s", (unsigned long long)seed, Describe(script).c_str());
    if (Duel(script, &tally)) {
      ++failures;
      ADD_FAILURE() << Report(seed, script);
    }
  }
  std::printf("seeds from %llu: %llu steps, %llu rows, %llu fired, %llu resolved, %llu restarts\n",
              (unsigned long long)first, (unsigned long long)tally.steps,
              (unsigned long long)tally.rows, (unsigned long long)tally.fires,
              (unsigned long long)tally.resolves, (unsigned long long)tally.restarts);
  // A generator that stopped to make anything happen would pass every comparison.
  if (streams >= 1000) {
    EXPECT_GT(tally.fires, streams);
    EXPECT_GT(tally.resolves, streams / 2);
    EXPECT_GT(tally.restarts, streams / 10);
  }
}

}  // namespace
}  // namespace alerting::oracle
