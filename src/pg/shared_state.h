// What the processes of a server share: one slot per database that uses the extension, with its
// queue, its workers and its counters. Fixed size, no pointers, made on first use (with or without
// shared_preload_libraries). Written by any process.
//
// Locks: `root->lock` guards the launcher's fields, which slot belongs to which database, and what
// is to run there (wish, locked_out, asked, workers); `slot->lock` guards the queue, what had no
// room in it, the handles and the problem. The rest is atomic, or a flag that workers write. Who
// only looks whether there is something to do may read without the lock, and takes it to act.
// Nothing that may ereport runs under either.
#ifndef ALERTING_PG_SHARED_STATE_H_
#define ALERTING_PG_SHARED_STATE_H_

#include <initializer_list>

#include "core/time.h"
#include "pg/pg_headers.h"

namespace alerting::pg {

inline constexpr int kMaxDatabases = 64;
inline constexpr int kMaxReplays = 16;
inline constexpr int kProblemBytes = 192;
inline constexpr int kMaxForgotten = 64;

enum WorkerKind : int { kEvaluator = 0, kSender = 1 };
inline constexpr int kWorkerKinds = 2;

// What the launcher should do with a database's workers.
enum class Wish : int {
  kProbe,     // start the evaluator: it finds out whether there is something to do
  kProbing,   // it has been started for that
  kRun,       // keep both workers running
  kNothing,   // no extension or no binding; until somebody asks again
  kOutdated,  // extension and library are of different versions; until one is updated
  kStopped,   // by alerting.stop(); until alerting.start() or DROP EXTENSION
};

struct WorkerSlot {
  pid_t pid;   // 0: not running
  int procno;  // ProcGlobal->allProcs index, valid while pid != 0
};

// "Source `source` has rows from `from` on that did not go through the queue."
struct ReplayMark {
  uint32 source;
  Micros from;
};

struct DatabaseSlot {
  Oid database;  // InvalidOid: free
  Wish wish;
  int locked_out;  // commands under way that need the database for themselves (DROP DATABASE, ...)
  uint32 asked;    // counts explicit requests to start, which no pause delays
  WorkerSlot workers[kWorkerKinds];

  LWLock lock;
  dsm_handle queue;         // DSM_HANDLE_INVALID: none yet
  uint64 queue_generation;  // counts queues made, so that a stale mapping is recognised
  int replay_count;         // marks below; while > 0, writers mark instead of appending
  ReplayMark replays[kMaxReplays];
  bool replay_all;  // more sources than marks: read all of them
  Micros replay_all_from;
  bool prepared;             // what a prepared transaction wrote had no room in the queue
  dsm_handle handover;       // see pg/handover_ring.h; DSM_HANDLE_INVALID: none yet
  pg_atomic_uint32 marking;  // transactions that have left marks and have not ended yet
  // What messages without room in the queue would have told (core/message.h).
  bool rules_changed;
  bool binding_changed;  // or containers were deleted: all is to be loaded anew
  bool containers_changed;
  bool containers_truncated;
  uint64 forgotten[kMaxForgotten];  // hashes of the keys of containers that were deleted
  int forgotten_count;

  // alerting.flush(): requests are numbered; done >= number means fulfilled.
  pg_atomic_uint64 flush_requested;
  pg_atomic_uint64 flush_done;
  pg_atomic_uint64 sender_flush_requested;
  pg_atomic_uint64 sender_flush_done;
  pg_atomic_uint64 sender_wakes;   // counts calls of WakeWorker(slot, kSender): "look at the table"
  pg_atomic_uint64 sender_starts;  // counts senders: what was handed to one, another doesn't know
  ConditionVariable flushed;

  char problem[kProblemBytes];  // why a worker's last step failed, "" when it did not
  WorkerKind problem_of;

