// Puts attempts into alerting.delivery_attempt, the log of every request. Sender, in a
// StoreTransaction.
#ifndef ALERTING_EXT_SENDER_ATTEMPT_LOG_H_
#define ALERTING_EXT_SENDER_ATTEMPT_LOG_H_

#include <span>

#include "ext/sender/delivery_outcome.h"
#include "pg/spi.h"
#include "pg/table_plan.h"

namespace alerting::ext {

class AttemptLog {
 public:
  AttemptLog();

  // Of deliveries whose rows this transaction has updated: nobody can delete them meanwhile.
  void Write(std::span<const Outcome* const> outcomes);

 private:
  void WriteByStatement(std::span<const Outcome* const> outcomes);

  pg::TablePlan plan_;
  pg::Statement insert_;  // where the table asks for one
};

}  // namespace alerting::ext

#endif  // ALERTING_EXT_SENDER_ATTEMPT_LOG_H_
