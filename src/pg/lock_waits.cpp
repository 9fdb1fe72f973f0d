// Implements pg/lock_waits.h.
#include "pg/lock_waits.h"

namespace alerting::pg {

namespace {

constexpr int kMostMs = 10;
constexpr char kMost[] = "10ms";

}  // namespace

ShortLockWaits::ShortLockWaits() {
  if (LockTimeout > 0 && LockTimeout <= kMostMs) return;
  Call([] {
    (void)set_config_option("lock_timeout", kMost, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
                            true, 0, false);
  });
}

}  // namespace alerting::pg
