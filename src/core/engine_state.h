// The inside of the engine, shared by its files: judge.cpp (samples), rule_state.cpp (the state
// machine of a rule on a container), deadlines.cpp (the clock), rule_changes.cpp (edits and moves),
// restore.cpp (saved forms), explain.cpp. Runs in the evaluator, one thread.
//
// Invariants between calls:
//  - a rule without a RuleState on a container is OK there;
//  - every deadline that the clock could bring is covered by the container's entry in `queue`,
//    whose time is the deadline's or earlier (Container::scheduled is that entry's time);
//  - Container::changed is set for exactly the containers in `changed`, except removed ones.
#ifndef ALERTING_CORE_ENGINE_STATE_H_
#define ALERTING_CORE_ENGINE_STATE_H_

#include <algorithm>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/chunked_vector.h"
#include "core/container_index.h"
#include "core/deadline_queue.h"
#include "core/engine.h"
#include "core/judged_rows.h"
#include "core/rule_set.h"
#include "core/saved_state.h"
#include "core/series_state.h"

namespace alerting {

// The readings of one container at one time: a sample, or several merged.
struct Readings {
  uint8_t present = 0;  // Reading bits, of finite values only
  bool running = false;
  double cpu = 0;
  double memory = 0;
  double memory_used = 0;
  double memory_limit = 0;
  double restarts = 0;
  std::array<uint16_t, kStreams> source = {};  // the engine's numbers
  uint16_t parts_source = 0;                   // of memory_used and memory_limit
};

// How a rule sees the metric that it looks at.
struct StreamView {
  bool has = false;
  bool silenced = false;
  Micros last_at = kNoTime;
  Micros arrival = kNoTime;     // wall-clock time at which that reading came
  Micros base = kNoTime;        // wall-clock time that corresponds to last_at for deadlines
  Micros silent_from = kNever;  // sample time at which silence begins

  // When the wall clock reaches a sample time: the last reading's time it always has reached,
  // kNever it never will.
  Micros WallOf(Micros time) const {
    if (time == kNever) return kNever;
    return time <= last_at ? kNoTime : AddTime(base, SubtractTime(time, last_at));
  }
  bool IsPast(Micros time, Micros now) const { return time != kNever && WallOf(time) <= now; }
  bool IsSilent(Micros now) const { return has && IsPast(silent_from, now); }
  // The metric's own time when the wall clock shows `now`.
  Micros VirtualTime(Micros now) const {
    return has ? AddTime(last_at, std::max<Micros>(0, SubtractTime(now, base))) : now;
  }
  // The same, whatever restarts lie between: when something happened that is no deadline.
  Micros TimeOf(Micros now) const {
    return has ? AddTime(last_at, std::max<Micros>(0, SubtractTime(now, arrival))) : now;
  }
};

struct Engine::State {
  State(Micros start, Micros since);

  // --- judge.cpp: samples

  // One sample of a transaction, ready to be judged.
  struct Item {
    uint32_t container;
    uint32_t sample;
    Micros at;  // after the correction of times in the future
  };
  void Judge(std::span<const Sample> samples, std::span<const ContainerRef> refs, Micros arrival);
  // Fills `items`; false when they have to be sorted before they can be judged.
  bool Collect(std::span<const Sample> samples, std::span<const ContainerRef> refs, Micros arrival);
  void JudgeItems(std::span<const Sample> samples, Micros arrival);
  // Judges the readings of one time; returns the Reading bits of those that came late.
  uint8_t JudgeReadings(uint32_t number, Readings& readings, Micros at, Micros arrival);
  // Keeps the parts of a memory percentage and makes a reading of them when they give one; returns
  // the bits of late parts.
  uint8_t TakeMemoryParts(uint32_t number, Container& container, Readings& readings, Micros at);
  enum class Taken : uint8_t { kLate, kRepeat, kNew, kCorrection };
  Taken TakeReading(uint32_t number, Container& container, int stream, Micros at, double value,
                    uint16_t source, Micros arrival);
  // Counts what a counter that is read anew (or corrected) has gained.
  void TakeRestarts(Container& container, Micros at, double value, bool is_correction);
  // CONTAINER_DOWN without `running`: a newer reading of any stream ended the silence.
  void EndSilenceOfAll(uint32_t number, Container& container, Micros at);
  // `fresh`: stream bits of the new readings.
  void ScheduleAfter(uint32_t number, Container& container, const Readings& readings, uint8_t fresh,
                     Micros arrival);
  uint16_t SourceNumber(uint32_t id);
  void SetSource(uint32_t id, const SourceSettings& settings);

