// Counting restarts in a window. Runs in the evaluator.
#include "core/series_state.h"

#include <algorithm>

namespace alerting {
namespace {

// The gains later than `time`.
std::span<const Gain> After(std::span<const Gain> gains, Micros time) {
  const auto first = std::upper_bound(gains.begin(), gains.end(), time,
                                      [](Micros t, const Gain& gain) { return t < gain.at; });
  return {first, gains.end()};
}

}  // namespace

void RestartGains::DropUntil(Micros time) {
  while (head < list.size() && list[head].at <= time) ++head;
  if (head * size_t{2} > list.size()) {
    list.erase(list.begin(), list.begin() + head);
    head = 0;
  }
}

double CountGains(std::span<const Gain> gains, Micros at, Micros window) {
  double count = 0;
  for (const Gain& gain : After(gains, SubtractTime(at, window))) {
    if (gain.at > at) break;
    count += gain.restarts;
  }
  return count;
}

WindowEnd FindWindowEnd(std::span<const Gain> gains, Micros at, Micros window, double threshold) {
  WindowEnd end;
  double count = 0;  // of the gains later than the one looked at
  const std::span<const Gain> inside = After(gains, SubtractTime(at, window));
  for (auto gain = inside.rbegin(); gain != inside.rend(); ++gain) {
    if (count <= threshold) end = {AddTime(gain->at, window), count};
    count += gain->restarts;
  }
  return end;
}

}  // namespace alerting
