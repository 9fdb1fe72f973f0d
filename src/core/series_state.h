// What the engine keeps for one container: the last reading of each metric, and the rules that are
// not OK on it. Used by the evaluator.
// Invariant: a rule without a RuleState is OK. All of a container's ordinary state is one
// Container, two cache lines, since memory latency is what limits the engine at a million
// containers.
#ifndef ALERTING_CORE_SERIES_STATE_H_
#define ALERTING_CORE_SERIES_STATE_H_

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "core/chunked_vector.h"
#include "core/rule.h"
#include "core/time.h"

namespace alerting {

// The judged metrics, each with its own last reading; numbered as the conditions that look at them.
enum Stream : uint8_t { kCpuStream, kMemoryStream, kRunningStream, kRestartsStream };
inline constexpr int kStreams = 4;
constexpr Stream StreamOf(Condition condition) { return static_cast<Stream>(condition); }
constexpr uint8_t StreamBit(int stream) { return static_cast<uint8_t>(1 << stream); }

struct alignas(64) Container {
  std::array<Micros, kStreams> at = {};        // time of the last reading
  std::array<Micros, kStreams> arrival = {};   // wall-clock time at which it came
  std::array<double, 3> values = {};           // CPU, memory, restarts
  Micros scheduled = kNever;                   // its entry in the deadline queue
  std::array<uint16_t, kStreams> source = {};  // the engine's number of the reading's source
  uint32_t organization = kNil;
  uint32_t states = kNil;  // list of RuleState
  uint32_t memory = kNil;  // MemoryParts
  uint32_t gains = kNil;   // RestartGains
  uint32_t judged = kNil;  // JudgedRows
  uint8_t has = 0;         // stream bits: ever read
  // Stream bits: the stream is silent, the rules know it, and nothing changed since. The bit of
  // `running` stands for the newest of all streams as long as `running` was never read.
  uint8_t silenced = 0;
  bool running = false;
  bool has_previous : 1 = false;  // the restart counter was read at least twice
  bool memory_given : 1 = false;  // the last percentage of memory was given, not made of parts
  bool changed : 1 = false;       // its saved form changed since the last TakeChanged

  bool Has(int stream) const { return (has & StreamBit(stream)) != 0; }
  // `running` is 1 when the container is down, so that for every stream more is worse.
  double Value(int stream) const {
    if (stream == kRunningStream) return running ? 0.0 : 1.0;
    return values[static_cast<size_t>(stream == kRestartsStream ? 2 : stream)];
  }
  void SetValue(int stream, double value) {
    if (stream == kRunningStream) {
      running = value == 0.0;
    } else {
      values[static_cast<size_t>(stream == kRestartsStream ? 2 : stream)] = value;
    }
  }
};
static_assert(sizeof(Container) == 128);

// kOk: the rule is OK again, since a moment that the container's readings have not reached yet.
enum class Phase : uint8_t { kPending, kFiring, kOk };

// A rule that is not simply OK on a container.
struct RuleState {
  Micros since = kNoTime;  // start of the run; alert.started_at once it fires
  // Time of the last transition (fired_at of what fires), kNoTime when there was none. The clock
  // may have brought it before readings of earlier times came; those are judged as at this time, so
  // that a pair's transitions never run backwards.
  Micros turned_at = kNoTime;
  double peak = 0;       // highest reading of the run
  uint64_t alert = 0;    // firing only
  uint32_t rule = kNil;  // number in the RuleSet
  uint32_t next = kNil;
  Condition condition = Condition::kCpuUsage;
  Phase phase = Phase::kPending;
  bool by_silence =
      false;  // fires because nothing came; kOk: ended for that, and nothing came since
  bool unconfirmed = false;  // saved as firing, not (yet) confirmed by RestoreAlert
  // Restored from its alert alone: readings before turned_at were judged in an earlier life.
  bool from_alert = false;
};

// The last known parts of a memory percentage.
struct MemoryParts {
  Micros used_at = kNoTime;
  Micros limit_at = kNoTime;
  double used = 0;
  double limit = 0;  // 0: no limit
  uint32_t next = kNil;
  bool has_used = false;
  bool has_limit = false;  // a limit, or "no limit", was ever said
};

struct Gain {
  Micros at;
  double restarts;
};

// The restarts that some rule's window may still hold. Only for containers that restarted.
struct RestartGains {
  std::vector<Gain> list;  // in order of time; the first `head` have left every window
  double previous = 0;     // the counter before its last reading
  uint32_t head = 0;
  uint32_t next = kNil;

  std::span<const Gain> View() const { return std::span<const Gain>(list).subspan(head); }
  void DropUntil(Micros time);  // drops the gains at or before `time`
};

// What a counter gains when it is read as `value` after `previous`; one that fell was reset.
constexpr double GainOf(double previous, double value) {
  return value >= previous ? value - previous : value;
}
// The restarts gained in (at - window, at].
double CountGains(std::span<const Gain> gains, Micros at, Micros window);

// When the window alone brings the count down to the threshold, `at` being the last reading's time.
struct WindowEnd {
  Micros at = kNever;
  double count = 0;
};
WindowEnd FindWindowEnd(std::span<const Gain> gains, Micros at, Micros window, double threshold);

}  // namespace alerting

#endif  // ALERTING_CORE_SERIES_STATE_H_
