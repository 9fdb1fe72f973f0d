// The evaluator's half of the hand-over: the deliveries that its transaction makes, put into the
// ring for the sender before the transaction commits, so that the sender need not look for them.
//
// Invariant: all of a transaction's deliveries are handed over, or the sender is told to look.
#ifndef ALERTING_EXT_EVALUATOR_HANDOVER_WRITER_H_
#define ALERTING_EXT_EVALUATOR_HANDOVER_WRITER_H_

#include <string>
#include <vector>

#include "core/handover.h"
#include "pg/shared_state.h"
#include "pg/spi.h"

namespace alerting::ext {

class HandoverWriter {
 public:
  explicit HandoverWriter(pg::DatabaseSlot* slot) : slot_(slot) {}

  // A transaction that writes so many transitions begins. Large ones are left to the sender's own
  // fetches, which are cheap for many.
  void Begin(size_t transitions);
  // Whether it is worth while to add what is written.
  bool wants() const { return wants_; }
  // A delivery as the table has it: pending, never tried, and due by itself.
  void Add(HandedDelivery delivery);
  // The sender has to look at the tables: something of this transaction is not as that.
  void Decline() { wants_ = false; }
  // A statement writes deliveries, or what does the same.
  void CountStatement() { ++statements_; }
  // Before the commit.
  void Publish();

 private:
  pg::DatabaseSlot* const slot_;
  bool wants_ = false;
  int statements_ = 0;
  size_t bytes_ = 0;  // of the bodies
  std::vector<HandedDelivery> deliveries_;
};

}  // namespace alerting::ext

#endif  // ALERTING_EXT_EVALUATOR_HANDOVER_WRITER_H_