  // --- judge_again.cpp: what a restart, which reads rows again, must not take for news

  void RememberAhead(uint32_t number, const Sample& sample);
  // Another row has corrected what one said of this time.
  void Supersede(uint32_t number, Container& container, Reading reading, Micros at, double value);
  // The rows are of one container and time, and merged; the last one's readings count.
  void NoteOverridden(std::span<const Sample> samples, std::span<const Item> merged);
  JudgedRows& JudgedOf(Container& container);
  // When these metrics (Reading bits) were read last: the oldest of them (kNever when none was) and
  // the newest (kNoTime). The parts of memory have times of their own.
  std::pair<Micros, Micros> TimesRead(const Container& container, uint8_t readings) const;

  // --- rule_state.cpp: what a reading or the clock does to the rules of a container

  // Judges a new reading of a stream, or one that corrects the last one, whose value was
  // `corrected`. `run_broken`: a gap ended what was pending.
  void JudgeStream(uint32_t number, Container& container, int stream, Micros at, double value,
                   bool run_broken, std::optional<double> corrected);
  void JudgeState(uint32_t number, Container& container, uint32_t* link, Micros at, double value,
                  bool run_broken, std::optional<double> corrected);
  // What was said before breached already, so that its correction begins nothing. Restarts are
  // counted over a window: of theirs a single reading does not tell.
  static bool Breached(const Terms& terms, std::optional<double> corrected) {
    return corrected && terms.condition != Condition::kRestartLoop && *corrected > terms.threshold;
  }
  // The figure that a rule compares with its threshold at time `at`, given the stream's value.
  double Figure(const Container& container, const Terms& terms, Micros at, double value) const;
  // The greatest figure that any rule of the stream can see.
  double GreatestFigure(const Container& container, int stream, double value) const;
  // The figure by the last reading, at its time or at a later one.
  double FigureAt(const Container& container, const Terms& terms, Micros at) const;
  double LastFigure(const Container& container, const Terms& terms) const;
  // Makes a PENDING run of an OK rule; `place` is its state, kNil when it has none.
  RuleState& StartRun(Container& container, uint32_t rule, uint32_t place, Micros since,
                      double figure);
  void Fire(uint32_t number, RuleState& state, Micros fired_at, double figure);
  // Resolves a FIRING state at `at`, but not before it fired, and ends it.
  void Resolve(uint32_t number, uint32_t* link, Micros at, double figure, ResolveReason reason);
  Transition& Tell(uint32_t number, const RuleState& state, Transition::Kind kind);
  // Makes a state OK. It is kept while readings from before its last transition may come, that is
  // as long as the metric's last reading is older.
  void EndState(const Container& container, uint32_t* link);
  // Silence ends the run or the alert.
  void EndBySilence(uint32_t number, uint32_t* link, Micros at);
  // Takes the state that `link` refers to out of its list; `link` then refers to the next one.
  void Drop(uint32_t* link);
  uint32_t FindState(const Container& container, uint32_t rule) const;
  void MarkChanged(uint32_t number, Container& container);

  // --- deadlines.cpp: the clock

  StreamView View(const Container& container, Condition condition) const;
  int NewestStream(const Container& container) const;  // -1 when none was ever read
  std::array<Micros, 3> Newness(const Container& container, int stream) const;
  // The state's own deadline (a DOWN duration, a window's end); kNever when it has none.
  WindowEnd OwnDeadline(const Container& container, const RuleState& state) const;
  // Applies own deadlines of a stream's rules that lie strictly before `time`.
  void PassDeadlinesBefore(uint32_t number, Container& container, int stream, Micros time);
  // Applies the state's own deadline; may drop the state.
  void PassOwnDeadline(uint32_t number, Container& container, uint32_t* link, const WindowEnd& end);
  // Lets everything pass that is due at wall-clock time `now`.
  void PassClock(uint32_t number, Container& container, Micros now);
  void PassSilence(uint32_t number, Container& container, Condition condition,
                   const StreamView& view);
  void PassSilenceOf(uint32_t number, Container& container, uint32_t* link, const StreamView& view);
  void FireBySilence(uint32_t number, const Container& container, RuleState& state,
                     const StreamView& view);
  Micros NearestWall(const Container& container) const;
  void ScheduleNoLaterThan(uint32_t number, Container& container, Micros wall);
  void Schedule(uint32_t number, Container& container);  // anew, from all that is known
  void Advance(Micros now);

