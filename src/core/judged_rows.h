// What the rows of one container said that its readings do not show: a restart reads rows again,
// and must not judge this twice. Used by the evaluator.
#ifndef ALERTING_CORE_JUDGED_ROWS_H_
#define ALERTING_CORE_JUDGED_ROWS_H_

#include <cstdint>
#include <vector>

#include "core/sample.h"
#include "core/time.h"

namespace alerting {

// A row whose own time lay too far ahead, so that it was judged as of its arrival.
struct RowAhead {
  Micros at = 0;        // its own time
  uint32_t digest = 0;  // of what it says
  bool operator==(const RowAhead&) const = default;
};
uint32_t DigestOf(const Sample& sample);

// What was said of the time of a metric's last reading before another row corrected it.
struct Superseded {
  Micros at = 0;
  Reading reading = kCpu;
  double value = 0;
  bool operator==(const Superseded&) const = default;
};

struct JudgedRows {
  std::vector<RowAhead> ahead;         // in order of time
  std::vector<Superseded> superseded;  // of one time for each metric
  uint32_t next = 0;

  // False when nothing changes: it is known, or there is no room for one as far ahead.
  bool AddAhead(const RowAhead& row);
  bool AddSuperseded(const Superseded& said);
  // Forgets rows ahead of before `time`: what they say is late by now.
  void DropAheadBefore(Micros time);
  // Which of the sample's readings were judged before.
  uint8_t Judged(const Sample& sample) const;
};

}  // namespace alerting

#endif  // ALERTING_CORE_JUDGED_ROWS_H_
