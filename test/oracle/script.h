// Random streams of everything that can happen to an engine: rows, the clock, rules, containers,
// restarts. A stream is a plain list of steps made from a seed, the same on every machine, so that
// a failure can be replayed and shrunk. Used by the property test.
#ifndef ALERTING_TEST_ORACLE_SCRIPT_H_
#define ALERTING_TEST_ORACLE_SCRIPT_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "oracle/oracle.h"

namespace alerting::oracle {

// All times of a stream lie around this one.
inline constexpr Micros kEpoch = 800'000'000 * kSecond;

struct Step {
  enum class Kind { kRules, kAdd, kMove, kRemove, kJudge, kAdvance, kSave, kRestart, kSource };
  Kind kind = Kind::kAdvance;
  Micros now = kEpoch;           // kJudge: arrival
  std::vector<Rule> rules = {};  // kRules, kRestart: all of them
  std::string container = {}, organization = {};
  std::vector<Row> rows = {};  // kJudge: one transaction
  uint32_t source_id = 0;      // kSource: its settings from now on
  Source source = {};
  bool nothing_new = false;  // kJudge: all of it was judged before; nothing may happen
};

struct Script {
  std::vector<std::pair<uint32_t, Source>> sources;
  // False: what a container's change left is saved at once. True: only with its transitions, rule
  // edits and kSave steps, so that a restart meets older states and reads rows again.
  bool lazy_saves = false;
  std::vector<Step> steps;
};

Script MakeScript(uint64_t seed);

// For people: one line a step, times as seconds from kEpoch.
std::string Describe(const Step& step);
std::string Describe(const Script& script);

}  // namespace alerting::oracle

#endif  // ALERTING_TEST_ORACLE_SCRIPT_H_
