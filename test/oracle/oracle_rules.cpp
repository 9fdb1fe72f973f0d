// The oracle's part on rules and containers that change while readings are known. See oracle.h.
#include <algorithm>
#include <utility>

#include "oracle/oracle.h"

namespace alerting::oracle {

void Oracle::AddContainer(const std::string& key, const std::string& organization) {
  containers_.try_emplace(key).first->second.organization = organization;
}

void Oracle::SetOrganization(const std::string& key, const std::string& organization, Micros now) {
  const auto found = containers_.find(key);
  if (found == containers_.end() || found->second.organization == organization) return;
  Container& container = found->second;
  for (const Rule* rule : RulesOf(container)) {
    CloseForRule(key, container, *rule, now, ResolveReason::kContainerMoved);
  }
  container.organization = organization;
  for (const Rule* rule : RulesOf(container)) JudgeNewRule(key, container, *rule, now);
}

void Oracle::SetRules(const std::vector<Rule>& rules, Micros now) {
  const std::vector<Rule> old_rules = std::exchange(rules_, rules);
  auto find = [](const std::vector<Rule>& list, const std::string& id) -> const Rule* {
    for (const Rule& rule : list) {
      if (rule.id == id) return &rule;
    }
    return nullptr;
  };
  for (const Rule& old_rule : old_rules) {
    if (find(rules_, old_rule.id) != nullptr) continue;
    for (auto& [key, container] : containers_) container.pairs.erase(old_rule.id);
  }
  for (const Rule& rule : rules_) {
    const Rule* old_rule = find(old_rules, rule.id);
    const bool was_on = old_rule != nullptr && old_rule->enabled;
    const bool same_subject = was_on && old_rule->condition == rule.condition &&
                              old_rule->organization == rule.organization;
    for (auto& [key, container] : containers_) {
      const bool was_mine = was_on && old_rule->organization == container.organization;
      const bool is_mine = rule.enabled && rule.organization == container.organization;
      if (was_mine && !rule.enabled) {
        CloseForRule(key, container, *old_rule, now, ResolveReason::kRuleDisabled);
      } else if (was_mine && !same_subject) {
        CloseForRule(key, container, *old_rule, now, ResolveReason::kRuleChanged);
      }
      if (!is_mine) continue;
      if (was_mine && same_subject) {
        JudgeEditedRule(key, container, rule, *old_rule, now);
      } else {
        JudgeNewRule(key, container, rule, now);
      }
    }
  }
}

// The rule stops to look at the container.
void Oracle::CloseForRule(const std::string& key, Container& container, const Rule& rule,
                          Micros now, ResolveReason reason) {
  Pair& pair = container.pairs[rule.id];
  if (pair.phase == Phase::kFiring) {
    const Stream* stream = LookedAt(container, rule);
    // Restarts put off what the clock brings, not what somebody did.
    const Micros at = stream == nullptr
                          ? pair.fired_at
                          : AddTime(stream->readings.back().at,
                                    std::max<Micros>(SubtractTime(now, stream->arrival), 0));
    Resolve(key, rule, pair, std::max(at, pair.fired_at), kNoValue, reason);
  }
  container.pairs.erase(rule.id);
}

// A rule that is new to this container judges what was read last, unless that is too old to tell.
void Oracle::JudgeNewRule(const std::string& key, Container& container, const Rule& rule,
                          Micros now) {
  const Stream* stream = LookedAt(container, rule);
  if (stream == nullptr) return;
  Pair& pair = container.pairs[rule.id];
  const bool down = rule.condition == Condition::kContainerDown;
  const Reading last = stream->readings.back();
  const Micros virtual_now = VirtualNow(*stream, now);
  const Micros silent_at = SilentAt(*stream);
  const bool silent = virtual_now >= silent_at;
  const Micros as_at = std::max(last.at, pair.last_transition);

  if (down && ReportsRunning(container)) {
    // A container that stopped is down, however long ago that was said, unless silence decides.
    if (silent && rule.no_data == NoData::kResolve) return;
    if (last.value == 0) BeginRun(pair, as_at, kNoValue);
    PassDeadline(key, container, rule, std::min(virtual_now, silent_at));
    if (silent && rule.no_data == NoData::kFire) {
      if (pair.phase == Phase::kPending) Drop(pair);  // silence counts from the last reading
      PassSilence(key, container, rule, silent_at);
    }
    PassDeadline(key, container, rule, virtual_now);
    return;
  }
  if (silent) {
    if (rule.no_data == NoData::kFire) PassSilence(key, container, rule, silent_at);
    return;
  }
  if (down) return;
  const double value = CurrentValue(container, rule, as_at);
  if (!Breaches(rule, value)) return;
  BeginRun(pair, as_at, value);
  if (rule.condition == Condition::kRestartLoop || rule.duration <= 0) {
    Fire(key, rule, pair, as_at, as_at, value, false);
  }
}

// Threshold, duration or no_data of a rule changed.
void Oracle::JudgeEditedRule(const std::string& key, Container& container, const Rule& rule,
                             const Rule& old_rule, Micros now, bool audible) {
  const bool down = rule.condition == Condition::kContainerDown;
  const bool other_threshold = !down && rule.threshold != old_rule.threshold;
  if (!other_threshold && rule.duration == old_rule.duration && rule.no_data == old_rule.no_data) {
    return;
  }
  const Stream* stream = LookedAt(container, rule);
  if (stream == nullptr) return;
  Pair& pair = container.pairs[rule.id];
  if (pair.phase == Phase::kOk) {
    JudgeNewRule(key, container, rule, now);
    return;
  }
  const Reading last = stream->readings.back();
  const Micros virtual_now = VirtualNow(*stream, now);
  const Micros silent_at = SilentAt(*stream);
  const bool silent = virtual_now >= silent_at || pair.by_silence;
  const bool counts_restarts = rule.condition == Condition::kRestartLoop;
  const Micros as_at = std::max(last.at, pair.last_transition);
  const double value = CurrentValue(container, rule, as_at);
  const bool breach = down && !ReportsRunning(container)
                          ? pair.by_silence
                          : Breaches(rule, counts_restarts ? value : last.value);

  if (pair.phase == Phase::kFiring) {
    if (silent && rule.no_data != NoData::kKeep) {
      PassSilence(key, container, rule, silent_at);
    } else if (!pair.by_silence && !breach) {
      Resolve(key, rule, pair, as_at, value, ResolveReason::kRecovered);
    }
    return;
  }
  // Pending.
  if (down) {
    // The deadline may lie before the last reading now; the edit doesn't reach that far back.
    const Micros deadline = std::max(AddTime(pair.since, rule.duration), last.at);
    const Micros until = silent ? std::min(virtual_now, silent_at) : virtual_now;
    if (deadline <= until) Fire(key, rule, pair, pair.since, deadline, kNoValue, false);
    if (silent) PassSilence(key, container, rule, silent_at);
    PassDeadline(key, container, rule, virtual_now);
    return;
  }
  if (silent && rule.no_data == NoData::kResolve) {
    Drop(pair);
    pair.ended_by_silence = breach;
    return;
  }
  if (!breach) Drop(pair);
  if (breach && other_threshold && rule.threshold > old_rule.threshold) {
    BeginRun(pair, as_at, value);
  }
  if (silent) {
    PassSilence(key, container, rule, silent_at);
    return;
  }
  if (breach && audible && SubtractTime(as_at, pair.since) >= rule.duration) {
    Fire(key, rule, pair, pair.since, as_at, value, false);
  }
}

void Oracle::Restart(Micros now) {
  std::map<std::string, Saved> saved;
  for (const auto& [key, container] : containers_) saved[key] = {container, rules_};
  Restart(now, saved, rules_);
}

void Oracle::Restart(Micros now, const std::map<std::string, Saved>& saved,
                     const std::vector<Rule>& rules) {
  started_ = now;
  counters_ = {};
  rules_ = rules;
  containers_.clear();
  for (const auto& [key, before] : saved) {
    Container& container = containers_[key] = before.container;
    container.pairs.clear();
    for (const Rule& rule : rules_) {
      const Rule* old_rule = nullptr;
      for (const Rule& old : before.rules) {
        if (old.id == rule.id) old_rule = &old;
      }
      const auto pair = before.container.pairs.find(rule.id);
      if (pair != before.container.pairs.end()) container.pairs[rule.id] = pair->second;
      JudgeAfterRestart(key, container, rule, old_rule, now);
    }
    for (Stream& stream : container.streams) stream.arrival = std::min(stream.arrival, now);
  }
}

// What an edit or a move did while nobody evaluated.
void Oracle::JudgeAfterRestart(const std::string& key, Container& container, const Rule& rule,
                               const Rule* old_rule, Micros now) {
  const bool applies = rule.enabled && rule.organization == container.organization;
  Pair& pair = container.pairs[rule.id];
  const Stream* stream = LookedAt(container, rule);
  const bool audible = stream != nullptr && stream->arrival <= now &&
                       AddTime(stream->arrival, StaleAfter(*stream)) > now;
  if (old_rule != nullptr && pair.phase != Phase::kOk) {
    if (!rule.enabled) {
      CloseForRule(key, container, *old_rule, now, ResolveReason::kRuleDisabled);
    } else if (rule.condition != old_rule->condition) {
      CloseForRule(key, container, *old_rule, now, ResolveReason::kRuleChanged);
    } else if (!applies) {
      CloseForRule(key, container, *old_rule, now, ResolveReason::kContainerMoved);
    } else {
      JudgeEditedRule(key, container, rule, *old_rule, now, audible);
      return;
    }
  } else if (!applies || (old_rule != nullptr && rule.condition != old_rule->condition)) {
    container.pairs.erase(rule.id);
  }
  if (!applies) return;
  // A rule that is OK although the last reading breaches it was made or edited meanwhile; it is
  // judged unless the stream had gone silent by now.
  if (stream == nullptr) return;
  const Reading last = stream->readings.back();
  if (rule.condition == Condition::kContainerDown && !ReportsRunning(container)) return;
  const bool silence_counts =
      rule.condition != Condition::kContainerDown || rule.no_data == NoData::kResolve;
  if (silence_counts && !audible) return;
  // Otherwise what the clock ended since is no sign of an edit.
  const bool edited = old_rule != nullptr &&
                      (old_rule->threshold != rule.threshold ||
                       old_rule->duration != rule.duration || old_rule->no_data != rule.no_data);
  // Under fire the next silence decides.
  const bool waits =
      rule.condition == Condition::kContainerDown && rule.no_data == NoData::kFire && !audible;
  if (container.pairs[rule.id].last_transition > last.at && (!edited || waits)) return;
  JudgeNewRule(key, container, rule, now);
}

}  // namespace alerting::oracle
