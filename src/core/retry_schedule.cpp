#include "core/retry_schedule.h"

#include <algorithm>

namespace alerting {
namespace {

constexpr Micros kDefaultSchedule[] = {
    5 * kSecond, 5 * kMinute, 30 * kMinute, 2 * kHour,  5 * kHour,
    10 * kHour,  14 * kHour,  20 * kHour,   24 * kHour,
};

}  // namespace

std::span<const Micros> DefaultRetrySchedule() { return kDefaultSchedule; }

std::optional<Micros> PauseAfterFailure(std::span<const Micros> schedule, int failures,
                                        double random) {
  if (failures < 1 || static_cast<size_t>(failures) > schedule.size()) return std::nullopt;
  const Micros pause = std::max<Micros>(schedule[static_cast<size_t>(failures) - 1], 0);
  const double jitter = std::clamp(random, 0.0, 1.0) * kMaxJitter;
  return AddTime(pause, static_cast<Micros>(static_cast<double>(pause) * jitter));
}

Micros RemainingPauses(std::span<const Micros> schedule, int failures) {
  Micros sum = 0;
  for (size_t i = static_cast<size_t>(std::max(failures, 0)); i < schedule.size(); ++i) {
    sum = AddTime(sum, std::max<Micros>(schedule[i], 0));
  }
  return sum;
}

}  // namespace alerting
