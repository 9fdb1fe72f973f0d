// What a restart, which reads rows again, must not judge again: where the rows begin that were not
// judged, and what was said that the readings do not show. Runs in the evaluator.
#include <algorithm>
#include <cmath>

#include "core/engine_state.h"

namespace alerting {

Micros Engine::JudgedUntil(ContainerRef container, uint8_t readings) const {
  const auto [oldest, newest] = state_->TimesRead(state_->containers[container], readings);
  return oldest == kNever ? kNoTime : oldest;
}

Micros Engine::LastRead(ContainerRef container, uint8_t readings) const {
  return state_->TimesRead(state_->containers[container], readings).second;
}

std::pair<Micros, Micros> Engine::State::TimesRead(const Container& container,
                                                   uint8_t readings) const {
  Micros oldest = kNever;
  Micros newest = kNoTime;
  const auto take = [&](Reading reading, bool was_read, Micros at) {
    if ((readings & reading) == 0 || !was_read) return;
    oldest = std::min(oldest, at);
    newest = std::max(newest, at);
  };
  take(kCpu, container.Has(kCpuStream), container.at[kCpuStream]);
  take(kMemory, container.Has(kMemoryStream), container.at[kMemoryStream]);
  take(kRunning, container.Has(kRunningStream), container.at[kRunningStream]);
  take(kRestarts, container.Has(kRestartsStream), container.at[kRestartsStream]);
  if (container.memory != kNil) {
    const MemoryParts& parts = memory[container.memory];
    take(kMemoryUsed, parts.has_used, parts.used_at);
    take(kMemoryLimit, parts.has_limit, parts.limit_at);
  }
  return {oldest, newest};
}

void Engine::ClearJudged(std::span<Sample> samples,
                         std::span<const ContainerRef> containers) const {
  for (size_t i = 0; i < std::min(samples.size(), containers.size()); ++i) {
    if (!state_->index.IsLive(containers[i])) continue;
    const uint32_t judged = state_->containers[containers[i]].judged;
    if (judged == kNil) continue;
    samples[i].present &= static_cast<uint8_t>(~state_->judged_rows[judged].Judged(samples[i]));
  }
}

JudgedRows& Engine::State::JudgedOf(Container& container) {
  if (container.judged == kNil) container.judged = judged_rows.Take();
  return judged_rows[container.judged];
}

void Engine::State::RememberAhead(uint32_t number, const Sample& sample) {
  Container& container = containers[number];
  if (container.organization == kNil) return;  // removed
  JudgedRows& rows = JudgedOf(container);
  const Micros oldest = TimesRead(container, kAllReadings).first;
  if (oldest != kNever) rows.DropAheadBefore(oldest);  // else nothing was read yet
  if (rows.AddAhead({sample.at, DigestOf(sample)})) MarkChanged(number, container);
}

void Engine::State::Supersede(uint32_t number, Container& container, Reading reading, Micros at,
                              double value) {
  // Rows of one table are read again in the order in which they were written.
  const bool is_only_source = sources.size() <= 2;  // the first stands for unknown ones
  if (is_only_source) return;
  // A percentage that was made of parts is in no row.
  if (reading == kMemory && !container.memory_given) return;
  if (TimesRead(container, reading).first != at) return;
  if (JudgedOf(container).AddSuperseded({at, reading, value})) MarkChanged(number, container);
}

void Engine::State::NoteOverridden(std::span<const Sample> samples, std::span<const Item> merged) {
  const uint32_t number = merged.front().container;
  for (const Reading reading : kReadings) {
    bool is_last = true;
    double last = 0;
    for (auto item = merged.rbegin(); item != merged.rend(); ++item) {
      const Sample& sample = samples[item->sample];
      const double value = sample.Value(reading);
      if ((sample.present & reading) == 0 || !std::isfinite(value)) continue;
      if (std::exchange(is_last, false)) last = value;
      if (value != last) Supersede(number, containers[number], reading, item->at, value);
    }
  }
}

}  // namespace alerting
