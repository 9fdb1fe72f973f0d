// A transition on its way to the database.
#ifndef ALERTING_EXT_EVALUATOR_OUTGOING_TRANSITION_H_
#define ALERTING_EXT_EVALUATOR_OUTGOING_TRANSITION_H_

#include <string>

#include "core/engine.h"

namespace alerting::ext {

struct OutgoingTransition {
  Transition transition;
  std::string alert_id;
  int failures = 0;           // in a row
  Micros retry_at = kNoTime;  // not before
  bool settled = false;       // written, or of no use any more: to be forgotten
};

}  // namespace alerting::ext

#endif  // ALERTING_EXT_EVALUATOR_OUTGOING_TRANSITION_H_
