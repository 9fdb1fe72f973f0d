// Comparing a new set of rules with the one in force, and arranging it for judging. Runs in the
// evaluator.
#include "core/rule_set.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace alerting {
namespace {

RuleFate FateOf(const Terms& before, const Terms& after) {
  if (!before.known || !before.enabled) {
    return after.enabled ? RuleFate::kNew : RuleFate::kSame;
  }
  if (!after.known) return RuleFate::kDeleted;
  if (!after.enabled) return RuleFate::kDisabled;
  if (before.condition != after.condition || before.organization != after.organization) {
    return RuleFate::kRebound;
  }
  return before.SameAs(after) ? RuleFate::kSame : RuleFate::kChanged;
}

}  // namespace

Terms TermsOf(const Rule& rule) {
  Terms terms;
  terms.condition = rule.condition;
  terms.no_data = rule.no_data;
  terms.enabled = rule.enabled;
  terms.known = true;
  terms.duration = std::max<Micros>(rule.duration, 0);
  terms.threshold = rule.threshold;
  if (rule.condition == Condition::kContainerDown) {
    terms.threshold = 0.5;
  } else if (std::isnan(rule.threshold)) {
    terms.threshold = OrganizationRules::kNone;  // nothing is greater than NaN
  }
  return terms;
}

uint32_t RuleSet::UseOrganization(std::string_view key) {
  uint32_t number = 0;
  const auto found = organization_numbers_.find(key);
  if (found != organization_numbers_.end()) {
    number = found->second;
  } else {
    if (free_organizations_.empty()) {
      number = static_cast<uint32_t>(organizations_.size());
      organizations_.emplace_back();
    } else {
      number = free_organizations_.back();
      free_organizations_.pop_back();
    }
    organizations_[number].key = key;
    organization_numbers_.emplace(key, number);
  }
  ++organizations_[number].users;
  return number;
}

void RuleSet::LeaveOrganization(uint32_t organization) {
  OrganizationRules& left = organizations_[organization];
  if (--left.users > 0) return;
  organization_numbers_.erase(left.key);
  left = OrganizationRules{};
  free_organizations_.push_back(organization);
}

uint32_t RuleSet::Find(std::string_view id) const {
  const auto found = numbers_.find(id);
  return found == numbers_.end() ? kNil : found->second;
}

uint32_t RuleSet::NumberFor(const std::string& id) {
  const auto [place, is_new] = numbers_.try_emplace(id, kNil);
  if (!is_new) return place->second;
  if (free_numbers_.empty()) {
    place->second = static_cast<uint32_t>(ids_.size());
    ids_.push_back(id);
    terms_.emplace_back();
    next_.emplace_back();
  } else {
    place->second = free_numbers_.back();
    free_numbers_.pop_back();
    ids_[place->second] = id;
  }
  return place->second;
}

void RuleSet::Touch(uint32_t organization) {
  if (organization == kNil || organizations_[organization].touched) return;
  organizations_[organization].touched = true;
  touched_.push_back(organization);
}

void RuleSet::Compare(std::vector<Rule> rules) {
  next_.assign(terms_.size(), Terms{});
  for (const Rule& rule : rules) {
    const uint32_t number = NumberFor(rule.id);
    if (next_[number].known) continue;  // an id given twice: the first counts
    next_[number] = TermsOf(rule);
    next_[number].organization = UseOrganization(rule.organization);
  }
  fates_.assign(next_.size(), RuleFate::kSame);
  to_judge_.clear();
  closes_alerts_ = false;
  for (uint32_t number = 0; number < next_.size(); ++number) {
    const RuleFate fate = FateOf(terms_[number], next_[number]);
    fates_[number] = fate;
    if (fate == RuleFate::kSame) continue;
    Touch(terms_[number].organization);
    Touch(next_[number].organization);
    if (fate >= RuleFate::kRebound) closes_alerts_ = true;
    if (fate <= RuleFate::kRebound) to_judge_.push_back(number);
  }
}

void RuleSet::Install() {
  before_ = std::exchange(terms_, std::move(next_));
  next_.clear();
  Arrange();
}

void RuleSet::Forget() {
  for (uint32_t number = 0; number < before_.size(); ++number) {
    if (before_[number].known) LeaveOrganization(before_[number].organization);
    if (terms_[number].known || ids_[number].empty()) continue;
    if (numbers_.erase(ids_[number]) > 0) {
      ids_[number].clear();
      free_numbers_.push_back(number);
    }
  }
  for (const uint32_t organization : touched_) organizations_[organization].touched = false;
  before_.clear();
  fates_.clear();
  to_judge_.clear();
  touched_.clear();
}

void RuleSet::Arrange() {
  for (const uint32_t touched : touched_) {
    OrganizationRules& organization = organizations_[touched];
    organization.lists = {};
    organization.silence_matters = 0;
    organization.lowest.fill(OrganizationRules::kNone);
  }
  longest_window_ = 0;
  for (uint32_t number = 0; number < terms_.size(); ++number) {
    const Terms& terms = terms_[number];
    if (!terms.known) continue;
    if (terms.condition == Condition::kRestartLoop) {
      longest_window_ = std::max(longest_window_, terms.duration);
    }
    OrganizationRules& organization = organizations_[terms.organization];
    if (!terms.enabled || !organization.touched) continue;
    const auto condition = static_cast<size_t>(terms.condition);
    organization.lists[condition].rules.push_back(number);
    if (terms.no_data != NoData::kKeep) {
      organization.silence_matters |= StreamBit(static_cast<int>(condition));
    }
  }
  for (const uint32_t touched : touched_) {
    OrganizationRules& organization = organizations_[touched];
    for (size_t condition = 0; condition < kConditions; ++condition) {
      RuleList& list = organization.lists[condition];
      std::stable_sort(list.rules.begin(), list.rules.end(), [this](uint32_t a, uint32_t b) {
        return terms_[a].threshold < terms_[b].threshold;
      });
      for (const uint32_t rule : list.rules) list.thresholds.push_back(terms_[rule].threshold);
      if (!list.thresholds.empty()) organization.lowest[condition] = list.thresholds.front();
    }
  }
}

void RuleSet::BeginWalk() {
  if (++walk_ != 0) return;
  for (Terms& terms : terms_) terms.mark = 0;
  walk_ = 1;
}

}  // namespace alerting
