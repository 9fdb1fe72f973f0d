// Named points at which a test stops a process, to kill it or others just there. Any process.
//
// Compiled in by "make TEST_BUILD=1" only; elsewhere a point is nothing. A process that comes to
// point P takes the file alerting_freeze/P of the data directory, if there is one, by renaming it
// to P.<pid>, and goes on once that has been removed.
#ifndef ALERTING_PG_FREEZE_POINT_H_
#define ALERTING_PG_FREEZE_POINT_H_

#include "pg/pg_headers.h"

#ifdef ALERTING_FREEZE_POINTS

#include <unistd.h>

namespace alerting::pg {

// Raises nothing and heeds no interrupt, so that a point may stand anywhere.
inline void FreezeAt(const char* point) noexcept {
  char wanted[MAXPGPATH];
  char taken[MAXPGPATH];
  snprintf(wanted, sizeof(wanted), "alerting_freeze/%s", point);
  snprintf(taken, sizeof(taken), "%s.%d", wanted, MyProcPid);
  if (rename(wanted, taken) != 0) return;
  while (access(taken, F_OK) == 0) pg_usleep(1000);
}

}  // namespace alerting::pg

#define ALERTING_FREEZE_POINT(point) ::alerting::pg::FreezeAt(point)
#else
#define ALERTING_FREEZE_POINT(point) static_cast<void>(0)
#endif

#endif  // ALERTING_PG_FREEZE_POINT_H_
