// The evaluator's half of the hand-over: the deliveries that its transaction makes, put into the
// ring for the sender before the transaction commits, so that the sender need not look for them.
//
// Invariant: all of a transaction's deliveries are handed over, or the sender is told to look.
#ifndef ALERTING_EXT_HANDOVER_WRITER_H_
#define ALERTING_EXT_HANDOVER_WRITER_H_

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
  // Whether it is worth while to return what an INSERT INTO alerting.delivery has made.
  bool wants() const { return wants_; }
  // The rows of such a statement, by Returning().
  void Add(const pg::Rows& rows);
  // Before the commit.
  void Publish();

  // What an INSERT INTO alerting.delivery AS d returns for Add.
  static std::string Returning();

 private:
  pg::DatabaseSlot* const slot_;
  bool wants_ = false;
  int statements_ = 0;
  size_t bytes_ = 0;  // of the bodies
  std::vector<HandedDelivery> deliveries_;
};

}  // namespace alerting::ext

#endif  // ALERTING_EXT_HANDOVER_WRITER_H_
