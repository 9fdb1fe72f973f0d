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
  MarkChanged(number, container);
  if (state.phase == Phase::kFiring) {
    const Micros at = View(container, state.condition).VirtualTime(now);
    Resolve(number, state, std::max(at, state.fired_at), 0, reason);
  }
  Drop(link);
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
    if (!rules.Marked(rule)) JudgeAsNew(number, container, rule, now);
  }
}

void Engine::State::JudgeAsNew(uint32_t number, Container& container, uint32_t rule, Micros now) {
  const Terms& terms = rules.terms(rule);
  const StreamView view = View(container, terms.condition);
  if (!view.has) return;
  const double figure = LastFigure(container, terms);
  if (view.IsSilent(now)) {
    if (terms.no_data != NoData::kFire) return;
    MarkChanged(number, container);
    RuleState& state = StartRun(container, rule, view.last_at, figure);
    FireBySilence(number, container, state, view);
    return;
  }
  if (!(figure > terms.threshold)) return;
  MarkChanged(number, container);
  RuleState& state = StartRun(container, rule, view.last_at, figure);
  if (terms.condition == Condition::kRestartLoop || terms.duration == 0) {
    Fire(number, state, view.last_at, figure);
  } else if (terms.condition == Condition::kContainerDown) {
    const WindowEnd end = OwnDeadline(container, state);
    if (view.IsPast(end.at, now)) Fire(number, state, end.at, figure);
  }
}

void Engine::State::JudgeAllAsNew(uint32_t number, Container& container, Micros now) {
  // The lists do not change while they are walked: judging starts runs, never rules.
  const OrganizationRules& organization = rules.organization(container.organization);
  for (const RuleList& list : organization.lists) {
    for (const uint32_t rule : list.rules) JudgeAsNew(number, container, rule, now);
  }
}

void Engine::State::JudgeUnderNewTerms(uint32_t number, Container& container, uint32_t* link,
                                       const Terms& before, Micros now) {
  MarkChanged(number, container);
  if (states[*link].phase == Phase::kPending) {
    JudgePendingAnew(number, container, link, before, now);
  } else {
    JudgeFiringAnew(number, container, link, now);
  }
}

void Engine::State::JudgePendingAnew(uint32_t number, Container& container, uint32_t* link,
                                     const Terms& before, Micros now) {
  RuleState& state = states[*link];
  const Terms& terms = rules.terms(state.rule);
  const StreamView view = View(container, state.condition);
  const double figure = LastFigure(container, terms);
  if (!view.has || !(figure > terms.threshold)) {
    Drop(link);
    return;
  }
  if (terms.threshold > before.threshold) {  // earlier readings of the run may not breach it
    state.since = view.last_at;
    state.peak = figure;
  }
  const bool silent = view.IsSilent(now);
  if (terms.condition == Condition::kContainerDown) {
    const WindowEnd end = OwnDeadline(container, state);
    const bool before_silence =
        !silent || terms.no_data == NoData::kKeep || end.at <= view.silent_from;
    if (before_silence && (terms.duration == 0 || view.IsPast(end.at, now))) {
      Fire(number, state, end.at, figure);
      if (silent && terms.no_data == NoData::kResolve)
        JudgeFiringAnew(number, container, link, now);
      return;
    }
  }
  if (silent) {
    if (terms.no_data == NoData::kFire) FireBySilence(number, container, state, view);
    if (terms.no_data == NoData::kResolve) Drop(link);
    return;
  }
  if (terms.condition != Condition::kContainerDown &&
      SubtractTime(view.last_at, state.since) >= terms.duration) {
    Fire(number, state, view.last_at, figure);
  }
}

void Engine::State::JudgeFiringAnew(uint32_t number, Container& container, uint32_t* link,
                                    Micros now) {
  const RuleState& state = states[*link];
  const Terms& terms = rules.terms(state.rule);
  const StreamView view = View(container, state.condition);
  // Until the next reading, an alert by silence stands for silence whatever the clock says.
  if (!state.by_silence) {
    if (!view.has || (state.from_alert && view.last_at < state.fired_at)) return;
    const double figure = LastFigure(container, terms);
    if (!(figure > terms.threshold)) {
      Resolve(number, state, std::max(view.last_at, state.fired_at), figure,
              ResolveReason::kRecovered);
      Drop(link);
      return;
    }
    if (!view.IsSilent(now)) return;
  }
  if (terms.no_data != NoData::kResolve) return;
  const bool has_begin = view.has && view.silent_from != kNever;
  Resolve(number, state, has_begin ? std::max(view.silent_from, state.fired_at) : state.fired_at, 0,
          ResolveReason::kNoData);
  Drop(link);
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
  Schedule(number, container);
}

void Engine::State::Remove(uint32_t number) {
  Container& container = containers[number];
  while (container.states != kNil) Drop(&container.states);
  if (container.memory != kNil) memory.Give(container.memory);
  if (container.gains != kNil) gains.Give(container.gains);
  rules.LeaveOrganization(container.organization);
  queue.Remove(number);
  container = Container{};
  index.Erase(number);
}

}  // namespace alerting
