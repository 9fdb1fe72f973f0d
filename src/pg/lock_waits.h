// Locks that somebody else holds. Any backend.
#ifndef ALERTING_PG_LOCK_WAITS_H_
#define ALERTING_PG_LOCK_WAITS_H_

#include "pg/transaction.h"

namespace alerting::pg {

// Until destroyed, to wait for a lock is an error after a moment: whoever inserts must not wait for
// what a mapping reads. Ends with the savepoint, as settings do.
class ShortLockWaits {
 public:
  ShortLockWaits();
  ShortLockWaits(const ShortLockWaits&) = delete;
  ShortLockWaits& operator=(const ShortLockWaits&) = delete;

 private:
  SettingsScope settings_;
};

}  // namespace alerting::pg

#endif  // ALERTING_PG_LOCK_WAITS_H_
