// NOTIFY on the channel "alerting". Any process.
//
// Invariant: it never makes a transaction fail. Of notifications that the server's queue has no
// room for (a session that listens stays in a transaction for long), the commit would fail: they
// are left out, and whoever listens finds in the tables what has happened.
#ifndef ALERTING_PG_NOTIFICATION_H_
#define ALERTING_PG_NOTIFICATION_H_

#include "pg/pg_headers.h"

namespace alerting::pg {

// PostgreSQL code. Notifies with each of the payloads (char *, less than 8000 bytes, in the
// database's encoding) when the current transaction commits, or with none of them.
void NotifyAtCommit(const List* payloads);

}  // namespace alerting::pg

#endif  // ALERTING_PG_NOTIFICATION_H_
