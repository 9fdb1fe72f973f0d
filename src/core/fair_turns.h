// Whose turn it is: groups in turn, and the members of each group in turn, so that a group of a
// thousand members gets no more turns than a group of one. Used by the sender (organizations and
// their webhooks); pure.
#ifndef ALERTING_CORE_FAIR_TURNS_H_
#define ALERTING_CORE_FAIR_TURNS_H_

#include <cstddef>
#include <deque>
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
  size_t groups() const { return groups_.size(); }

  // The member whose turn it is. Not when empty().
  const Member& Next() const { return members_.at(groups_.front()).front(); }

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

  // It is the next group's turn; this one comes last, and keeps its order.
  void PassOver() {
    groups_.push_back(std::move(groups_.front()));
    groups_.pop_front();
  }

  // Costs as much as its group is long.
  void Remove(const std::string& group, const Member& member) {
    const auto found = members_.find(group);
    if (found == members_.end()) return;
    std::erase(found->second, member);
    if (!found->second.empty()) return;
    members_.erase(found);
    std::erase(groups_, group);
  }

 private:
  std::deque<std::string> groups_;  // of members_, next in turn first
  std::unordered_map<std::string, std::deque<Member>> members_;
};

}  // namespace alerting

#endif  // ALERTING_CORE_FAIR_TURNS_H_
