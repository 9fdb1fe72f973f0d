// NOTIFY for deletions of the host, which must stay free to prepare its transaction: one that has
// notified cannot be prepared. The messages wait in the backend's memory and become notifications
// when the transaction is about to commit; one that is prepared tells nobody. Any backend.
#include "ext/commit_notices.h"

#include "pg/guard.h"

extern "C" {
PG_FUNCTION_INFO_V1(alerting_notify_at_commit);
PGDLLEXPORT Datum alerting_notify_at_commit(PG_FUNCTION_ARGS);
}

namespace alerting::ext {

namespace {

constexpr char kChannel[] = "alerting";

// In TopTransactionContext, as the list is.
struct Notice {
  int nest_level;
  char* payload;
};

constinit List* notices = NIL;

// PostgreSQL code.
void AddNotice(const text* payload) {
  MemoryContext outer = MemoryContextSwitchTo(TopTransactionContext);
  Notice* notice = static_cast<Notice*>(palloc(sizeof(Notice)));
  notice->nest_level = GetCurrentTransactionNestLevel();
  notice->payload = text_to_cstring(payload);
  notices = lappend(notices, notice);
  MemoryContextSwitchTo(outer);
}

// Plain PostgreSQL code without C++ objects: errors pass through as they come.
extern "C" void OnTransaction(XactEvent event, void* /*argument*/) {
  if (event == XACT_EVENT_PRE_COMMIT) {
    ListCell* cell;
    foreach (cell, notices) {
      Async_Notify(kChannel, static_cast<Notice*>(lfirst(cell))->payload);
    }
  } else if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT ||
             event == XACT_EVENT_PREPARE) {
    notices = NIL;
  }
}

extern "C" void OnSubtransaction(SubXactEvent event, SubTransactionId /*mine*/,
                                 SubTransactionId /*parent*/, void* /*argument*/) {
  if (notices == NIL) return;
  const int nest_level = GetCurrentTransactionNestLevel();
  ListCell* cell;
  foreach (cell, notices) {
    Notice* notice = static_cast<Notice*>(lfirst(cell));
    if (notice->nest_level < nest_level) continue;
    if (event == SUBXACT_EVENT_ABORT_SUB) {
      notices = foreach_delete_current(notices, cell);
    } else if (event == SUBXACT_EVENT_COMMIT_SUB) {
      notice->nest_level = nest_level - 1;
    }
  }
}

}  // namespace

void RegisterNoticeCallbacks() {
  RegisterXactCallback(OnTransaction, nullptr);
  RegisterSubXactCallback(OnSubtransaction, nullptr);
}

}  // namespace alerting::ext

Datum alerting_notify_at_commit(PG_FUNCTION_ARGS) {
  return alerting::pg::Entry([&] {
    alerting::pg::Call([&] { alerting::ext::AddNotice(PG_GETARG_TEXT_PP(0)); });
    return Datum{0};
  });
}
