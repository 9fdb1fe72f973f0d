// NOTIFY for deletions of the host. Its own transaction does not notify: that would wait for
// whoever has notified and not yet committed, which takes as long as a synchronous standby is away,
// would let others wait, and could not be prepared. The texts wait in the backend's memory and go
// to the evaluator after COMMIT, which notifies; a transaction that is prepared tells nobody. Any
// backend.
#include "ext/capture/commit_notices.h"

#include "ext/capture/transaction_buffer.h"
#include "pg/guard.h"

extern "C" {
PG_FUNCTION_INFO_V1(alerting_notify_at_commit);
PGDLLEXPORT Datum alerting_notify_at_commit(PG_FUNCTION_ARGS);
}

namespace alerting::ext {

namespace {

// The payloads in their order, and where those of each savepoint level begin: what is above a level
// belongs to it, so that a savepoint's end costs the same however many wait. In
// TopTransactionContext.
struct Level {
  int nest_level;
  int start;
};

constinit List* notices = NIL;
constinit List* levels = NIL;

// PostgreSQL code.
void AddNotice(const text* payload) {
  if (VARSIZE_ANY_EXHDR(payload) > kMaxKeyBytes) return;
  MemoryContext outer = MemoryContextSwitchTo(TopTransactionContext);
  const int nest_level = GetCurrentTransactionNestLevel();
  if (levels == NIL || static_cast<Level*>(llast(levels))->nest_level < nest_level) {
    Level* level = static_cast<Level*>(palloc(sizeof(Level)));
    *level = {nest_level, list_length(notices)};
    levels = lappend(levels, level);
  }
  notices = lappend(notices, text_to_cstring(payload));
  MemoryContextSwitchTo(outer);
}

Message NoticeOf(const ListCell* cell) {
  Message message;
  message.kind = MessageKind::kNotice;
  message.sample.container = static_cast<const char*>(lfirst(cell));
  return message;
}

// As messages, all of them or, without memory, none. PostgreSQL code that raises no error.
void HandToEvaluator() {
  size_t size = 0;
  ListCell* cell;
  foreach (cell, notices) size += MessageSize(NoticeOf(cell));
  constexpr int kFlags = MCXT_ALLOC_HUGE | MCXT_ALLOC_NO_OOM;
  char* bytes = static_cast<char*>(MemoryContextAllocExtended(TopTransactionContext, size, kFlags));
  if (bytes == nullptr) return;
  size_t used = 0;
  SampleContext context;
  foreach (cell, notices) {
    used += WriteMessage(NoticeOf(cell), &context, bytes + used);
  }
  TellNoticesAtCommit({bytes, used});
}

extern "C" void OnTransaction(XactEvent event, void* /*argument*/) {
  if (event == XACT_EVENT_PRE_COMMIT) {
    if (notices != NIL) HandToEvaluator();
  } else if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT ||
             event == XACT_EVENT_PREPARE) {
    notices = levels = NIL;
  }
}

extern "C" void OnSubtransaction(SubXactEvent event, SubTransactionId /*mine*/,
                                 SubTransactionId /*parent*/, void* /*argument*/) {
  if (levels == NIL) return;
  const int nest_level = GetCurrentTransactionNestLevel();
  Level* top = static_cast<Level*>(llast(levels));
  if (top->nest_level < nest_level) return;
  if (event == SUBXACT_EVENT_ABORT_SUB) {
    notices = list_truncate(notices, top->start);
    levels = list_delete_last(levels);
  } else if (event == SUBXACT_EVENT_COMMIT_SUB) {
    top->nest_level = nest_level - 1;
    const int below = list_length(levels) - 2;
    // Merged into the level below if that has notices of its own.
    if (below >= 0 && static_cast<Level*>(list_nth(levels, below))->nest_level == nest_level - 1) {
      levels = list_delete_last(levels);
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
    if (!alerting::ext::OpenTransactionBuffer()) return Datum{0};
    alerting::pg::Call([&] { alerting::ext::AddNotice(PG_GETARG_TEXT_PP(0)); });
    return Datum{0};
  });
}
