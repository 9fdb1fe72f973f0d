// Puts deliveries into alerting.delivery, the outbox. Evaluator, in a transaction, as the tables'
// owner.
#ifndef ALERTING_EXT_EVALUATOR_OUTBOX_H_
#define ALERTING_EXT_EVALUATOR_OUTBOX_H_

#include <span>
#include <string>
#include <unordered_map>

#include "ext/evaluator/handover_writer.h"
#include "pg/spi.h"
#include "pg/table_plan.h"

namespace alerting::ext {

struct NewDelivery {
  std::string id;
  std::string webhook_id;
  std::string alert_id;
  Datum payload = 0;    // jsonb
  bool at_once = true;  // it waits for no other delivery
};

// Webhooks that the transaction has locked against deletion, with the versions of their rows.
using LockedWebhooks = std::unordered_map<std::string, std::string>;

class Outbox {
 public:
  Outbox();

  // In the order given. What was written is told to `handover`.
  void Write(const char* event, std::span<const NewDelivery> deliveries,
             const LockedWebhooks& locked, HandoverWriter* handover);

 private:
  pg::TablePlan plan_;
  pg::Statement insert_;
};

}  // namespace alerting::ext

#endif  // ALERTING_EXT_EVALUATOR_OUTBOX_H_
