// A jsonb as text, just as jsonb_out() gives it. Any process.
#ifndef ALERTING_PG_JSONB_TEXT_H_
#define ALERTING_PG_JSONB_TEXT_H_

#include "pg/guard.h"

namespace alerting::pg {

// In the current memory context. PostgreSQL code: called within pg::Call. jsonb_out() takes three
// times as long for a webhook's body (a sixth of what the sender takes for a webhook): it looks
// at texts, which hardly ever have anything to escape, byte by byte.
StringInfoData JsonbText(Datum jsonb);

}  // namespace alerting::pg

#endif  // ALERTING_PG_JSONB_TEXT_H_
