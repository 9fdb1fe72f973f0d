// A transaction of the evaluator.
#ifndef ALERTING_EXT_EVALUATOR_EXTENSION_TRANSACTION_H_
#define ALERTING_EXT_EVALUATOR_EXTENSION_TRANSACTION_H_

#include "pg/shared_state.h"
#include "pg/transaction.h"

namespace alerting::ext {

// It ends the worker in good order once the extension is gone or of a version that this library
// does not serve.
class ExtensionTransaction {
 public:
  ExtensionTransaction(pg::DatabaseSlot* slot, const char* activity);
  void Commit() { transaction_.Commit(); }
  void TakeSnapshot() { transaction_.TakeSnapshot(); }

 private:
  pg::Transaction transaction_;
};

}  // namespace alerting::ext

#endif  // ALERTING_EXT_EVALUATOR_EXTENSION_TRANSACTION_H_
