// Saving containers and taking them back after a restart. Runs in the evaluator.
// Rules may have been edited, disabled or made, and containers moved, while nobody evaluated:
// FinishRestore judges what that means on the last readings, at the time of the start.
#include <algorithm>
#include <cmath>
#include <utility>

#include "core/engine_state.h"

namespace alerting {

SavedContainer Engine::State::Snapshot(const Container& container) const {
  SavedContainer saved;
  saved.has = container.has;
  for (int stream = 0; stream < kStreams; ++stream) {
    if (!container.Has(stream)) continue;
    const auto s = static_cast<size_t>(stream);
    saved.readings[s] = {container.at[s], container.arrival[s], source_ids[container.source[s]],
                         container.Value(stream)};
  }
  saved.has_previous = container.has_previous;
  saved.previous = container.Value(kRestartsStream);
  if (container.gains != kNil) {
    const RestartGains& known = gains[container.gains];
    saved.previous = known.previous;
    saved.gains.assign(known.View().begin(), known.View().end());
  }
  saved.memory_given = container.memory_given;
  if (container.memory != kNil) {
    saved.has_memory = true;
    saved.memory = memory[container.memory];
  }
  if (container.judged != kNil) saved.judged = judged_rows[container.judged];
  for (uint32_t place = container.states; place != kNil; place = states[place].next) {
    const RuleState& state = states[place];
    const Terms& terms = rules.terms(state.rule);
    SavedRuleState& out = saved.states.emplace_back();
    out.rule_id = rules.id(state.rule);
    out.phase = state.phase;
    out.by_silence = state.by_silence;
    out.from_alert = state.from_alert;
    out.since = state.since;
    out.turned_at = state.turned_at;
    out.peak = state.peak;
    out.condition = state.condition;
    out.no_data = terms.no_data;
    out.threshold = terms.threshold;
    out.duration = terms.duration;
  }
  return saved;
}

void Engine::State::Take(uint32_t number, Container& container, const SavedContainer& saved) {
  container.has = saved.has;
  for (int stream = 0; stream < kStreams; ++stream) {
    if ((saved.has & StreamBit(stream)) == 0) continue;
    const auto s = static_cast<size_t>(stream);
    const SavedReading& reading = saved.readings[s];
    container.at[s] = reading.at;
    container.arrival[s] = reading.arrival;
    container.source[s] = SourceNumber(reading.source);
    container.SetValue(stream, reading.value);
  }
  container.has_previous = saved.has_previous;
  if (!saved.gains.empty() ||
      (saved.has_previous && saved.previous != container.Value(kRestartsStream))) {
    container.gains = gains.Take();
    gains[container.gains].previous = saved.previous;
    gains[container.gains].list = saved.gains;
  }
  container.memory_given = saved.memory_given;
  if (saved.has_memory) {
    container.memory = memory.Take();
    memory[container.memory] = saved.memory;
    memory[container.memory].next = kNil;
  }
  if (!saved.judged.ahead.empty() || !saved.judged.superseded.empty()) {
    JudgedOf(container) = saved.judged;
  }
  for (const SavedRuleState& in : saved.states) {
    const uint32_t rule = rules.Find(in.rule_id);
    if (rule == kNil) continue;
    const Terms& terms = rules.terms(rule);
    const bool applies = terms.enabled && terms.condition == in.condition &&
                         terms.organization == container.organization;
    if (in.phase != Phase::kFiring && !applies) continue;
    RuleState& state = StartRun(container, rule, kNil, in.since, in.peak);
    state.turned_at = in.turned_at;
    state.condition = in.condition;
    state.phase = in.phase;
    state.by_silence = in.by_silence;
    state.from_alert = in.from_alert;
    state.unconfirmed = in.phase == Phase::kFiring;
    Terms saved_terms;
    saved_terms.threshold = in.threshold;
    saved_terms.duration = in.duration;
    saved_terms.no_data = in.no_data;
    restored_terms[PairOf(number, rule)] = saved_terms;
  }
}

uint64_t Engine::State::RestoreAlert(uint32_t number, std::string_view rule_id, Micros started_at,
                                     Micros fired_at, double value) {
  Container& container = containers[number];
  const uint32_t rule = rules.Find(rule_id);
  if (rule == kNil) return 0;
  uint32_t place = FindState(container, rule);
  if (place == kNil) {
    StartRun(container, rule, kNil, started_at, std::isnan(value) ? 0 : value);
    place = container.states;
  }
  RuleState& state = states[place];
  if (!state.unconfirmed) {  // the alert is newer than the saved form, or there is none
    state.phase = Phase::kFiring;
    state.from_alert = true;
    // Nothing but silence can have fired where `running` is not known to be false.
    state.by_silence = state.condition == Condition::kContainerDown &&
                       (!container.Has(kRunningStream) || container.running);
    restored_terms.erase(PairOf(number, rule));
  }
  state.unconfirmed = false;
  state.since = started_at;
  state.turned_at = fired_at;
  state.alert = next_alert++;
  return state.alert;
}

void Engine::State::FinishRestore() {
  for (uint32_t i = 0; i < index.limit(); ++i) {
    if (index.IsLive(i)) FinishContainer(i, containers[i]);
  }
  restored_terms.clear();
}

void Engine::State::FinishContainer(uint32_t number, Container& container) {
  uint8_t audible = 0;
  for (int stream = 0; stream < kStreams; ++stream) {
    const auto s = static_cast<size_t>(stream);
    Micros& arrival = container.arrival[s];
    const Micros stale_after = sources[container.source[s]].stale_after;
    if (arrival <= started && AddTime(arrival, stale_after) > started) {
      audible |= StreamBit(stream);
    }
    // A wall clock that was ahead before the restart must not delay deadlines now.
    arrival = std::min(arrival, started);
  }
  audible &= container.has;
  rules.BeginWalk();
  for (uint32_t* link = &container.states; *link != kNil;) {
    const uint32_t place = *link;
    RuleState& state = states[place];
    const Terms& terms = rules.terms(state.rule);
    if (state.unconfirmed) {
      rules.Mark(state.rule);
      MarkChanged(number, container);
      Drop(link);
    } else if (!terms.enabled) {
      Close(number, container, link, ResolveReason::kRuleDisabled, started);
    } else if (terms.condition != state.condition) {
      Close(number, container, link, ResolveReason::kRuleChanged, started);
    } else if (terms.organization != container.organization) {
      Close(number, container, link, ResolveReason::kContainerMoved, started);
    } else {
      rules.Mark(state.rule);
      const auto saved = restored_terms.find(PairOf(number, state.rule));
      const bool edited = saved != restored_terms.end() && !saved->second.SameAs(terms);
      // What is over is judged as a missed rule is: where silence counts, only while there is none.
      // Under fire the next silence decides, which fires from the last sample on.
      const bool silence_counts =
          terms.condition != Condition::kContainerDown || terms.no_data != NoData::kKeep;
      const bool silent = (audible & StreamBit(StreamOf(terms.condition))) == 0;
      const bool judged = state.phase != Phase::kOk || !silence_counts || !silent;
      if (edited && judged) {
        JudgeUnderNewTerms(number, container, link, saved->second, started, !silent);
      }
    }
    if (*link == place) link = &states[place].next;
  }
  JudgeMissedRules(number, container, audible);
  Schedule(number, container);
}

// A rule that is OK although the last reading breaches it was made or changed while nobody
// evaluated, unless the stream had fallen silent (CONTAINER_DOWN goes by the clock all the same,
// unless silence resolves it). `audible`: bits of the streams that had not.
void Engine::State::JudgeMissedRules(uint32_t number, Container& container, uint8_t audible) {
  const OrganizationRules& organization = rules.organization(container.organization);
  for (int stream = 0; stream < kStreams; ++stream) {
    const auto s = static_cast<size_t>(stream);
    const bool silent = (audible & StreamBit(stream)) == 0;
    if (!container.Has(stream) || (silent && stream != kRunningStream)) continue;
    const double greatest = GreatestFigure(container, stream, container.Value(stream));
    if (!(greatest > organization.lowest[s])) continue;
    const RuleList& list = organization.lists[s];
    for (size_t i = 0; i < list.rules.size() && list.thresholds[i] < greatest; ++i) {
      if (rules.Marked(list.rules[i])) continue;
      if (silent && rules.terms(list.rules[i]).no_data == NoData::kResolve) continue;
      JudgeAsNew(number, container, list.rules[i], kNil, started);
    }
  }
}

}  // namespace alerting
