// Rules that are edited while they pend or fire, and containers that move or go. Runs in the
// evaluator. Old states are closed under the old terms; then the last readings are judged anew.
#include <algorithm>

#include "core/engine_state.h"

namespace alerting {

void Engine::State::SetRules(std::vector<Rule> new_rules, Micros now) {
  rules.Compare(std::move(new_rules));
  if (rules.closes_alerts()) {
    for (uint32_t i = 0; i < index.limit(); ++i) {
      if (containers[i].states != kNil) CloseOldStates(i, containers[i], now);
    }
  }
  rules.Install();
  if (!rules.touched().empty()) {
    std::unordered_map<uint32_t, std::vector<uint32_t>> by_organization;
    for (const uint32_t rule : rules.to_judge()) {
      by_organization[rules.terms(rule).organization].push_back(rule);
    }
    for (uint32_t i = 0; i < index.limit(); ++i) {
      Container& container = containers[i];
      if (container.organization == kNil) continue;
      if (!rules.organization(container.organization).touched) continue;
      JudgeChanges(i, container, by_organization, now);
      container.silenced = 0;
      Schedule(i, container);
    }
  }
  rules.Forget();
}

void Engine::State::CloseOldStates(uint32_t number, Container& container, Micros now) {
  for (uint32_t* link = &container.states; *link != kNil;) {
    RuleState& state = states[*link];
    switch (rules.fate(state.rule)) {
      case RuleFate::kDisabled:
        Close(number, container, link, ResolveReason::kRuleDisabled, now);
        break;
      case RuleFate::kRebound:
        Close(number, container, link, ResolveReason::kRuleChanged, now);
        break;
      case RuleFate::kDeleted:
        MarkChanged(number, container);
        Drop(link);
        break;
      default:
        link = &state.next;
    }
  }
}

void Engine::State::Close(uint32_t number, Container& container, uint32_t* link,
                          ResolveReason reason, Micros now) {
  const RuleState& state = states[*link];
  const uint32_t place = *link;
  MarkChanged(number, container);
  if (state.phase == Phase::kFiring) {
    Resolve(number, link, View(container, state.condition).TimeOf(now), 0, reason);
  }
  if (*link == place) Drop(link);
}

void Engine::State::JudgeChanges(
    uint32_t number, Container& container,
    const std::unordered_map<uint32_t, std::vector<uint32_t>>& by_organization, Micros now) {
  const auto changes = by_organization.find(container.organization);
  if (changes == by_organization.end()) return;
  rules.BeginWalk();
  for (uint32_t* link = &container.states; *link != kNil;) {
    const uint32_t place = *link;
    const uint32_t rule = states[place].rule;
    if (rules.fate(rule) == RuleFate::kChanged) {
      rules.Mark(rule);
      JudgeUnderNewTerms(number, container, link, rules.before(rule), now);
    }
    if (*link == place) link = &states[place].next;
  }
  for (const uint32_t rule : changes->second) {
    if (!rules.Marked(rule)) JudgeAsNew(number, container, rule, kNil, now);
  }
}

void Engine::State::JudgeAsNew(uint32_t number, Container& container, uint32_t rule, uint32_t place,
                               Micros now) {
  const Terms& terms = rules.terms(rule);
  const StreamView view = View(container, terms.condition);
  if (!view.has) return;
  const bool is_down = terms.condition == Condition::kContainerDown;
  const Micros time =
      place == kNil ? view.last_at : std::max(view.last_at, states[place].turned_at);
  const double figure = FigureAt(container, terms, time);
  const bool breaches = figure > terms.threshold;
  // A DOWN duration goes on by the clock up to the silence. Under keep silence does not end it:
  // sources that write `running` only when it changes are silent by nature.
  const Micros down_at = is_down && breaches ? AddTime(time, terms.duration) : kNever;
  const bool down_first = terms.no_data == NoData::kFire && down_at <= view.silent_from;
  if (view.IsSilent(now) && !(is_down && terms.no_data == NoData::kKeep) && !down_first) {
    if (terms.no_data != NoData::kFire) return;
    MarkChanged(number, container);
    RuleState& state = StartRun(container, rule, place, view.last_at, LastFigure(container, terms));
    FireBySilence(number, container, state, view);
    return;
  }
  if (!breaches) return;
  MarkChanged(number, container);
  RuleState& state = StartRun(container, rule, place, time, figure);
  if (is_down) {
    if (!view.IsPast(down_at, now)) return;
    Fire(number, state, down_at, figure);
    state.by_silence = terms.no_data == NoData::kFire && view.IsSilent(now);
  } else if (terms.condition == Condition::kRestartLoop || terms.duration == 0) {
    Fire(number, state, time, figure);
  }
}

void Engine::State::JudgeAllAsNew(uint32_t number, Container& container, Micros now) {
  // The lists do not change while they are walked: judging starts runs, never rules.
  const OrganizationRules& organization = rules.organization(container.organization);
  for (const RuleList& list : organization.lists) {
    for (const uint32_t rule : list.rules) JudgeAsNew(number, container, rule, kNil, now);
  }
}

void Engine::State::JudgeUnderNewTerms(uint32_t number, Container& container, uint32_t* link,
                                       const Terms& before, Micros now, bool audible) {
  MarkChanged(number, container);
  switch (states[*link].phase) {
    case Phase::kPending:
      JudgePendingAnew(number, container, link, before, now, audible);
      break;
    case Phase::kFiring:
      JudgeFiringAnew(number, container, link, now);
      break;
    case Phase::kOk:
      JudgeAsNew(number, container, states[*link].rule, *link, now);
      break;
  }
}

void Engine::State::JudgePendingAnew(uint32_t number, Container& container, uint32_t* link,
                                     const Terms& before, Micros now, bool audible) {
  RuleState& state = states[*link];
  const uint32_t rule = state.rule;
  const Terms& terms = rules.terms(rule);
  const StreamView view = View(container, state.condition);
  const bool is_down = terms.condition == Condition::kContainerDown;
  const bool silent = view.IsSilent(now);
  const Micros time = std::max(view.last_at, state.turned_at);
  const double figure = FigureAt(container, terms, time);
  if (!(figure > terms.threshold)) {
    const uint32_t place = *link;
    EndState(container, link);
    if (silent) JudgeAsNew(number, container, rule, *link == place ? place : kNil, now);
    return;
  }
  if (terms.threshold > before.threshold) {  // earlier readings of the run may not breach it
    state.since = time;
    state.peak = figure;
  }
  if (is_down) {
    // The run goes on by the clock up to the silence; a shorter duration never fires it earlier
    // than the last reading.
    const Micros down_at = std::max(AddTime(state.since, terms.duration), view.last_at);
    const bool in_turn = !silent || terms.no_data == NoData::kKeep || down_at <= view.silent_from;
    if (in_turn && view.IsPast(down_at, now)) {
      Fire(number, state, down_at, figure);
      if (silent) JudgeFiringAnew(number, container, link, now);
      return;
    }
  }
  if (silent) {
    if (terms.no_data == NoData::kFire) FireBySilence(number, container, state, view);
    if (terms.no_data == NoData::kResolve) EndBySilence(number, link, view.silent_from);
    return;
  }
  if (audible && !is_down && SubtractTime(time, state.since) >= terms.duration) {
    Fire(number, state, time, figure);
  }
}

void Engine::State::JudgeFiringAnew(uint32_t number, Container& container, uint32_t* link,
                                    Micros now) {
  RuleState& state = states[*link];
  const Terms& terms = rules.terms(state.rule);
  const StreamView view = View(container, state.condition);
  // Until the next reading, an alert by silence stands for silence whatever the clock says.
  if (state.by_silence || view.IsSilent(now)) {
    if (terms.no_data == NoData::kResolve) {
      const bool has_begin = view.has && view.silent_from != kNever;
      EndBySilence(number, link, has_begin ? view.silent_from : state.turned_at);
      return;
    }
    if (terms.no_data == NoData::kFire) state.by_silence = true;
    if (state.by_silence) return;
  }
  if (!view.has || (state.from_alert && view.last_at < state.turned_at)) return;
  const double figure = FigureAt(container, terms, std::max(view.last_at, state.turned_at));
  if (figure > terms.threshold) return;
  Resolve(number, link, view.last_at, figure, ResolveReason::kRecovered);
}

void Engine::State::SetOrganization(uint32_t number, std::string_view organization, Micros now) {
  Container& container = containers[number];
  if (rules.organization(container.organization).key == organization) return;
  while (container.states != kNil) {
    Close(number, container, &container.states, ResolveReason::kContainerMoved, now);
  }
  const uint32_t old = container.organization;
  container.organization = rules.UseOrganization(organization);
  rules.LeaveOrganization(old);
  JudgeAllAsNew(number, container, now);
  container.silenced = 0;
  Schedule(number, container);
}

void Engine::State::Remove(uint32_t number) {
  Container& container = containers[number];
  while (container.states != kNil) Drop(&container.states);
  if (container.memory != kNil) memory.Give(container.memory);
  if (container.gains != kNil) gains.Give(container.gains);
  if (container.judged != kNil) judged_rows.Give(container.judged);
  rules.LeaveOrganization(container.organization);
  queue.Remove(number);
  container = Container{};
  index.Erase(number);
}

}  // namespace alerting
