// Puts alerts that have begun into alerting.alert. Evaluator, in a transaction, as the tables'
// owner.
#ifndef ALERTING_EXT_EVALUATOR_ALERT_ROWS_H_
#define ALERTING_EXT_EVALUATOR_ALERT_ROWS_H_

#include <span>
#include <vector>

#include "ext/evaluator/outgoing_transition.h"
#include "ext/host/binding.h"
#include "pg/spi.h"
#include "pg/table_plan.h"

namespace alerting::ext {

class AlertRows {
 public:
  explicit AlertRows(const Binding& binding);

  // Writes those of `batch` that `fires` names, whose rules and containers the transaction has
  // locked against deletion, and returns which are written. Of the others an alert is FIRING
  // already: its id replaces the one in the batch.
  std::vector<size_t> Insert(std::span<OutgoingTransition* const> batch,
                             const std::vector<size_t>& fires);

 private:
  std::vector<size_t> InsertByStatement(std::span<OutgoingTransition* const> batch,
                                        const std::vector<size_t>& fires);
  void FindFiring(std::span<OutgoingTransition* const> batch, const std::vector<size_t>& fires);

  const Binding& binding_;
  pg::TablePlan plan_;
  pg::Statement insert_;
  pg::Statement find_firing_;
};

}  // namespace alerting::ext

#endif  // ALERTING_EXT_EVALUATOR_ALERT_ROWS_H_
