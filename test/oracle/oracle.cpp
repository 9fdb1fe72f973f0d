// See oracle.h. Runs in test programs only. Invariant: a container's state is a plain value; a copy
// of it is a complete snapshot.
#include "oracle/oracle.h"

#include <algorithm>
#include <cmath>
#include <tuple>
#include <utility>

namespace alerting::oracle {
namespace {

constexpr double kNoLimit = 1152921504606846976.0;  // 2^60: no machine has that much memory

size_t Index(Condition metric) { return static_cast<size_t>(metric); }

Stream& StreamOf(Container& container, Condition metric) {
  return container.streams[Index(metric)];
}
const Stream& StreamOf(const Container& container, Condition metric) {
  return container.streams[Index(metric)];
}

}  // namespace

// --- who looks at what
// ----------------------------------------------------------------------------

Source Oracle::SourceOf(uint32_t id) const {
  const auto found = sources_.find(id);
  return found == sources_.end() ? Source{} : found->second;
}

Micros Oracle::SilentAt(const Stream& stream) const {
  return AddTime(stream.readings.back().at, StaleAfter(stream));
}

std::vector<const Rule*> Oracle::RulesOf(const Container& container) const {
  std::vector<const Rule*> found;
  for (const Rule& rule : rules_) {
    if (rule.enabled && rule.organization == container.organization) found.push_back(&rule);
  }
  return found;
}

bool Oracle::ReportsRunning(const Container& container) {
  return !StreamOf(container, Condition::kContainerDown).readings.empty();
}

bool Oracle::Breaches(const Rule& rule, double value) {
  if (rule.condition == Condition::kContainerDown) return value == 0;
  return value > rule.threshold;
}

// The stream with the newest reading; of equally new ones the one that goes silent last.
const Stream* Oracle::Newest(const Container& container) const {
  const Stream* newest = nullptr;
  auto rank = [this](const Stream& stream) {
    return std::tuple(stream.readings.back().at,
                      AddTime(std::max(stream.arrival, started_), StaleAfter(stream)),
                      StaleAfter(stream));
  };
  for (const Stream& stream : container.streams) {
    if (stream.readings.empty()) continue;
    if (newest == nullptr || rank(stream) > rank(*newest)) newest = &stream;
  }
  return newest;
}

// The stream whose readings and silence decide; null when there is no reading.
const Stream* Oracle::LookedAt(const Container& container, const Rule& rule) const {
  if (rule.condition == Condition::kContainerDown && !ReportsRunning(container)) {
    return Newest(container);
  }
  const Stream& stream = StreamOf(container, rule.condition);
  return stream.readings.empty() ? nullptr : &stream;
}

// The last reading's time plus the wall-clock time since it arrived (or since the start, if later).
Micros Oracle::VirtualNow(const Stream& stream, Micros now) const {
  const Micros waited = SubtractTime(now, std::max(stream.arrival, started_));
  return AddTime(stream.readings.back().at, std::max<Micros>(waited, 0));
}

// Restarts gained in (until - window, until], from the whole history.
double Oracle::RestartsGained(const Stream& restarts, Micros until, Micros window) {
  double gained = 0;
  for (size_t i = 1; i < restarts.readings.size(); ++i) {
    const Reading& before = restarts.readings[i - 1];
    const Reading& after = restarts.readings[i];
    const bool inside = after.at > SubtractTime(until, window) && after.at <= until;
    if (!inside) continue;
    gained += after.value >= before.value ? after.value - before.value : after.value;
  }
  return gained;
}

double Oracle::CurrentValue(const Container& container, const Rule& rule, Micros as_at) const {
  if (rule.condition == Condition::kContainerDown) return kNoValue;
  const Stream& stream = StreamOf(container, rule.condition);
  if (rule.condition != Condition::kRestartLoop) return stream.readings.back().value;
  return RestartsGained(stream, as_at, rule.duration);
}

// --- what changes a pair
// --------------------------------------------------------------------------

void Oracle::Drop(Pair& pair) {
  pair.phase = Phase::kOk;
  pair.since = kNoTime;
}

void Oracle::BeginRun(Pair& pair, Micros since, double value) {
  pair.phase = Phase::kPending;
  pair.since = since;
  pair.peak = value;
}

void Oracle::Fire(const std::string& key, const Rule& rule, Pair& pair, Micros started_at,
                  Micros at, double value, bool by_silence) {
  pair.phase = Phase::kFiring;
  pair.since = started_at;
  pair.fired_at = at;
  pair.by_silence = by_silence;
  pair.last_transition = at;
  events_.push_back({.fire = true,
                     .container = key,
                     .rule = rule.id,
                     .started_at = started_at,
                     .fired_at = at,
                     .resolved_at = kNoTime,
                     .value = value,
                     .peak = pair.peak,
                     .reason = ResolveReason::kRecovered});
}

void Oracle::Resolve(const std::string& key, const Rule& rule, Pair& pair, Micros at, double value,
                     ResolveReason reason) {
  events_.push_back({.fire = false,
                     .container = key,
                     .rule = rule.id,
                     .started_at = pair.since,
                     .fired_at = pair.fired_at,
                     .resolved_at = at,
                     .value = value,
                     .peak = pair.peak,
                     .reason = reason});
  pair = Pair{.last_transition = at};
}

// --- readings
// -------------------------------------------------------------------------------------

struct Oracle::MergedRow {
  struct Value {
    double value;
    uint32_t source;
  };
  Micros at = 0;
  std::optional<Value> cpu, memory, used, limit, running, restarts;
  uint32_t memory_parts_source = 0;  // of the last row that brought used or limit
};

void Oracle::Judge(const std::vector<Row>& rows, Micros arrival) {
  struct Taken {
    Micros at;
    const Row* row;
  };
  std::map<std::string, std::vector<Taken>> by_container;
  for (const Row& row : rows) {
    if (!containers_.contains(row.container)) continue;
    ++counters_.samples;
    const Source source = SourceOf(row.source);
    Micros at = row.at;
    if (arrival != kNoTime) {
      if (at > AddTime(arrival, 5 * kMinute)) at = arrival;
      if (source.max_age != kNever && at < SubtractTime(arrival, source.max_age)) {
        ++counters_.backfill;
        continue;
      }
    }
    by_container[row.container].push_back({at, &row});
  }
  for (auto& [key, taken] : by_container) {
    std::stable_sort(taken.begin(), taken.end(),
                     [](const Taken& a, const Taken& b) { return a.at < b.at; });
    size_t i = 0;
    while (i < taken.size()) {
      MergedRow merged;
      merged.at = taken[i].at;
      std::vector<uint8_t> carried;  // by row: Reading bits
      for (; i < taken.size() && taken[i].at == merged.at; ++i) {
        carried.push_back(Merge(*taken[i].row, merged));
      }
      const uint8_t late =
          JudgeRow(key, containers_[key], merged, arrival == kNoTime ? merged.at : arrival);
      for (const uint8_t bits : carried) counters_.late += (bits & late) != 0 ? 1 : 0;
    }
  }
}

// The readings of a later row count; returns which the row has.
uint8_t Oracle::Merge(const Row& row, MergedRow& merged) {
  uint8_t carried = 0;
  auto merge = [&](alerting::Reading bit, std::optional<MergedRow::Value>& into,
                   std::optional<double> value) {
    if (!value || !std::isfinite(*value)) return;
    into = MergedRow::Value{*value, row.source};
    carried = static_cast<uint8_t>(carried | bit);
  };
  merge(kCpu, merged.cpu, row.cpu);
  merge(kMemory, merged.memory, row.memory);
  if (row.running) merge(kRunning, merged.running, *row.running ? 1 : 0);
  merge(kRestarts, merged.restarts, row.restarts);
  merge(kMemoryUsed, merged.used, row.memory_used);
  merge(kMemoryLimit, merged.limit, row.memory_limit);
  if ((carried & (kMemoryUsed | kMemoryLimit)) != 0) merged.memory_parts_source = row.source;
  return carried;
}

uint8_t Oracle::JudgeRow(const std::string& key, Container& container, const MergedRow& row,
                         Micros arrival) {
  uint8_t late = 0;
  const Stream* newest = Newest(container);
  const std::optional<Micros> newest_before =
      newest == nullptr ? std::nullopt : std::optional(newest->readings.back().at);

  bool parts_taken = false;  // and not just said again
  if (row.used && row.at < container.used.at) late |= kMemoryUsed;
  if (row.limit && row.at < container.limit.at) late |= kMemoryLimit;
  if (row.used && row.at >= container.used.at) {
    parts_taken = row.at != container.used.at || container.used.value != row.used->value;
    container.used = {row.at, row.used->value};
  }
  if (row.limit && row.at >= container.limit.at) {
    std::optional<double> limit;
    if (row.limit->value > 0 && row.limit->value < kNoLimit) limit = row.limit->value;
    if (row.at != container.limit.at || container.limit.value != limit) parts_taken = true;
    container.limit = {row.at, limit};
  }
  // Parts make a reading of the later one's time, in whichever order they come.
  std::optional<MergedRow::Value> memory = row.memory;
  const Micros memory_at = memory ? row.at : std::max(container.used.at, container.limit.at);
  if (!memory && parts_taken && container.used.value && container.limit.value) {
    const double percent = 100.0 * *container.used.value / *container.limit.value;
    if (std::isfinite(percent)) memory = {percent, row.memory_parts_source};
  }
  // What parts make of the time of a percentage that was given counts for nothing.
  const Stream& known = StreamOf(container, Condition::kMemoryUsage);
  if (!row.memory && container.memory_given && known.readings.back().at == memory_at) {
    memory.reset();
  }
  if (memory && (known.readings.empty() || known.readings.back().at <= memory_at)) {
    container.memory_given = row.memory.has_value();
  }

  auto judge = [&](Condition metric, const std::optional<MergedRow::Value>& reading, int bits) {
    const Micros at = metric == Condition::kMemoryUsage ? memory_at : row.at;
    if (reading &&
        !JudgeReading(key, container, metric, at, reading->value, reading->source, arrival)) {
      late = static_cast<uint8_t>(late | bits);
    }
  };
  judge(Condition::kCpuUsage, row.cpu, kCpu);
  judge(Condition::kMemoryUsage, memory, row.memory ? kMemory : kMemoryUsed | kMemoryLimit);
  judge(Condition::kContainerDown, row.running, kRunning);
  judge(Condition::kRestartLoop, row.restarts, kRestarts);

  // Any news of a container that never says whether it runs ends its silence.
  if (ReportsRunning(container)) return late;
  newest = Newest(container);
  if (newest == nullptr || (newest_before && newest->readings.back().at <= *newest_before)) {
    return late;
  }
  for (const Rule* rule : RulesOf(container)) {
    Pair& pair = container.pairs[rule->id];
    if (rule->condition == Condition::kContainerDown && pair.phase == Phase::kFiring) {
      Resolve(key, *rule, pair, std::max(newest->readings.back().at, pair.last_transition),
              kNoValue, ResolveReason::kRecovered);
    }
  }
  return late;
}

bool Oracle::JudgeReading(const std::string& key, Container& container, Condition metric, Micros at,
                          double value, uint32_t source, Micros arrival) {
  Stream& stream = StreamOf(container, metric);
  std::vector<const Rule*> rules;
  for (const Rule* rule : RulesOf(container)) {
    if (rule->condition == metric) rules.push_back(rule);
  }
  if (stream.readings.empty()) {
    stream = {{{at, value}}, arrival, source};
    for (const Rule* rule : rules) JudgeNewReading(key, container, *rule, std::nullopt, 0);
    return true;
  }
  const Reading last = stream.readings.back();
  if (at < last.at) return false;
  if (at == last.at) {
    if (value == last.value) return true;  // a repeat
    stream.readings.back().value = value;
    for (const Rule* rule : rules) JudgeCorrection(key, container, *rule, last.value);
    return true;
  }
  for (const Rule* rule : rules) PassDeadline(key, container, *rule, at - 1);
  const Micros old_stale_after = StaleAfter(stream);
  stream.readings.push_back({at, value});
  stream.arrival = arrival;
  stream.source = source;
  for (const Rule* rule : rules) JudgeNewReading(key, container, *rule, last, old_stale_after);
  return true;
}

void Oracle::JudgeNewReading(const std::string& key, Container& container, const Rule& rule,
                             std::optional<Reading> previous, Micros previous_stale_after) {
  Pair& pair = container.pairs[rule.id];
  const Reading reading = StreamOf(container, rule.condition).readings.back();
  const Micros as_at = std::max(reading.at, pair.last_transition);
  const bool counts_restarts = rule.condition == Condition::kRestartLoop;
  const double value = CurrentValue(container, rule, as_at);
  const bool breach = Breaches(rule, counts_restarts ? value : reading.value);
  pair.by_silence = pair.ended_by_silence = false;
  if (!breach) {
    if (pair.phase == Phase::kFiring) {
      Resolve(key, rule, pair, as_at, value, ResolveReason::kRecovered);
    }
    Drop(pair);
    return;
  }
  if (pair.phase == Phase::kFiring) {
    pair.peak = std::max(pair.peak, value);
    return;
  }
  if (counts_restarts) {
    pair.peak = value;
    Fire(key, rule, pair, as_at, as_at, value, false);
    return;
  }
  if (pair.phase == Phase::kPending && rule.condition != Condition::kContainerDown && previous &&
      SubtractTime(reading.at, previous->at) > previous_stale_after) {
    Drop(pair);  // nobody knows what was in the gap: the run starts again
  }
  if (pair.phase == Phase::kOk) BeginRun(pair, as_at, value);
  pair.peak = std::max(pair.peak, value);
  if (SubtractTime(as_at, pair.since) >= rule.duration) {
    Fire(key, rule, pair, pair.since, as_at, value, false);
  }
}

// The newest reading turned out to be another one.
void Oracle::JudgeCorrection(const std::string& key, Container& container, const Rule& rule,
                             double corrected) {
  Pair& pair = container.pairs[rule.id];
  const Reading reading = StreamOf(container, rule.condition).readings.back();
  if (pair.phase == Phase::kFiring && pair.by_silence) return;
  if (pair.phase == Phase::kOk && pair.ended_by_silence && pair.last_transition > reading.at) {
    return;
  }
  const Micros as_at = std::max(reading.at, pair.last_transition);
  const double value = CurrentValue(container, rule, as_at);
  const bool counts_restarts = rule.condition == Condition::kRestartLoop;
  const bool breach = Breaches(rule, counts_restarts ? value : reading.value);
  if (!breach) {
    if (pair.phase == Phase::kFiring) {
      Resolve(key, rule, pair, as_at, value, ResolveReason::kRecovered);
    }
    Drop(pair);
    return;
  }
  // From bad to bad is no news: nothing begins or fires by it.
  const bool no_news = !counts_restarts && Breaches(rule, corrected);
  if (pair.phase == Phase::kFiring || no_news) {
    if (pair.phase != Phase::kOk) pair.peak = std::max(pair.peak, value);
    return;
  }
  if (counts_restarts) {
    pair.peak = value;
    Fire(key, rule, pair, as_at, as_at, value, false);
    return;
  }
  if (pair.phase == Phase::kOk) BeginRun(pair, as_at, value);
  pair.peak = std::max(pair.peak, value);
  if (SubtractTime(as_at, pair.since) >= rule.duration) {
    Fire(key, rule, pair, pair.since, as_at, value, false);
  }
}

std::vector<Event> Oracle::TakeEvents() { return std::exchange(events_, {}); }

}  // namespace alerting::oracle