  // --- rule_changes.cpp

  void SetRules(std::vector<Rule> rules, Micros now);
  void CloseOldStates(uint32_t number, Container& container, Micros now);
  void JudgeChanges(uint32_t number, Container& container,
                    const std::unordered_map<uint32_t, std::vector<uint32_t>>& by_organization,
                    Micros now);
  // Judges a rule that is OK on the container on the last readings; `place` is its state, if any.
  void JudgeAsNew(uint32_t number, Container& container, uint32_t rule, uint32_t place, Micros now);
  void JudgeAllAsNew(uint32_t number, Container& container, Micros now);
  // Judges a state under changed terms; may drop it. `audible`: the metric had not gone silent
  // before a start that begins to measure its silence anew.
  void JudgeUnderNewTerms(uint32_t number, Container& container, uint32_t* link,
                          const Terms& before, Micros now, bool audible = true);
  void JudgePendingAnew(uint32_t number, Container& container, uint32_t* link, const Terms& before,
                        Micros now, bool audible);
  void JudgeFiringAnew(uint32_t number, Container& container, uint32_t* link, Micros now);
  void Close(uint32_t number, Container& container, uint32_t* link, ResolveReason reason,
             Micros now);
  void SetOrganization(uint32_t number, std::string_view organization, Micros now);
  void Remove(uint32_t number);

  // --- restore.cpp

  SavedContainer Snapshot(const Container& container) const;
  void Take(uint32_t number, Container& container, const SavedContainer& saved);
  uint64_t RestoreAlert(uint32_t number, std::string_view rule_id, Micros started_at,
                        Micros fired_at, double value);
  void FinishRestore();
  void FinishContainer(uint32_t number, Container& container);
  void JudgeMissedRules(uint32_t number, Container& container, uint8_t audible);
  static uint64_t PairOf(uint32_t container, uint32_t rule) {
    return uint64_t{container} << 32 | rule;
  }

  // The container of a key that is written in another way than it is known by.
  ContainerRef FindSpelling(std::string_view other) const {
    if (spellings.empty()) return kNoContainer;
    const auto found = spellings.find(std::string(other));
    return found == spellings.end() ? kNoContainer : index.Find(found->second);
  }

  const Micros started;
  const Micros watched_since;
  ContainerIndex index;
  std::unordered_map<std::string, std::string> spellings;
  ChunkedVector<Container, 10> containers;
  ChunkedVector<uint32_t, 10> stamps;  // by container: where in the transaction it was seen last
  Pool<RuleState, 10> states;
  Pool<MemoryParts, 10> memory;
  Pool<RestartGains, 10> gains;
  Pool<JudgedRows, 4> judged_rows;
  RuleSet rules;
  DeadlineQueue queue;

  std::vector<SourceSettings> sources;  // [0]: of those never set
  std::vector<uint32_t> source_ids;     // metric_source.id, by the engine's number
  std::unordered_map<uint32_t, uint16_t> source_numbers;
  uint32_t last_source_id = 0;  // the samples of a transaction mostly share one
  uint16_t last_source = 0;

  std::vector<Item> items;
  uint32_t stamp_base = 0;
  std::vector<uint32_t> changed;
  std::vector<Transition> transitions;
  // By PairOf: a rule's terms when a container's state was saved. Empty after FinishRestore.
  std::unordered_map<uint64_t, Terms> restored_terms;
  uint64_t next_alert = 1;
  EngineCounters counters;
};

}  // namespace alerting

#endif  // ALERTING_CORE_ENGINE_STATE_H_
