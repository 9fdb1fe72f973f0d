// The rules of all organizations, arranged so that a reading only meets the rules that it breaches.
// Used by the evaluator.
// Invariant: a rule keeps its number as long as its id is in the set; an organization keeps its
// number as long as a rule or a container belongs to it.
#ifndef ALERTING_CORE_RULE_SET_H_
#define ALERTING_CORE_RULE_SET_H_

#include <array>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/chunked_vector.h"
#include "core/rule.h"
#include "core/series_state.h"

namespace alerting {

// What judging needs of a rule.
struct Terms {
  double threshold = 0;  // CONTAINER_DOWN: between up (0) and down (1)
  Micros duration = 0;
  uint32_t organization = kNil;
  uint32_t mark = 0;  // scratch of whoever walks rules: last walk that met this rule
  Condition condition = Condition::kCpuUsage;
  NoData no_data = NoData::kKeep;
  bool enabled = false;
  bool known = false;

  bool SameAs(const Terms& other) const {
    return threshold == other.threshold && duration == other.duration && no_data == other.no_data;
  }
};
// The terms of a rule as the engine reads them; the organization is left out.
Terms TermsOf(const Rule& rule);

// The enabled rules of one condition, by threshold.
struct RuleList {
  std::vector<double> thresholds;  // rising
  std::vector<uint32_t> rules;     // their numbers
};

struct OrganizationRules {
  std::string key;
  uint32_t users = 0;           // containers and rules
  uint8_t silence_matters = 0;  // stream bits: an enabled rule says resolve or fire
  bool touched = false;         // by the change of rules under way
  // The lowest threshold of each condition: what most readings are compared with.
  std::array<double, kConditions> lowest = {kNone, kNone, kNone, kNone};
  std::array<RuleList, kConditions> lists;

  static constexpr double kNone = std::numeric_limits<double>::infinity();
};

enum class RuleFate : uint8_t {
  kSame,
  kChanged,  // threshold, duration or no_data
  kNew,      // or enabled again
  kRebound,  // condition or organization changed: closed, then judged as new
  kDisabled,
  kDeleted,
};

struct TextHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};
using NumberByText = std::unordered_map<std::string, uint32_t, TextHash, std::equal_to<>>;

class RuleSet {
 public:
  // --- organizations
  uint32_t UseOrganization(std::string_view key);  // one user more
  void LeaveOrganization(uint32_t organization);   // one user less
  OrganizationRules& organization(uint32_t number) { return organizations_[number]; }
  const OrganizationRules& organization(uint32_t number) const { return organizations_[number]; }

  // --- rules
  uint32_t Find(std::string_view id) const;  // kNil when unknown
  const Terms& terms(uint32_t rule) const { return terms_[rule]; }
  const std::string& id(uint32_t rule) const { return ids_[rule]; }
  Micros longest_window() const { return longest_window_; }

  // A change goes in three steps, since alerts are closed under the old terms: `Compare` says what
  // becomes of each rule (fates, by number), `Install` makes the new terms hold, and `Forget` lets
  // go of deleted rules once no state refers to them. `before` has the old terms in between.
  void Compare(std::vector<Rule> rules);
  void Install();
  void Forget();
  RuleFate fate(uint32_t rule) const {
    return rule < fates_.size() ? fates_[rule] : RuleFate::kSame;
  }
  const Terms& before(uint32_t rule) const { return before_[rule]; }
  bool closes_alerts() const { return closes_alerts_; }
  const std::vector<uint32_t>& to_judge() const { return to_judge_; }  // new, rebound or changed
  const std::vector<uint32_t>& touched() const { return touched_; }    // organizations

  // For walks over a container's states and an organization's rules that must not meet one twice.
  void BeginWalk();
  void Mark(uint32_t rule) { terms_[rule].mark = walk_; }
  bool Marked(uint32_t rule) const { return terms_[rule].mark == walk_; }

 private:
  uint32_t NumberFor(const std::string& id);
  void Touch(uint32_t organization);
  void Arrange();

  NumberByText organization_numbers_;
  std::vector<OrganizationRules> organizations_;
  std::vector<uint32_t> free_organizations_;

  NumberByText numbers_;
  std::vector<std::string> ids_;
  std::vector<Terms> terms_;
  std::vector<uint32_t> free_numbers_;
  Micros longest_window_ = 0;
  uint32_t walk_ = 0;

  // The change under way.
  std::vector<Terms> next_;
  std::vector<Terms> before_;
  std::vector<RuleFate> fates_;
  std::vector<uint32_t> to_judge_;
  std::vector<uint32_t> touched_;
  bool closes_alerts_ = false;
};

}  // namespace alerting

#endif  // ALERTING_CORE_RULE_SET_H_
