// Runs a script through the engine and the oracle side by side and says where they part. Used by
// the property test and the settled cases.
#ifndef ALERTING_TEST_ORACLE_DUEL_H_
#define ALERTING_TEST_ORACLE_DUEL_H_

#include <optional>
#include <string>
#include <vector>

#include "oracle/oracle.h"
#include "oracle/script.h"

namespace alerting::oracle {

struct Difference {
  size_t step = 0;
  std::string what;
};

// What both did, for statistics.
struct Tally {
  uint64_t steps = 0, rows = 0, fires = 0, resolves = 0, restarts = 0;
};

std::optional<Difference> Duel(const Script& script, Tally* tally = nullptr);

// A smaller script that still shows a difference.
Script Shrink(const Script& script);

// The engine alone; the events of the whole script in the order they came.
std::vector<Event> RunEngine(const Script& script);

// In which phase the engine is at the end.
Phase EngineState(const Script& script, const std::string& container, const std::string& rule);

std::string Describe(const Event& event);

}  // namespace alerting::oracle

#endif  // ALERTING_TEST_ORACLE_DUEL_H_
