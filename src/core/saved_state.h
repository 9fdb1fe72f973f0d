// The saved form of a container: what `series_state` holds for it, as bytes. Written and read by
// the evaluator; reading survives hostile bytes.
// Invariant: Decode(Encode(x)) gives x; Decode takes nothing that Encode could not have written
// (finite readings, gains in order of time, each rule once).
#ifndef ALERTING_CORE_SAVED_STATE_H_
#define ALERTING_CORE_SAVED_STATE_H_

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/judged_rows.h"
#include "core/rule.h"
#include "core/series_state.h"
#include "core/time.h"

namespace alerting {

struct SavedReading {
  Micros at = kNoTime;
  Micros arrival = kNoTime;
  uint32_t source = 0;  // metric_source.id
  double value = 0;     // running: 0 when it runs, 1 when it is down
};

struct SavedRuleState {
  std::string rule_id;
  Phase phase = Phase::kPending;
  bool by_silence = false;
  bool from_alert = false;
  Micros since = kNoTime;
  Micros turned_at = kNoTime;  // as RuleState::turned_at
  double peak = 0;
  // The terms under which it was judged: a rule may be edited while nobody evaluates.
  Condition condition = Condition::kCpuUsage;
  NoData no_data = NoData::kKeep;
  double threshold = 0;
  Micros duration = 0;
};

struct SavedContainer {
  uint8_t has = 0;  // stream bits
  std::array<SavedReading, kStreams> readings;
  bool has_previous = false;
  double previous = 0;      // the restart counter's reading before the last
  bool has_memory = false;  // any part of it
  MemoryParts memory;
  bool memory_given = false;
  std::vector<Gain> gains;
  std::vector<SavedRuleState> states;
  JudgedRows judged;
};

std::string EncodeContainer(const SavedContainer& saved);
// False when the bytes are malformed; *saved is then unspecified.
bool DecodeContainer(std::string_view bytes, SavedContainer* saved);

}  // namespace alerting

#endif  // ALERTING_CORE_SAVED_STATE_H_
