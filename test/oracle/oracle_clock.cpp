// The oracle's part on what happens without a row: durations of CONTAINER_DOWN, window ends,
// silence. See oracle.h.
#include <algorithm>

#include "oracle/oracle.h"

namespace alerting::oracle {

void Oracle::PassDeadline(const std::string& key, Container& container, const Rule& rule,
                          Micros until) {
  Pair& pair = container.pairs[rule.id];
  if (rule.condition == Condition::kContainerDown && pair.phase == Phase::kPending) {
    const Micros deadline = AddTime(pair.since, rule.duration);
    if (deadline <= until) Fire(key, rule, pair, pair.since, deadline, kNoValue, false);
  }
  if (rule.condition == Condition::kRestartLoop && pair.phase == Phase::kFiring &&
      !pair.by_silence) {
    const Stream& stream = container.streams[static_cast<size_t>(rule.condition)];
    for (const Reading& reading : stream.readings) {
      const Micros window_end = AddTime(reading.at, rule.duration);
      if (window_end <= stream.readings.back().at) continue;
      if (window_end > until) break;
      const double count = RestartsGained(stream, window_end, rule.duration);
      if (Breaches(rule, count)) continue;
      Resolve(key, rule, pair, std::max(window_end, pair.last_transition), count,
              ResolveReason::kRecovered);
      break;
    }
  }
}

void Oracle::PassSilence(const std::string& key, Container& container, const Rule& rule,
                         Micros silent_at) {
  Pair& pair = container.pairs[rule.id];
  const Micros at = std::max(silent_at, pair.last_transition);
  switch (rule.no_data) {
    case NoData::kKeep:
      break;
    case NoData::kResolve:
      if (pair.phase == Phase::kOk && pair.last_transition < silent_at) break;
      if (pair.phase == Phase::kFiring) {
        Resolve(key, rule, pair, at, kNoValue, ResolveReason::kNoData);
      }
      Drop(pair);
      pair.ended_by_silence = true;
      break;
    case NoData::kFire: {
      if (pair.phase == Phase::kFiring) {
        pair.by_silence = true;
        break;
      }
      const Micros last_at = LookedAt(container, rule)->readings.back().at;
      const double value = CurrentValue(container, rule, last_at);
      const bool in_run = pair.phase == Phase::kPending;
      if (!in_run) pair.peak = value;
      Fire(key, rule, pair, in_run ? pair.since : last_at, at, value, true);
      break;
    }
  }
}

void Oracle::Advance(Micros now) {
  for (auto& [key, container] : containers_) {
    for (const Rule* rule : RulesOf(container)) {
      const Stream* stream = LookedAt(container, *rule);
      if (stream == nullptr) continue;
      const Micros virtual_now = VirtualNow(*stream, now);
      const Micros silent_at = SilentAt(*stream);
      PassDeadline(key, container, *rule, std::min(virtual_now, silent_at));
      if (virtual_now >= silent_at) PassSilence(key, container, *rule, silent_at);
      PassDeadline(key, container, *rule, virtual_now);
    }
  }
}

}  // namespace alerting::oracle
