// A second, slow and obvious implementation of what rules mean (docs/design.md), used by tests
// only: the property test drives random streams through it and through the engine, and test
// programs ask it which alerts must exist. It shares nothing with src/core but plain data types,
// keeps every reading for ever and counts windows from the whole history, so that there is little
// to get wrong.
#ifndef ALERTING_TEST_ORACLE_ORACLE_H_
#define ALERTING_TEST_ORACLE_ORACLE_H_

#include <array>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/rule.h"
#include "core/sample.h"
#include "core/time.h"

namespace alerting::oracle {

inline constexpr double kNoValue = std::numeric_limits<double>::quiet_NaN();

struct Source {
  Micros max_age = kHour;  // kNever: no limit
  Micros stale_after = 5 * kMinute;
};

// One metric row; NaN and infinite values are no reading.
struct Row {
  std::string container = {};
  Micros at = 0;
  uint32_t source = 0;
  std::optional<double> cpu = {}, memory = {}, memory_used = {}, memory_limit = {}, restarts = {};
  std::optional<bool> running = {};
};

struct Event {
  bool fire = false;  // otherwise resolve
  std::string container;
  std::string rule;
  Micros started_at = kNoTime;
  Micros fired_at = kNoTime;
  Micros resolved_at = kNoTime;  // resolve only
  double value = 0;              // NaN: none
  double peak = 0;               // NaN: none
  ResolveReason reason = ResolveReason::kRecovered;
};

struct Reading {
  Micros at;
  double value;  // running: 0 or 1
};

// All readings of one metric of one container, oldest first.
struct Stream {
  std::vector<Reading> readings;
  Micros arrival = kNoTime;  // of the newest reading, by the wall clock
  uint32_t source = 0;       // that brought the newest reading
};

enum class Phase { kOk, kPending, kFiring };

// One rule on one container.
struct Pair {
  Phase phase = Phase::kOk;
  Micros since = kNoTime;            // of the run
  Micros fired_at = kNoTime;         // kFiring
  bool by_silence = false;           // kFiring: because nothing more came
  bool ended_by_silence = false;     // kOk: because nothing more came, and nothing did since
  Micros last_transition = kNoTime;  // nothing of this pair is judged as of an earlier time
  double peak = 0;                   // highest value of the run
};

struct Remembered {
  Micros at = kNoTime;
  std::optional<double> value;
};

struct Container {
  std::string organization;
  std::array<Stream, kConditions> streams;  // by the condition that looks at it
  Remembered used, limit;
  bool memory_given = false;          // the last reading of memory, as a percentage
  std::map<std::string, Pair> pairs;  // by rule id; no entry is Pair{}
};

// Since the last start.
struct Counters {
  uint64_t samples = 0;   // rows of known containers
  uint64_t late = 0;      // rows with a reading older than the last one judged
  uint64_t backfill = 0;  // rows older than their source's max_age
};

// A container's state on disk, and the rules under which it came to be.
struct Saved {
  Container container;
  std::vector<Rule> rules;
};

class Oracle {
 public:
  explicit Oracle(Micros started) : started_(started) {}

  // Counts from now on, also for what was read before.
  void SetSource(uint32_t id, const Source& source) { sources_[id] = source; }
  void SetRules(const std::vector<Rule>& rules, Micros now);
  void AddContainer(const std::string& key, const std::string& organization);
  void SetOrganization(const std::string& key, const std::string& organization, Micros now);
  void Remove(const std::string& key) { containers_.erase(key); }
  // One transaction. `arrival` kNoTime: each row arrived at its own time.
  void Judge(const std::vector<Row>& rows, Micros arrival);
  void Advance(Micros now);
  // The server starts again at `now`, all state kept; silence is measured anew.
  void Restart(Micros now);
  // The same, from older states with the organizations and rules that stand now: they may have
  // changed while nobody evaluated.
  void Restart(Micros now, const std::map<std::string, Saved>& saved,
               const std::vector<Rule>& rules);

  // What happened since the last call.
  std::vector<Event> TakeEvents();

  const std::map<std::string, Container>& containers() const { return containers_; }
  const std::vector<Rule>& rules() const { return rules_; }
  const Counters& counters() const { return counters_; }

 private:
  struct MergedRow;

  static bool ReportsRunning(const Container& container);
  // Does this value, by itself, breach?
  static bool Breaches(const Rule& rule, double value);
  static void Drop(Pair& pair);  // the run, if any, is over without an alert
  static void BeginRun(Pair& pair, Micros since, double value);

  std::vector<const Rule*> RulesOf(const Container& container) const;
  Source SourceOf(uint32_t id) const;
  Micros StaleAfter(const Stream& stream) const { return SourceOf(stream.source).stale_after; }
  // Where silence begins: time of the last reading plus its source's stale_after.
  Micros SilentAt(const Stream& stream) const;
  const Stream* Newest(const Container& container) const;
  const Stream* LookedAt(const Container& container, const Rule& rule) const;
  Micros VirtualNow(const Stream& stream, Micros now) const;

  static uint8_t Merge(const Row& row, MergedRow& merged);
  // Which readings (alerting::Reading bits) were late.
  uint8_t JudgeRow(const std::string& key, Container& container, const MergedRow& row,
                   Micros arrival);
  // False when it is late.
  bool JudgeReading(const std::string& key, Container& container, Condition metric, Micros at,
                    double value, uint32_t source, Micros arrival);
  void JudgeNewReading(const std::string& key, Container& container, const Rule& rule,
                       std::optional<Reading> previous, Micros previous_stale_after);
  // `corrected`: what was said before.
  void JudgeCorrection(const std::string& key, Container& container, const Rule& rule,
                       double corrected);
  void JudgeNewRule(const std::string& key, Container& container, const Rule& rule, Micros now);
  void JudgeEditedRule(const std::string& key, Container& container, const Rule& rule,
                       const Rule& old_rule, Micros now, bool audible = true);
  void JudgeAfterRestart(const std::string& key, Container& container, const Rule& rule,
                         const Rule* old_rule, Micros now);
  void CloseForRule(const std::string& key, Container& container, const Rule& rule, Micros now,
                    ResolveReason reason);
  // Lets the rule's own deadline (DOWN's end of the duration, a window's end) pass, up to and
  // including `until`.
  void PassDeadline(const std::string& key, Container& container, const Rule& rule, Micros until);
  void PassSilence(const std::string& key, Container& container, const Rule& rule,
                   Micros silent_at);

  // Restarts gained in (until - window, until], from the whole history.
  static double RestartsGained(const Stream& restarts, Micros until, Micros window);
  double CurrentValue(const Container& container, const Rule& rule, Micros as_at) const;
  void Fire(const std::string& key, const Rule& rule, Pair& pair, Micros started_at, Micros at,
            double value, bool by_silence);
  void Resolve(const std::string& key, const Rule& rule, Pair& pair, Micros at, double value,
               ResolveReason reason);

  Micros started_;
  std::map<uint32_t, Source> sources_;
  std::vector<Rule> rules_;
  std::map<std::string, Container> containers_;
  std::vector<Event> events_;
  Counters counters_;
};

}  // namespace alerting::oracle

#endif  // ALERTING_TEST_ORACLE_ORACLE_H_
