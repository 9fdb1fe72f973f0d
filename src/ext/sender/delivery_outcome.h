// What came of a request, as it is written down. Sender.
#ifndef ALERTING_EXT_SENDER_DELIVERY_OUTCOME_H_
#define ALERTING_EXT_SENDER_DELIVERY_OUTCOME_H_

#include <string>

#include "core/time.h"
#include "ext/webhook/webhook_request.h"
#include "pg/spi.h"

namespace alerting::ext {

enum class DeliveryStatus { kPending, kDelivered, kFailed };

struct Outcome {
  std::string delivery_id;
  pg::RowPlace place = pg::kNoPlace;  // where its row lay when it was fetched
  std::string webhook_id;
  Micros at = kNoTime;  // start of the attempt
  int status_code = 0;  // 0: none came
  std::string error;    // empty: none
  bool counts = true;   // as one of the delivery's tries
  int duration_ms = 0;
  Phases phases;
  std::string response;  // text in the database's encoding
  DeliveryStatus status = DeliveryStatus::kPending;
  Micros next_attempt_at = kNoTime;  // kPending only
  Micros due = kNoTime;              // the delivery's next_attempt_at when it was fetched
  int64_t sequence = 0;              // and its place among those of one time; 0: unknown
};

}  // namespace alerting::ext

#endif  // ALERTING_EXT_SENDER_DELIVERY_OUTCOME_H_
