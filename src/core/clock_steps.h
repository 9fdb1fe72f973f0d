// Notices that the clock was put back, so that what waits for a time of it does not wait until it
// is there again. Evaluator and sender; pure.
#ifndef ALERTING_CORE_CLOCK_STEPS_H_
#define ALERTING_CORE_CLOCK_STEPS_H_

#include <initializer_list>
#include <utility>

#include "core/time.h"

namespace alerting {

class ClockSteps {
 public:
  // By how much it was put back since the last call; 0: it was not.
  Micros PutBackBy(Micros now) {
    const Micros before = std::exchange(last_, now);
    return now < before ? SubtractTime(before, now) : 0;
  }

 private:
  Micros last_ = kNoTime;
};

// Puts times back with the clock.
inline void PutBack(std::initializer_list<Micros*> times, Micros by) {
  for (Micros* time : times) *time = SubtractTime(*time, by);
}

}  // namespace alerting

#endif  // ALERTING_CORE_CLOCK_STEPS_H_
