// The state machine of one rule on one container: OK, PENDING, FIRING. Runs in the evaluator.
#include <algorithm>
#include <limits>

#include "core/engine_state.h"

namespace alerting {
namespace {

constexpr double kNoFigure = std::numeric_limits<double>::quiet_NaN();

// CONTAINER_DOWN compares up (0) with down (1), which is no figure to tell anybody.
double Told(Condition condition, double figure) {
  return condition == Condition::kContainerDown ? kNoFigure : figure;
}

bool HasLasted(const Terms& terms, Micros since, Micros at) {
  return terms.condition == Condition::kRestartLoop || SubtractTime(at, since) >= terms.duration;
}

}  // namespace

void Engine::State::JudgeStream(uint32_t number, Container& container, int stream, Micros at,
                                double value, bool run_broken, std::optional<double> corrected) {
  const auto condition = static_cast<Condition>(stream);
  rules.BeginWalk();
  for (uint32_t* link = &container.states; *link != kNil;) {
    const uint32_t place = *link;
    RuleState& state = states[place];
    if (state.condition == condition) {
      rules.Mark(state.rule);
      const bool judged_before = state.from_alert && at < state.turned_at;
      // A correction neither ends a silence nor undoes what silence ended.
      if (!judged_before && !(corrected && state.by_silence)) {
        JudgeState(number, container, link, at, value, run_broken, corrected);
      }
    }
    if (*link == place) link = &state.next;
  }

  const RuleList& list =
      rules.organization(container.organization).lists[static_cast<size_t>(stream)];
  const double greatest = GreatestFigure(container, stream, value);
  for (size_t i = 0; i < list.rules.size() && list.thresholds[i] < greatest; ++i) {
    const uint32_t rule = list.rules[i];
    if (rules.Marked(rule)) continue;
    const Terms& terms = rules.terms(rule);
    const double figure = Figure(container, terms, at, value);
    if (!(figure > terms.threshold) || Breached(terms, corrected)) continue;
    RuleState& state = StartRun(container, rule, kNil, at, figure);
    if (HasLasted(terms, at, at)) Fire(number, state, at, figure);
  }
}

void Engine::State::JudgeState(uint32_t number, Container& container, uint32_t* link, Micros at,
                               double value, bool run_broken, std::optional<double> corrected) {
  RuleState& state = states[*link];
  const Terms& terms = rules.terms(state.rule);
  const Micros time = std::max(at, state.turned_at);
  const double figure = Figure(container, terms, time, value);
  state.from_alert = false;
  if (!(figure > terms.threshold)) {
    if (state.phase == Phase::kFiring) {
      Resolve(number, link, time, figure, ResolveReason::kRecovered);
    } else {
      EndState(container, link);
    }
    return;
  }
  if (Breached(terms, corrected)) {
    if (state.phase != Phase::kOk) state.peak = std::max(state.peak, figure);
    return;
  }
  state.by_silence = false;
  if (state.phase == Phase::kOk || (state.phase == Phase::kPending && run_broken)) {
    StartRun(container, state.rule, *link, time, figure);
  }
  state.peak = std::max(state.peak, figure);
  if (state.phase == Phase::kPending && HasLasted(terms, state.since, time)) {
    Fire(number, state, time, figure);
  }
}

double Engine::State::Figure(const Container& container, const Terms& terms, Micros at,
                             double value) const {
  if (terms.condition != Condition::kRestartLoop) return value;
  if (container.gains == kNil) return 0;
  return CountGains(gains[container.gains].View(), at, terms.duration);
}

double Engine::State::GreatestFigure(const Container& container, int stream, double value) const {
  if (stream != kRestartsStream) return value;
  double greatest = 0;
  if (container.gains == kNil) return greatest;
  for (const Gain& gain : gains[container.gains].View()) greatest += std::max(gain.restarts, 0.0);
  return greatest;
}

double Engine::State::FigureAt(const Container& container, const Terms& terms, Micros at) const {
  const Stream stream = StreamOf(terms.condition);
  if (!container.Has(stream)) return 0;
  return Figure(container, terms, at, container.Value(stream));
}

double Engine::State::LastFigure(const Container& container, const Terms& terms) const {
  return FigureAt(container, terms, container.at[StreamOf(terms.condition)]);
}

RuleState& Engine::State::StartRun(Container& container, uint32_t rule, uint32_t place,
                                   Micros since, double figure) {
  if (place == kNil) {
    place = states.Take();
    states[place].next = container.states;
    container.states = place;
  }
  RuleState& state = states[place];
  state.rule = rule;
  state.condition = rules.terms(rule).condition;
  state.phase = Phase::kPending;
  state.by_silence = false;
  state.since = since;
  state.peak = figure;
  return state;
}

void Engine::State::Fire(uint32_t number, RuleState& state, Micros fired_at, double figure) {
  state.phase = Phase::kFiring;
  state.turned_at = fired_at;
  state.alert = next_alert++;
  Transition& transition = Tell(number, state, Transition::Kind::kFire);
  transition.value = Told(state.condition, figure);
}

void Engine::State::Resolve(uint32_t number, uint32_t* link, Micros at, double figure,
                            ResolveReason reason) {
  RuleState& state = states[*link];
  Transition& transition = Tell(number, state, Transition::Kind::kResolve);
  transition.resolved_at = std::max(at, state.turned_at);
  // Only a reading (or the window's count) that recovered is a figure of the resolution.
  transition.value =
      reason == ResolveReason::kRecovered ? Told(state.condition, figure) : kNoFigure;
  transition.reason = reason;
  state.turned_at = transition.resolved_at;
  EndState(containers[number], link);
}

Transition& Engine::State::Tell(uint32_t number, const RuleState& state, Transition::Kind kind) {
  ++counters.transitions;
  Transition& transition = transitions.emplace_back();
  transition.kind = kind;
  transition.alert = state.alert;
  transition.container = number;
  transition.container_key = index.Key(number);
  transition.rule_id = rules.id(state.rule);
  transition.started_at = state.since;
  transition.fired_at = state.turned_at;
  transition.peak = Told(state.condition, state.peak);
  return transition;
}

void Engine::State::EndState(const Container& container, uint32_t* link) {
  RuleState& state = states[*link];
  const Stream stream = StreamOf(state.condition);
  // A first reading may come with any time: CONTAINER_DOWN can have turned before `running` came.
  if (state.turned_at == kNoTime ||
      (container.Has(stream) && state.turned_at <= container.at[stream])) {
    Drop(link);
    return;
  }
  state.phase = Phase::kOk;
  state.alert = 0;
  state.by_silence = false;
}

void Engine::State::EndBySilence(uint32_t number, uint32_t* link, Micros at) {
  const uint32_t place = *link;
  if (states[place].phase == Phase::kFiring) {
    Resolve(number, link, at, 0, ResolveReason::kNoData);
  } else {
    EndState(containers[number], link);
  }
  if (*link == place) states[place].by_silence = true;
}

void Engine::State::Drop(uint32_t* link) {
  const uint32_t place = *link;
  *link = states[place].next;
  states.Give(place);
}

uint32_t Engine::State::FindState(const Container& container, uint32_t rule) const {
  uint32_t place = container.states;
  while (place != kNil && states[place].rule != rule) place = states[place].next;
  return place;
}

void Engine::State::MarkChanged(uint32_t number, Container& container) {
  if (container.changed) return;
  container.changed = true;
  changed.push_back(number);
}

}  // namespace alerting
