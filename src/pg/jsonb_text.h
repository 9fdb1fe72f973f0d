// A jsonb as text, just as jsonb_out() gives it. Any process.
#ifndef ALERTING_PG_JSONB_TEXT_H_
#define ALERTING_PG_JSONB_TEXT_H_

#include "pg/guard.h"

namespace alerting::pg {

// In the current memory context. PostgreSQL code: called within pg::Call. In half of jsonb_out()'s
// instructions for a webhook's body, which were a sixth of all that the sender takes for one: texts
// hardly ever have anything to escape, and are looked at by eight bytes at a time.
StringInfoData JsonbText(Datum jsonb);

}  // namespace alerting::pg

#endif  // ALERTING_PG_JSONB_TEXT_H_
