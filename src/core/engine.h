// The evaluator's mind: every container's readings and every rule's state, in memory.
// Samples, rules and the time go in, transitions come out. No I/O, no clock, one thread.
//
// Two clocks: sample times decide; wall-clock times (`arrival`, `now`) only say how long ago a
// container's last sample arrived, so that deadlines pass for containers that send nothing more
// (docs/design.md, "What a rule means").
#ifndef ALERTING_CORE_ENGINE_H_
#define ALERTING_CORE_ENGINE_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/rule.h"
#include "core/sample.h"
#include "core/time.h"

namespace alerting {

// A container known to the engine. Small dense numbers; a removed container's is used again.
using ContainerRef = uint32_t;
inline constexpr ContainerRef kNoContainer = UINT32_MAX;

struct SourceSettings {
  Micros max_age = kHour;  // kNever: no limit
  Micros stale_after = 5 * kMinute;
};

struct Transition {
  enum class Kind : uint8_t { kFire, kResolve };
  Kind kind = Kind::kFire;
  uint64_t alert = 0;  // the engine's number of it, shared by fire and resolve of one incident
  ContainerRef container = kNoContainer;
  std::string container_key;
  std::string rule_id;
  Micros started_at = kNoTime;
  Micros fired_at = kNoTime;
  Micros resolved_at = kNoTime;  // kResolve only
  double value = 0;              // the reading that decided; restarts in the window; NaN when none
  double peak = 0;               // the highest value since started_at
  ResolveReason reason = ResolveReason::kRecovered;
};

struct EngineCounters {
  uint64_t samples = 0;   // samples handed in for known containers
  uint64_t late = 0;      // samples of which at least one reading was older than the last judged
  uint64_t backfill = 0;  // samples older than their source's max_age
  uint64_t transitions = 0;
};

// What the engine knows of one rule on one container, for explain().
struct Explanation {
  enum class State : uint8_t { kOk, kPending, kFiring };
  State state = State::kOk;
  bool has_reading = false;  // the rule's metric has ever been read
  Micros last_at = kNoTime;  // time of that last reading
  double last_value = 0;     // percent; 0/1 for running; restarts in the window
  bool breaching = false;    // the last reading breaches
  Micros since = kNoTime;    // start of the run (pending or firing)
  Micros fired_at = kNoTime;
  double peak = 0;              // pending or firing: the highest value since `since`; NaN when none
  Micros fires_at = kNever;     // pending: the earliest sample time at which it may fire
  Micros resolves_at = kNever;  // firing RESTART_LOOP: when the window alone resolves it
  Micros virtual_now = kNoTime;  // the container's time by the engine's clock rule
  Micros stale_at = kNever;      // when silence begins (sample time)
  bool silent = false;           // that time has passed
  bool by_silence = false;       // firing because of silence
};

class Engine {
 public:
  // `started`: wall-clock time of the start, as of which FinishRestore judges what was missed.
  // `watched_since`: silence is never measured from before it.
  Engine(Micros started, Micros watched_since);
  explicit Engine(Micros started) : Engine(started, started) {}
  ~Engine();
  Micros watched_since() const;
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // --- configuration -------------------------------------------------------------------------
  void SetSource(uint32_t source, const SourceSettings& settings);
  // Of all that are not set; the defaults of SourceSettings unless called before Restore.
  void SetOtherSources(const SourceSettings& settings);
  // Replaces all rules. A rule that is absent now was deleted: its states are dropped without a
  // transition (the database closes its alerts). One that is disabled, or whose condition or
  // organization changed, resolves its alerts. New and changed rules are judged at once on the
  // last readings known.
  void SetRules(std::vector<Rule> rules, Micros now);

  // --- containers ----------------------------------------------------------------------------
  ContainerRef Find(std::string_view key) const;
  // Finds the container of each sample, kNoContainer where it is unknown. Of a large batch several
  // times quicker than one Find after another, since memory is asked for ahead.
  void FindAll(std::span<const Sample> samples, std::span<ContainerRef> containers) const;
  ContainerRef Add(std::string_view key, std::string_view organization);
  // `other` is another way to write this key. `key` need not be known, now or later.
  void AddSpelling(std::string_view other, std::string_view key);
  // A container that moved resolves under the old organization's rules and is judged by the new.
  void SetOrganization(ContainerRef container, std::string_view organization, Micros now);
  // The container is gone (with its alerts): forgets it without a transition.
  void Remove(ContainerRef container);
  size_t container_count() const;
  // Refs lie in [0, ref_limit()); a free one has no container, and an empty key, as containers may.
  ContainerRef ref_limit() const;
  bool Has(ContainerRef container) const;
  std::string_view Key(ContainerRef container) const;
  std::string_view Organization(ContainerRef container) const;

  // --- samples and time ----------------------------------------------------------------------
  // Judges the samples of one transaction: containers[i] is that of samples[i] (kNoContainer:
  // skipped). Sorted by time per container here; several rows at one time of one container are
  // merged, the last reading of each metric counts. `arrival` is the wall-clock time of the commit;
  // kNoTime means "each sample arrived at its own time" (preview).
  void Judge(std::span<const Sample> samples, std::span<const ContainerRef> containers,
             Micros arrival);
  // Lets deadlines (DOWN durations, window ends, silence) pass up to wall-clock time `now`.
  void Advance(Micros now);
  // Wall-clock time of the nearest deadline, kNever when none.
  Micros NextDeadline() const;

  // Moves out what happened since the last call, oldest first per container and rule.
  std::vector<Transition> TakeTransitions();
  const EngineCounters& counters() const;

  // Everything that these metrics (Reading bits) said of the container up to this time has been
  // judged; kNoTime when none of them was ever read. Where a replay of stored rows may begin.
  Micros JudgedUntil(ContainerRef container, uint8_t readings) const;
  // Takes from stored rows (by the containers that they are of) the readings that were judged
  // before, though they do not show: rows that came with a time too far ahead, and what was said
  // of a time before another row corrected it.
  void ClearJudged(std::span<Sample> samples, std::span<const ContainerRef> containers) const;
  // The newest of what these metrics said; kNoTime when none of them was ever read.
  Micros LastRead(ContainerRef container, uint8_t readings) const;

  // --- state across restarts -----------------------------------------------------------------
  // Containers whose saved form changed since the last call (each once).
  std::vector<ContainerRef> TakeChanged();
  // A compact form of everything known about a container but its organization and its FIRING
  // alerts' numbers. Readings are saved with their times, so that a replay of rows judged before
  // changes nothing and a correction is recognised.
  std::string Save(ContainerRef container) const;
  // Takes a saved form for a container just added; call after SetRules. False: the bytes are
  // malformed and nothing was taken. States of unknown rules are dropped; a saved FIRING state is
  // only kept where RestoreAlert confirms it afterwards (FinishRestore drops the others).
  bool Restore(ContainerRef container, std::string_view saved);
  // An alert that is FIRING in the database. Returns its number.
  uint64_t RestoreAlert(ContainerRef container, std::string_view rule_id, Micros started_at,
                        Micros fired_at, double value);
  void FinishRestore();

  // --- insight -------------------------------------------------------------------------------
  Explanation Explain(ContainerRef container, std::string_view rule_id, Micros now) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace alerting

#endif  // ALERTING_CORE_ENGINE_H_
