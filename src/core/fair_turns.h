// Whose turn it is: groups in turn, and the members of each group in turn, so that a group of a
// thousand members gets no more turns than a group of one. Used by the sender (organizations and
// their webhooks); pure.
#ifndef ALERTING_CORE_FAIR_TURNS_H_
#define ALERTING_CORE_FAIR_TURNS_H_

#include <algorithm>
#include <deque>
#include <iterator>
#include <string>
#include <unordered_map>
#include <utility>

namespace alerting {

// A member is in here once at most; who adds one sees to it.
template <typename Member>
class FairTurns {
 public:
  // Behind all members of its group; a new group comes behind all groups.
  void Add(const std::string& group, Member member) {
    std::deque<Member>& members = members_[group];
    if (members.empty()) groups_.push_back(group);
    members.push_back(std::move(member));
  }

  bool empty() const { return groups_.empty(); }

  // Takes out the member whose turn it is; its group comes last then. Not when empty().
  Member Take() {
    std::string group = std::move(groups_.front());
    groups_.pop_front();
    const auto found = members_.find(group);
    Member member = std::move(found->second.front());
    found->second.pop_front();
    if (found->second.empty()) {
      members_.erase(found);
    } else {
      groups_.push_back(std::move(group));
    }
    return member;
  }

  template <typename Predicate>
  void RemoveIf(const Predicate& predicate) {
    for (auto entry = members_.begin(); entry != members_.end();) {
      std::erase_if(entry->second, predicate);
      entry = entry->second.empty() ? members_.erase(entry) : std::next(entry);
    }
    std::erase_if(groups_, [&](const std::string& group) { return !members_.contains(group); });
  }

 private:
  std::deque<std::string> groups_;  // of members_, next in turn first
  std::unordered_map<std::string, std::deque<Member>> members_;
};

}  // namespace alerting

#endif  // ALERTING_CORE_FAIR_TURNS_H_
