// What happens without a sample: durations of CONTAINER_DOWN, window ends of RESTART_LOOP, silence.
// Runs in the evaluator. A deadline is a sample time; the wall clock reaches it as long after the
// last reading's arrival as it lies after that reading's time.
#include <algorithm>

#include "core/engine_state.h"

namespace alerting {

int Engine::State::NewestStream(const Container& container) const {
  int newest = -1;
  for (int stream = 0; stream < kStreams; ++stream) {
    if (!container.Has(stream)) continue;
    if (newest < 0 || Newness(container, stream) > Newness(container, newest)) newest = stream;
  }
  return newest;
}

// Of streams read last at the same time, the one that falls silent last.
std::array<Micros, 3> Engine::State::Newness(const Container& container, int stream) const {
  const auto s = static_cast<size_t>(stream);
  const Micros stale_after = sources[container.source[s]].stale_after;
  const Micros silent = AddTime(std::max(container.arrival[s], watched_since), stale_after);
  return {container.at[s], silent, stale_after};
}

StreamView Engine::State::View(const Container& container, Condition condition) const {
  int stream = StreamOf(condition);
  StreamView view;
  view.silenced = (container.silenced & StreamBit(stream)) != 0;
  if (condition == Condition::kContainerDown && !container.Has(stream)) {
    stream = NewestStream(container);
  }
  if (stream < 0 || !container.Has(stream)) return view;
  const auto s = static_cast<size_t>(stream);
  view.has = true;
  view.last_at = container.at[s];
  view.arrival = container.arrival[s];
  view.base = std::max(view.arrival, watched_since);
  const Micros stale_after = sources[container.source[s]].stale_after;
  view.silent_from = stale_after == kNever ? kNever : AddTime(view.last_at, stale_after);
  return view;
}

WindowEnd Engine::State::OwnDeadline(const Container& container, const RuleState& state) const {
  const Terms& terms = rules.terms(state.rule);
  if (state.condition == Condition::kContainerDown && state.phase == Phase::kPending) {
    return {AddTime(state.since, terms.duration), 1};
  }
  if (state.condition == Condition::kRestartLoop && state.phase == Phase::kFiring &&
      !state.by_silence && !state.from_alert && container.gains != kNil) {
    WindowEnd end = FindWindowEnd(gains[container.gains].View(), container.at[kRestartsStream],
                                  terms.duration, terms.threshold);
    end.at = std::max(end.at, state.turned_at);
    return end;
  }
  return {};
}

void Engine::State::PassOwnDeadline(uint32_t number, Container& container, uint32_t* link,
                                    const WindowEnd& end) {
  RuleState& state = states[*link];
  MarkChanged(number, container);
  if (state.phase == Phase::kPending) {
    Fire(number, state, end.at, end.count);
  } else {
    Resolve(number, link, end.at, end.count, ResolveReason::kRecovered);
  }
}

void Engine::State::PassDeadlinesBefore(uint32_t number, Container& container, int stream,
                                        Micros time) {
  for (uint32_t* link = &container.states; *link != kNil;) {
    const uint32_t place = *link;
    const RuleState& state = states[place];
    if (StreamOf(state.condition) == stream) {
      const WindowEnd end = OwnDeadline(container, state);
      if (end.at < time) PassOwnDeadline(number, container, link, end);
    }
    if (*link == place) link = &states[place].next;
  }
}

void Engine::State::PassClock(uint32_t number, Container& container, Micros now) {
  // Per rule in order of sample time: its own deadline up to the silence, the silence, the rest.
  std::array<StreamView, kConditions> views;
  uint8_t silent = 0;
  const uint8_t cared = rules.organization(container.organization).silence_matters;
  for (size_t i = 0; i < kConditions; ++i) {
    views[i] = View(container, static_cast<Condition>(i));
    const auto bit = StreamBit(static_cast<int>(i));
    if ((cared & bit) != 0 && !views[i].silenced && views[i].IsSilent(now)) silent |= bit;
  }
  const auto pass_own = [&](bool before_silence) {
    for (uint32_t* link = &container.states; *link != kNil;) {
      const uint32_t place = *link;
      const RuleState& state = states[place];
      const WindowEnd end = OwnDeadline(container, state);
      const StreamView& view = views[static_cast<size_t>(state.condition)];
      const bool in_turn = !before_silence || end.at <= view.silent_from;
      if (in_turn && view.has && view.IsPast(end.at, now)) {
        PassOwnDeadline(number, container, link, end);
      }
      if (*link == place) link = &states[place].next;
    }
  };
  if (container.states != kNil) pass_own(silent != 0);
  if (silent == 0) return;
  for (size_t i = 0; i < kConditions; ++i) {
    if ((silent & StreamBit(static_cast<int>(i))) == 0) continue;
    PassSilence(number, container, static_cast<Condition>(i), views[i]);
  }
  pass_own(false);
}

void Engine::State::PassSilence(uint32_t number, Container& container, Condition condition,
                                const StreamView& view) {
  container.silenced |= StreamBit(StreamOf(condition));
  rules.BeginWalk();
  for (uint32_t* link = &container.states; *link != kNil;) {
    const uint32_t place = *link;
    RuleState& state = states[place];
    if (state.condition == condition) {
      rules.Mark(state.rule);
      PassSilenceOf(number, container, link, view);
    }
    if (*link == place) link = &states[place].next;
  }
  const RuleList& list =
      rules.organization(container.organization).lists[static_cast<size_t>(condition)];
  for (const uint32_t rule : list.rules) {
    const Terms& terms = rules.terms(rule);
    if (terms.no_data != NoData::kFire || rules.Marked(rule)) continue;
    MarkChanged(number, container);
    RuleState& state = StartRun(container, rule, kNil, view.last_at, LastFigure(container, terms));
    FireBySilence(number, container, state, view);
  }
}

void Engine::State::PassSilenceOf(uint32_t number, Container& container, uint32_t* link,
                                  const StreamView& view) {
  RuleState& state = states[*link];
  const Terms& terms = rules.terms(state.rule);
  if (terms.no_data == NoData::kKeep) return;
  if (terms.no_data == NoData::kResolve) {
    // What a correction would fire from then on, silence would end at once.
    if (state.phase == Phase::kOk && state.turned_at < view.silent_from) return;
    MarkChanged(number, container);
    EndBySilence(number, link, view.silent_from);
    return;
  }
  if (state.phase == Phase::kFiring && state.by_silence) return;
  MarkChanged(number, container);
  if (state.phase == Phase::kFiring) {
    state.by_silence = true;
    return;
  }
  if (state.phase == Phase::kOk) {
    StartRun(container, state.rule, *link, view.last_at, LastFigure(container, terms));
  }
  FireBySilence(number, container, state, view);
}

void Engine::State::FireBySilence(uint32_t number, const Container& container, RuleState& state,
                                  const StreamView& view) {
  state.by_silence = true;
  Fire(number, state, std::max(view.silent_from, state.turned_at),
       LastFigure(container, rules.terms(state.rule)));
}

Micros Engine::State::NearestWall(const Container& container) const {
  Micros nearest = kNever;
  for (uint32_t place = container.states; place != kNil; place = states[place].next) {
    const RuleState& state = states[place];
    const WindowEnd end = OwnDeadline(container, state);
    if (end.at == kNever) continue;
    const StreamView view = View(container, state.condition);
    if (view.has) nearest = std::min(nearest, view.WallOf(end.at));
  }
  const uint8_t cared = rules.organization(container.organization).silence_matters;
  for (int i = 0; i < kConditions; ++i) {
    if ((cared & StreamBit(i)) == 0) continue;
    const StreamView view = View(container, static_cast<Condition>(i));
    if (view.has && !view.silenced) nearest = std::min(nearest, view.WallOf(view.silent_from));
  }
  return nearest;
}

void Engine::State::ScheduleNoLaterThan(uint32_t number, Container& container, Micros wall) {
  if (wall >= container.scheduled) return;
  container.scheduled = wall;
  queue.Set(number, wall);
}

void Engine::State::Schedule(uint32_t number, Container& container) {
  const Micros wall = NearestWall(container);
  if (wall == container.scheduled) return;
  container.scheduled = wall;
  if (wall == kNever) {
    queue.Remove(number);
  } else {
    queue.Set(number, wall);
  }
}

void Engine::State::Advance(Micros now) {
  while (queue.nearest_wall() <= now && !queue.empty()) {
    const uint32_t number = queue.nearest();
    Container& container = containers[number];
    PassClock(number, container, now);
    Schedule(number, container);
  }
}

}  // namespace alerting
