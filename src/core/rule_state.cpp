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

bool FiresAtOnce(const Terms& terms, Micros since, Micros at) {
  return terms.condition == Condition::kRestartLoop || SubtractTime(at, since) >= terms.duration;
}

}  // namespace

void Engine::State::JudgeStream(uint32_t number, Container& container, int stream, Micros at,
                                double value, bool run_broken, bool is_correction) {
  const auto condition = static_cast<Condition>(stream);
  rules.BeginWalk();
  for (uint32_t* link = &container.states; *link != kNil;) {
    RuleState& state = states[*link];
    if (state.condition != condition) {
      link = &state.next;
      continue;
    }
    rules.Mark(state.rule);
    const bool judged_before = state.from_alert && at < state.fired_at;
    if (judged_before || (is_correction && state.by_silence)) {
      link = &state.next;
      continue;
    }
    state.from_alert = false;
    const Terms& terms = rules.terms(state.rule);
    const double figure = Figure(container, terms, at, value);
    if (!(figure > terms.threshold)) {
      if (state.phase == Phase::kFiring) {
        Resolve(number, state, at, figure, ResolveReason::kRecovered);
      }
      Drop(link);
      continue;
    }
    state.by_silence = false;
    state.peak = std::max(state.peak, figure);
    if (state.phase == Phase::kPending) {
      if (run_broken) {
        state.since = at;
        state.peak = figure;
      }
      if (FiresAtOnce(terms, state.since, at)) Fire(number, state, at, figure);
    }
    link = &state.next;
  }

  const RuleList& list =
      rules.organization(container.organization).lists[static_cast<size_t>(stream)];
  const double greatest = GreatestFigure(container, stream, value);
  for (size_t i = 0; i < list.rules.size() && list.thresholds[i] < greatest; ++i) {
    const uint32_t rule = list.rules[i];
    if (rules.Marked(rule)) continue;
    const Terms& terms = rules.terms(rule);
    const double figure = Figure(container, terms, at, value);
    if (!(figure > terms.threshold)) continue;
    RuleState& state = StartRun(container, rule, at, figure);
    if (FiresAtOnce(terms, at, at)) Fire(number, state, at, figure);
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

double Engine::State::LastFigure(const Container& container, const Terms& terms) const {
  const Stream stream = StreamOf(terms.condition);
  if (!container.Has(stream)) return 0;
  return Figure(container, terms, container.at[stream], container.Value(stream));
}

RuleState& Engine::State::StartRun(Container& container, uint32_t rule, Micros since,
                                   double figure) {
  const uint32_t place = states.Take();
  RuleState& state = states[place];
  state.since = since;
  state.peak = figure;
  state.rule = rule;
  state.condition = rules.terms(rule).condition;
  state.next = container.states;
  container.states = place;
  return state;
}

void Engine::State::Fire(uint32_t number, RuleState& state, Micros fired_at, double figure) {
  state.phase = Phase::kFiring;
  state.fired_at = fired_at;
  state.alert = next_alert++;
  Transition& transition = transitions.emplace_back();
  transition.kind = Transition::Kind::kFire;
  transition.alert = state.alert;
  transition.container = number;
  transition.container_key = index.Key(number);
  transition.rule_id = rules.id(state.rule);
  transition.started_at = state.since;
  transition.fired_at = fired_at;
  transition.value = Told(state.condition, figure);
  transition.peak = Told(state.condition, state.peak);
  ++counters.transitions;
}

void Engine::State::Resolve(uint32_t number, const RuleState& state, Micros at, double figure,
                            ResolveReason reason) {
  Transition& transition = transitions.emplace_back();
  transition.kind = Transition::Kind::kResolve;
  transition.alert = state.alert;
  transition.container = number;
  transition.container_key = index.Key(number);
  transition.rule_id = rules.id(state.rule);
  transition.started_at = state.since;
  transition.fired_at = state.fired_at;
  transition.resolved_at = at;
  // Only a reading (or the window's count) that recovered is a figure of the resolution.
  transition.value =
      reason == ResolveReason::kRecovered ? Told(state.condition, figure) : kNoFigure;
  transition.peak = Told(state.condition, state.peak);
  transition.reason = reason;
  ++counters.transitions;
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
