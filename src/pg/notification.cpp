// Implements pg/notification.h.
#include "pg/notification.h"

#include <chrono>

#include "pg/transaction.h"

namespace alerting::pg {

namespace {

constexpr char kChannel[] = "alerting";
// After a wait in vain none for so long: transactions would hold what others want to lock.
constexpr std::chrono::seconds kImpatience(1);

// How many pages of the server's queue these may take: an entry has a head and does not go on on
// the next page, so that at most half of a page is lost by those that fill less than half of one.
double PagesOf(const List* payloads) {
  constexpr double kHead = 64;
  double bytes = 0;
  ListCell* cell;
  foreach (cell, payloads) {
    bytes += kHead + static_cast<double>(strlen(static_cast<const char*>(lfirst(cell))));
  }
  return 2 + 2 * bytes / BLCKSZ;
}

double FreePages() {
  LOCAL_FCINFO(call, 0);
  InitFunctionCallInfoData(*call, nullptr, 0, InvalidOid, nullptr, nullptr);
  const double used = DatumGetFloat8(pg_notification_queue_usage(call));
  return (1 - used) * MostNotificationPages();
}

// The lock that PreCommit_Notify() takes. PostgreSQL code.
bool IsLockFree(bool wait) {
  LOCKTAG tag;
  SET_LOCKTAG_OBJECT(tag, InvalidOid, DatabaseRelationId, InvalidOid, 0);
  if (LockAcquire(&tag, AccessExclusiveLock, false, !wait) == LOCKACQUIRE_NOT_AVAIL) return false;
  LockRelease(&tag, AccessExclusiveLock, false);
  return true;
}

}  // namespace

void NotifyAtCommit(const List* payloads) {
  if (payloads == NIL) return;
  if (PagesOf(payloads) > FreePages()) return;
  ListCell* cell;
  foreach (cell, payloads) {
    Async_Notify(kChannel, static_cast<const char*>(lfirst(cell)));
  }
}

bool MayNotify() {
  using Clock = std::chrono::steady_clock;
  static constinit Clock::time_point impatient_until;
  if (Call([] { return IsLockFree(false); })) return true;
  if (Clock::now() < impatient_until) return false;
  try {
    Subtransaction savepoint;
    const bool is_free = Call([] { return IsLockFree(true); });
    savepoint.Release();
    return is_free;
  } catch (const Error& error) {
    if (error.sqlstate() != ERRCODE_LOCK_NOT_AVAILABLE) throw;
    impatient_until = Clock::now() + kImpatience;
    return false;
  }
}

}  // namespace alerting::pg