  bool held;  // a restored copy: deliveries wait for alerting.resume(); the workers say so
  pg_atomic_uint64 samples;  // judged or recognised as repeated
  pg_atomic_uint64 late;
  pg_atomic_uint64 backfill;
  pg_atomic_uint64 skipped;  // rows without container or time, or whose expression failed
  pg_atomic_uint64 unknown;  // rows of unknown containers
  pg_atomic_uint64 transitions;
  pg_atomic_uint64 deliveries;  // delivered
  pg_atomic_uint64 failed_attempts;
  pg_atomic_uint64 replays_done;
  pg_atomic_uint64 evaluated_until;    // commit time of the newest transaction judged (Micros)
  pg_atomic_uint64 containers;         // known to the evaluator
  pg_atomic_uint64 evaluator_started;  // when it last started (Micros): silence counts from then
};

// Of what lies in shared memory, the queue's messages included. An older library, which a server
// without preloading may still hold memory of, left 0.
inline constexpr uint32 kSharedFormat = 4;

struct SharedRoot {
  LWLock lock;
  uint32 format;  // kSharedFormat of the library that made it
  int tranche;
  pid_t launcher_pid;
  int launcher_procno;
  TimestampTz launcher_requested_at;  // last try to register it
  bool launcher_failure_logged;
  DatabaseSlot slots[kMaxDatabases];
};

// Bytes to ask for in a shmem_request_hook when preloaded.
Size SharedRootSize();

// Finds or makes the root; ERROR only when shared memory is exhausted.
SharedRoot* Root();

// The slot of a database, nullptr when it has none.
DatabaseSlot* FindSlot(Oid database);
// The same, taking a free one if needed; nullptr when all are taken.
DatabaseSlot* ClaimSlot(Oid database);
// Frees the database's slot if it has no workers (any more) and nobody asks for any; `is_gone`: the
// database is, so that nobody can.
void ReleaseSlot(DatabaseSlot* slot, Oid database, bool is_gone);
// The current database's slot, cached. nullptr only when all slots are taken.
DatabaseSlot* MySlot();

// Sets the process's latch, if it runs. Safe where nothing may fail.
void WakeWorker(DatabaseSlot* slot, WorkerKind kind) noexcept;
// The same for the sender, when what it is woken for has been handed over to it: nothing to look
// for in the table.
void WakeForHandover(DatabaseSlot* slot) noexcept;
void WakeLauncher() noexcept;
bool WorkerRuns(const DatabaseSlot* slot, WorkerKind kind) noexcept;

// How a background worker of alerting's is registered: by its type, under which it is shown, and
// the function that it runs. It is not started again by itself; the launcher is.
BackgroundWorker Registration(const char* type, const char* function) noexcept;
BackgroundWorker LauncherRegistration() noexcept;
// Starts the launcher if it is not there (at most one try per five seconds). Safe where nothing may
// fail. False: no background worker slot is free.
bool StartLauncher() noexcept;
// The same, and says once in the log that none is.
bool EnsureLauncher();
// Changes the slot's wish from one of the given values only; false when it was another.
bool ChangeWish(DatabaseSlot* slot, std::initializer_list<Wish> from, Wish to) noexcept;
// Counts an explicit request to start the workers.
void CountRequest(DatabaseSlot* slot) noexcept;
// Whether the slot's workers have to leave, or must not be started.
bool MustStop(const DatabaseSlot* slot) noexcept;
// Keeps workers out of the database; the second call ends it. Both take root->lock.
void LockOut(DatabaseSlot* slot, Oid database) noexcept;
void EndLockOut(DatabaseSlot* slot, Oid database) noexcept;
// Notes why a worker's step failed; "" clears what that kind of worker noted.
void SetProblem(DatabaseSlot* slot, WorkerKind kind, const char* problem) noexcept;
// Asks for this database's workers: cheap when they run. Nothing on a standby.
void EnsureWorkers(DatabaseSlot* slot);

// In a worker: becomes the slot's worker of that kind until the process exits. False when another
// process is it already, or the slot has passed to another database since it was found.
bool BecomeWorker(DatabaseSlot* slot, WorkerKind kind);
bool BecomeLauncher();
// The launcher's end, after which the next who asks starts another. False: somebody has asked.
bool ResignAsLauncher() noexcept;

// Marks rows of a source to be read from its table. Caller holds slot->lock exclusively.
void AddReplayMark(DatabaseSlot* slot, uint32 source, Micros from) noexcept;

}  // namespace alerting::pg

#endif  // ALERTING_PG_SHARED_STATE_H_
