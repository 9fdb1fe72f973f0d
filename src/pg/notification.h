// NOTIFY on the channel "alerting". Any process.
//
// Where the server's queue of notifications has no room (a session that listens stays in a
// transaction for long), the commit would fail: they are left out, and whoever listens finds in the
// tables what has happened. Not foretold is what others, or another call, add before the commit:
// then the evaluator tries again with less in a transaction.
#ifndef ALERTING_PG_NOTIFICATION_H_
#define ALERTING_PG_NOTIFICATION_H_

#include "pg/pg_headers.h"

namespace alerting::pg {

// PostgreSQL code. Notifies with each of the payloads (char *, less than 8000 bytes, in the
// database's encoding) when the current transaction commits, or with none of them: each call is
// looked at by itself.
void NotifyAtCommit(const List* payloads);

// Whether a commit that notifies would go through: one does at a time, on the whole server, and
// while it waits for a synchronous standby, none. Waits for that as long as lock_timeout says, but
// not at once again where that was in vain. For workers, whose commits must not fail for it again
// and again.
bool MayNotify();

}  // namespace alerting::pg

#endif  // ALERTING_PG_NOTIFICATION_H_
