// Who has to be looked at, of many that mostly have nothing to do: the others sleep until a time,
// or until somebody wakes them. Looking at those that are awake costs nothing for those that sleep.
// Used by the sender (webhooks); pure.
#ifndef ALERTING_CORE_SLEEPERS_H_
#define ALERTING_CORE_SLEEPERS_H_

#include <set>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "core/time.h"

namespace alerting {

template <typename Member>
class Sleepers {
 public:
  // Also of one that is new.
  void Wake(Member* member) {
    const auto found = asleep_.find(member);
    if (found != asleep_.end()) {
      times_.erase({found->second, member});
      asleep_.erase(found);
    }
    awake_.insert(member);
  }

  // Those whose time has come.
  void WakeDue(Micros now) {
    while (next() <= now && !times_.empty()) Wake(times_.begin()->second);
  }

  // `until` gives each that is awake the time until which it sleeps (kNever: until it is woken),
  // or nullopt: it stays awake.
  template <typename Until>
  void LetSleep(const Until& until) {
    for (auto entry = awake_.begin(); entry != awake_.end();) {
      Member* member = *entry;
      if (const auto time = until(*member)) {
        if (*time != kNever) times_.insert({*time, member});
        asleep_[member] = *time;
        entry = awake_.erase(entry);
      } else {
        ++entry;
      }
    }
  }

  void Remove(Member* member) {
    Wake(member);
    awake_.erase(member);
  }

  const std::unordered_set<Member*>& awake() const { return awake_; }
  // When the first of them wakes.
  Micros next() const { return times_.empty() ? kNever : times_.begin()->first; }

 private:
  std::unordered_set<Member*> awake_;
  std::unordered_map<Member*, Micros> asleep_;
  std::set<std::pair<Micros, Member*>> times_;  // of those asleep that wake by themselves
};

}  // namespace alerting

#endif  // ALERTING_CORE_SLEEPERS_H_
