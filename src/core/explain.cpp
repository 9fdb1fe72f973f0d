// Why a rule does or does not fire on a container. Runs in the evaluator.
#include <limits>

#include "core/engine_state.h"

namespace alerting {

Explanation Engine::Explain(ContainerRef container_ref, std::string_view rule_id,
                            Micros now) const {
  Explanation out;
  const State& engine = *state_;
  const uint32_t rule = engine.rules.Find(rule_id);
  if (rule == kNil || !engine.index.IsLive(container_ref)) return out;
  const Container& container = engine.containers[container_ref];
  const Terms& terms = engine.rules.terms(rule);
  const StreamView view = engine.View(container, terms.condition);
  out.virtual_now = view.VirtualTime(now);
  if (view.has) {
    const double figure = engine.LastFigure(container, terms);
    out.has_reading = true;
    out.last_at = view.last_at;
    out.stale_at = view.silent_from;
    out.silent = view.IsSilent(now);
    out.breaching = figure > terms.threshold;
    out.last_value = figure;
    if (terms.condition == Condition::kContainerDown) {
      out.last_value = container.Has(kRunningStream) ? (container.running ? 1 : 0)
                                                     : std::numeric_limits<double>::quiet_NaN();
    }
  }
  const uint32_t place = engine.FindState(container, rule);
  if (place == kNil || engine.states[place].phase == Phase::kOk) return out;
  const RuleState& state = engine.states[place];
  out.since = state.since;
  out.peak = terms.condition == Condition::kContainerDown ? std::numeric_limits<double>::quiet_NaN()
                                                          : state.peak;
  if (state.phase == Phase::kPending) {
    out.state = Explanation::State::kPending;
    out.fires_at = AddTime(state.since, terms.duration);
    return out;
  }
  out.state = Explanation::State::kFiring;
  out.fired_at = state.turned_at;
  out.by_silence = state.by_silence;
  out.resolves_at = engine.OwnDeadline(container, state).at;
  return out;
}

}  // namespace alerting
