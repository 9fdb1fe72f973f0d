// From the samples of a transaction to readings judged one after another. Runs in the evaluator.
// Most transactions hold each container once, or in order of time: they are judged as they come.
#include <algorithm>
#include <cmath>

#include "core/engine_state.h"

namespace alerting {
namespace {

constexpr Micros kFuture = 5 * kMinute;
constexpr size_t kKeptItems = 64 * 1024;  // scratch kept between transactions
constexpr size_t kPrefetchDistance = 12;

constexpr std::array<Reading, kStreams> kOfStream = {kCpu, kMemory, kRunning, kRestarts};

// Adds a row's readings; those of a later row count.
void Merge(const Sample& sample, uint16_t source, Readings* readings) {
  const auto take = [&](Reading bit, double value, double* field, uint16_t* from) {
    if ((sample.present & bit) == 0 || !std::isfinite(value)) return;
    readings->present |= bit;
    *field = value;
    *from = source;
  };
  auto& sources = readings->source;
  take(kCpu, sample.cpu, &readings->cpu, &sources[kCpuStream]);
  take(kMemory, sample.memory, &readings->memory, &sources[kMemoryStream]);
  take(kMemoryUsed, sample.memory_used, &readings->memory_used, &readings->parts_source);
  take(kMemoryLimit, sample.memory_limit, &readings->memory_limit, &readings->parts_source);
  take(kRestarts, sample.restarts, &readings->restarts, &sources[kRestartsStream]);
  if ((sample.present & kRunning) != 0) {
    readings->present |= kRunning;
    readings->running = sample.running;
    readings->source[kRunningStream] = source;
  }
}

bool CarriesAny(const Sample& sample, uint8_t bits) {
  Readings readings;
  Merge(sample, 0, &readings);
  return (readings.present & bits) != 0;
}

}  // namespace

void Engine::State::SetSource(uint32_t id, const SourceSettings& settings) {
  uint16_t& number = source_numbers[id];
  if (number == 0 && sources.size() < UINT16_MAX) {
    number = static_cast<uint16_t>(sources.size());
    sources.emplace_back();
    source_ids.push_back(id);
  }
  if (number == 0) return;
  const bool same_silence = settings.stale_after == sources[number].stale_after;
  sources[number] = settings;
  sources[number].stale_after = std::max<Micros>(settings.stale_after, 0);
  last_source_id = id;
  last_source = number;
  if (same_silence) return;
  for (uint32_t i = 0; i < index.limit(); ++i) {
    if (!index.IsLive(i)) continue;
    containers[i].silenced = 0;
    Schedule(i, containers[i]);
  }
}

uint16_t Engine::State::SourceNumber(uint32_t id) {
  if (id == last_source_id) return last_source;
  const auto found = source_numbers.find(id);
  last_source_id = id;
  last_source = found == source_numbers.end() ? uint16_t{0} : found->second;
  return last_source;
}

void Engine::State::Judge(std::span<const Sample> samples, std::span<const ContainerRef> refs,
                          Micros arrival) {
  if (!Collect(samples, refs, arrival)) {
    std::sort(items.begin(), items.end(), [](const Item& a, const Item& b) {
      if (a.container != b.container) return a.container < b.container;
      if (a.at != b.at) return a.at < b.at;
      return a.sample < b.sample;
    });
  }
  JudgeItems(samples, arrival);
  if (items.capacity() > kKeptItems) std::vector<Item>().swap(items);
}

bool Engine::State::Collect(std::span<const Sample> samples, std::span<const ContainerRef> refs,
                            Micros arrival) {
  items.clear();
  if (stamp_base > UINT32_MAX - samples.size()) {
    stamp_base = 0;
    for (uint32_t i = 0; i < stamps.size(); ++i) stamps[i] = 0;
  }
  const Micros future = AddTime(arrival, kFuture);
  bool in_order = true;
  const size_t count = std::min(samples.size(), refs.size());
  for (size_t i = 0; i < count; ++i) {
    if (refs[i] >= stamps.size()) continue;
    ++counters.samples;
    Micros at = samples[i].at;
    if (arrival != kNoTime) {
      const Micros max_age = sources[SourceNumber(samples[i].source)].max_age;
      if (at > future) {
        if (samples[i].present != 0) RememberAhead(refs[i], samples[i]);
        at = arrival;
      }
      if (max_age != kNever && at < SubtractTime(arrival, max_age)) at = kNoTime;
    }
    if (at == kNoTime || at == kNever) {  // too old, or at no time at all
      ++counters.backfill;
      continue;
    }
    uint32_t& stamp = stamps[refs[i]];
    if (stamp > stamp_base) {
      const size_t before = stamp - stamp_base - 1;
      const bool next_to_it = before + 1 == items.size();
      if (at < items[before].at || (at == items[before].at && !next_to_it)) in_order = false;
    }
    items.push_back({refs[i], static_cast<uint32_t>(i), at});
    stamp = stamp_base + static_cast<uint32_t>(items.size());
  }
  stamp_base += static_cast<uint32_t>(items.size());
  return in_order;
}

void Engine::State::JudgeItems(std::span<const Sample> samples, Micros arrival) {
  for (size_t first = 0; first < items.size();) {
    if (first + kPrefetchDistance < items.size()) {
      const auto* ahead =
          reinterpret_cast<const char*>(&containers[items[first + kPrefetchDistance].container]);
      __builtin_prefetch(ahead, 1);
      __builtin_prefetch(ahead + 64, 1);
    }
    const Item& item = items[first];
    Readings readings;
    size_t end = first;
    do {
      const Sample& sample = samples[items[end].sample];
      Merge(sample, SourceNumber(sample.source), &readings);
      ++end;
    } while (end < items.size() && items[end].container == item.container &&
             items[end].at == item.at);
    const uint8_t late =
        JudgeReadings(item.container, readings, item.at, arrival == kNoTime ? item.at : arrival);
    if (end - first > 1) NoteOverridden(samples, {&items[first], end - first});
    for (size_t i = first; late != 0 && i < end; ++i) {
      if (CarriesAny(samples[items[i].sample], late)) ++counters.late;
    }
    first = end;
  }
}

uint8_t Engine::State::JudgeReadings(uint32_t number, Readings& readings, Micros at,
                                     Micros arrival) {
  Container& container = containers[number];
  if (container.organization == kNil) return 0;  // removed
  uint8_t late = 0;
  const uint8_t parts = readings.present & (kMemoryUsed | kMemoryLimit);
  const bool percent_of_parts = parts != 0 && (readings.present & kMemory) == 0;
  std::array<Micros, kStreams> times = {at, at, at, at};
  if (parts != 0) {
    late |= TakeMemoryParts(number, container, readings, at);
    MarkChanged(number, container);
  }
  if (percent_of_parts) {
    // The later part's time, in whichever order they come: a replay makes the same of them.
    const MemoryParts& known = memory[container.memory];
    times[kMemoryStream] = std::max(known.used_at, known.limit_at);
  }
  const int newest = container.Has(kRunningStream) ? -1 : NewestStream(container);
  const Micros newest_at = newest < 0 ? kNever : container.at[static_cast<size_t>(newest)];

  // At one time the percentage that is given counts, in whichever order they come.
  if (percent_of_parts && container.memory_given &&
      times[kMemoryStream] == container.at[kMemoryStream]) {
    readings.present &= static_cast<uint8_t>(~kMemory);
  }

  const std::array<double, kStreams> values = {readings.cpu, readings.memory,
                                               readings.running ? 0.0 : 1.0, readings.restarts};
  uint8_t fresh = 0;  // stream bits
  Micros fresh_at = kNoTime;
  bool corrected = false;
  for (size_t s = 0; s < kStreams; ++s) {
    if ((readings.present & kOfStream[s]) == 0) continue;
    const int stream = static_cast<int>(s);
    const Taken taken =
        TakeReading(number, container, stream, times[s], values[s], readings.source[s], arrival);
    if (stream == kMemoryStream && taken != Taken::kLate &&
        container.memory_given == percent_of_parts) {
      container.memory_given = !percent_of_parts;
      MarkChanged(number, container);
    }
    switch (taken) {
      case Taken::kLate:
        late |= stream == kMemoryStream && percent_of_parts ? parts : uint8_t{kOfStream[s]};
        break;
      case Taken::kNew:
        fresh |= StreamBit(stream);
        fresh_at = std::max(fresh_at, times[s]);
        break;
      case Taken::kCorrection:
        corrected = true;
        break;
      case Taken::kRepeat:
        break;
    }
  }

  if (fresh == 0 && !corrected) return late;
  if (fresh_at > newest_at && !container.Has(kRunningStream)) {
    EndSilenceOfAll(number, container, fresh_at);
  }
  MarkChanged(number, container);
  if (corrected) {
    ScheduleNoLaterThan(number, container, NearestWall(container));
  } else {
    ScheduleAfter(number, container, readings, fresh, arrival);
  }
  return late;
}

uint8_t Engine::State::TakeMemoryParts(uint32_t number, Container& container, Readings& readings,
                                       Micros at) {
  if (container.memory == kNil) container.memory = memory.Take();
  MemoryParts& parts = memory[container.memory];
  uint8_t late = 0;
  // A part that is said again says nothing, as a restart's second look at a row: a percentage that
  // was given since must not be taken for an error.
  bool news = false;
  if ((readings.present & kMemoryUsed) != 0) {
    if (parts.has_used && at < parts.used_at) {
      late |= kMemoryUsed;
    } else {
      if (at == parts.used_at && readings.memory_used != parts.used) {
        Supersede(number, container, kMemoryUsed, at, parts.used);
      }
      news = at != parts.used_at || readings.memory_used != parts.used;
      parts.has_used = true;
      parts.used_at = at;
      parts.used = readings.memory_used;
    }
  }
  if ((readings.present & kMemoryLimit) != 0) {
    if (parts.has_limit && at < parts.limit_at) {
      late |= kMemoryLimit;
    } else {
      const double limit = LimitOf(readings.memory_limit);
      if (at == parts.limit_at && limit != parts.limit) {
        Supersede(number, container, kMemoryLimit, at, parts.limit);
      }
      news = news || at != parts.limit_at || limit != parts.limit;
      parts.has_limit = true;
      parts.limit_at = at;
      parts.limit = limit;
    }
  }
  if ((readings.present & kMemory) != 0 || !news || !parts.has_used || parts.limit <= 0) {
    return late;
  }
  const double percent = 100.0 * parts.used / parts.limit;
  if (!std::isfinite(percent)) return late;
  readings.present |= kMemory;
  readings.memory = percent;
  readings.source[kMemoryStream] = readings.parts_source;
  return late;
}

Engine::State::Taken Engine::State::TakeReading(uint32_t number, Container& container, int stream,
                                                Micros at, double value, uint16_t source,
                                                Micros arrival) {
  const auto s = static_cast<size_t>(stream);
  bool run_broken = false;
  std::optional<double> corrected;
  if (container.Has(stream)) {
    if (at < container.at[s]) return Taken::kLate;
    if (at == container.at[s]) corrected = container.Value(stream);
    if (corrected == value) return Taken::kRepeat;
    if (corrected) {
      const bool is_running = stream == kRunningStream;
      Supersede(number, container, kOfStream[s], at, is_running ? 1 - *corrected : *corrected);
    }
    if (container.states != kNil && !corrected) {
      PassDeadlinesBefore(number, container, stream, at);
      run_broken = stream <= kMemoryStream &&
                   SubtractTime(at, container.at[s]) > sources[container.source[s]].stale_after;
    }
  }
  if (stream == kRestartsStream) {
    TakeRestarts(container, at, value, corrected.has_value());
  } else {
    container.SetValue(stream, value);
  }
  container.silenced &= static_cast<uint8_t>(~StreamBit(stream));
  if (!corrected) {
    container.has |= StreamBit(stream);
    container.at[s] = at;
    container.arrival[s] = arrival;
    container.source[s] = source;
  }
  const OrganizationRules& organization = rules.organization(container.organization);
  if (container.states != kNil ||
      GreatestFigure(container, stream, value) > organization.lowest[s]) {
    JudgeStream(number, container, stream, at, value, run_broken, corrected);
  }
  return corrected ? Taken::kCorrection : Taken::kNew;
}

void Engine::State::TakeRestarts(Container& container, Micros at, double value,
                                 bool is_correction) {
  const bool is_first =
      !container.Has(kRestartsStream) || (is_correction && !container.has_previous);
  double previous = container.Value(kRestartsStream);
  if (is_correction && container.gains != kNil) {
    RestartGains& known = gains[container.gains];
    previous = known.previous;
    if (!known.View().empty() && known.list.back().at == at) known.list.pop_back();
  }
  container.SetValue(kRestartsStream, value);
  if (is_first) return;
  container.has_previous = true;
  if (container.gains == kNil) {
    if (value == previous) return;  // the ordinary case: nothing to remember
    container.gains = gains.Take();
  }
  RestartGains& known = gains[container.gains];
  known.previous = previous;
  const double gain = GainOf(previous, value);
  if (gain != 0) known.list.push_back({at, gain});
  known.DropUntil(SubtractTime(at, std::max(kHour, rules.longest_window())));
  if (known.View().empty() && value == previous) {
    gains.Give(container.gains);
    container.gains = kNil;
  }
}

void Engine::State::EndSilenceOfAll(uint32_t number, Container& container, Micros at) {
  container.silenced &= static_cast<uint8_t>(~StreamBit(kRunningStream));
  for (uint32_t* link = &container.states; *link != kNil;) {
    const uint32_t place = *link;
    const RuleState& state = states[place];
    const bool judged_before = state.from_alert && at < state.turned_at;
    if (state.condition == Condition::kContainerDown && !judged_before) {
      if (state.phase == Phase::kFiring) {
        Resolve(number, link, at, 0, ResolveReason::kRecovered);
      } else {
        EndState(container, link);
      }
    }
    if (*link == place) link = &states[place].next;
  }
}

void Engine::State::ScheduleAfter(uint32_t number, Container& container, const Readings& readings,
                                  uint8_t fresh, Micros arrival) {
  if (container.states == kNil) {
    const uint8_t cared = rules.organization(container.organization).silence_matters;
    const bool newest_cared =
        (cared & StreamBit(kRunningStream)) != 0 && !container.Has(kRunningStream);
    if ((cared & fresh) == 0 && !newest_cared) return;
    // No silence begins earlier than this; mostly an earlier look is due anyway.
    Micros stale_after = kNever;
    for (size_t stream = 0; stream < kStreams; ++stream) {
      if ((fresh & StreamBit(static_cast<int>(stream))) == 0) continue;
      stale_after = std::min(stale_after, sources[readings.source[stream]].stale_after);
    }
    if (AddTime(std::max(arrival, watched_since), stale_after) >= container.scheduled) return;
  }
  ScheduleNoLaterThan(number, container, NearestWall(container));
}

}  // namespace alerting
