// Implements pg/shared_state.h.
#include "pg/shared_state.h"

#include <algorithm>
#include <iterator>

#include "pg/guc.h"

namespace alerting::pg {

namespace {

constexpr char kRootName[] = "alerting";
constexpr char kTrancheName[] = "alerting";
constexpr TimestampTz kLauncherRetryMicros = 5 * kSecond;
constexpr int kLauncherRestartSeconds = 1;  // after a crash of it

SharedRoot* root = nullptr;
DatabaseSlot* my_slot = nullptr;

void InitSlot(DatabaseSlot* slot, int tranche) {
  LWLockInitialize(&slot->lock, tranche);
  ConditionVariableInit(&slot->flushed);
  for (pg_atomic_uint64* counter :
       {&slot->flush_requested, &slot->flush_done, &slot->sender_flush_requested,
        &slot->sender_flush_done, &slot->sender_wakes, &slot->sender_starts, &slot->samples,
        &slot->late, &slot->backfill, &slot->skipped, &slot->unknown, &slot->transitions,
        &slot->deliveries, &slot->failed_attempts, &slot->replays_done, &slot->evaluated_until,
        &slot->containers, &slot->evaluator_started}) {
    pg_atomic_init_u64(counter, 0);
  }
  pg_atomic_init_u32(&slot->marking, 0);
}

void ClearSlot(DatabaseSlot* slot) {
  slot->database = InvalidOid;
  slot->wish = Wish::kNothing;
  slot->locked_out = 0;
  slot->asked = 0;
  slot->problem[0] = '\0';
  slot->workers[kEvaluator] = {};
  slot->workers[kSender] = {};
  slot->queue = DSM_HANDLE_INVALID;
  slot->handover = DSM_HANDLE_INVALID;
  slot->replay_count = 0;
  slot->replay_all = false;
  slot->prepared = false;
  slot->rules_changed = slot->binding_changed = slot->containers_changed = false;
  slot->containers_truncated = false;
  slot->forgotten_count = 0;
  slot->held = false;
  for (pg_atomic_uint64* counter :
       {&slot->samples, &slot->late, &slot->backfill, &slot->skipped, &slot->unknown,
        &slot->transitions, &slot->deliveries, &slot->failed_attempts, &slot->replays_done,
        &slot->evaluated_until, &slot->containers, &slot->evaluator_started}) {
    pg_atomic_write_u64(counter, 0);
  }
}

void SetLatchOf(int procno) noexcept { SetLatch(&ProcGlobal->allProcs[procno].procLatch); }

extern "C" void LeaveWorkerSlot(int /*code*/, Datum argument) {
  WorkerSlot* worker = reinterpret_cast<WorkerSlot*>(DatumGetPointer(argument));
  LWLockAcquire(&root->lock, LW_EXCLUSIVE);
  if (worker->pid == MyProcPid) worker->pid = 0;
  LWLockRelease(&root->lock);
  WakeLauncher();
}

extern "C" void LeaveLauncher(int /*code*/, Datum /*argument*/) {
  LWLockAcquire(&root->lock, LW_EXCLUSIVE);
  if (root->launcher_pid == MyProcPid) root->launcher_pid = 0;
  LWLockRelease(&root->lock);
}

void AddMark(ReplayMark* marks, int* count, uint32 source, Micros from, bool* all,
             Micros* all_from) noexcept {
  for (int i = 0; i < *count; ++i) {
    if (marks[i].source == source) {
      marks[i].from = std::min(marks[i].from, from);
      return;
    }
  }
  if (*count < kMaxReplays) {
    marks[(*count)++] = {source, from};
    return;
  }
  *all_from = *all ? std::min(*all_from, from) : from;
  *all = true;
}

}  // namespace

Size SharedRootSize() { return MAXALIGN(sizeof(SharedRoot)); }

SharedRoot* Root() {
  if (root != nullptr) return root;
  bool found = false;
  LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
  SharedRoot* shared =
      static_cast<SharedRoot*>(ShmemInitStruct(kRootName, SharedRootSize(), &found));
  if (!found) {
    MemSet(shared, 0, sizeof(SharedRoot));
    shared->format = kSharedFormat;
    shared->tranche = LWLockNewTrancheId();
    LWLockInitialize(&shared->lock, shared->tranche);
    for (DatabaseSlot& slot : shared->slots) {
      InitSlot(&slot, shared->tranche);
      ClearSlot(&slot);
    }
  }
  LWLockRelease(AddinShmemInitLock);
  if (shared->format != kSharedFormat) {
    ereport(ERROR,
            (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
             errmsg("alerting: the shared memory is that of another version of this library"),
             errhint("Restart the server.")));
  }
  LWLockRegisterTranche(shared->tranche, kTrancheName);
  root = shared;
  return root;
}

DatabaseSlot* FindSlot(Oid database) {
  SharedRoot* shared = Root();
  DatabaseSlot* found = nullptr;
  LWLockAcquire(&shared->lock, LW_SHARED);
  for (DatabaseSlot& slot : shared->slots) {
    if (slot.database == database) {
      found = &slot;
      break;
    }
  }
  LWLockRelease(&shared->lock);
  return found;
}

DatabaseSlot* ClaimSlot(Oid database) {
  SharedRoot* shared = Root();
  DatabaseSlot* claimed = nullptr;
  LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
  DatabaseSlot* free_slot = nullptr;
  for (DatabaseSlot& slot : shared->slots) {
    if (slot.database == database) claimed = &slot;
    if (slot.database == InvalidOid && free_slot == nullptr) free_slot = &slot;
  }
  if (claimed == nullptr && free_slot != nullptr) {
    claimed = free_slot;
    ClearSlot(claimed);
    claimed->database = database;
  }
  LWLockRelease(&shared->lock);
  return claimed;
}

void ReleaseSlot(DatabaseSlot* slot, Oid database, bool is_gone) {
  SharedRoot* shared = Root();
  dsm_handle queue = DSM_HANDLE_INVALID;
  dsm_handle handover = DSM_HANDLE_INVALID;
  LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
  // A backend that is about to write to the queue looks under this lock whose slot it is.
  LWLockAcquire(&slot->lock, LW_EXCLUSIVE);
  const bool is_unwanted = slot->database == database && (is_gone || slot->wish == Wish::kNothing);
  if (is_unwanted && slot->workers[kEvaluator].pid == 0 && slot->workers[kSender].pid == 0) {
    queue = slot->queue;
    handover = slot->handover;
    ClearSlot(slot);
  }
  LWLockRelease(&slot->lock);
  LWLockRelease(&shared->lock);
  if (queue != DSM_HANDLE_INVALID) dsm_unpin_segment(queue);
  if (handover != DSM_HANDLE_INVALID) dsm_unpin_segment(handover);
}

DatabaseSlot* MySlot() {
  // A slot may have been released and taken by another database meanwhile.
  if (my_slot != nullptr && my_slot->database == MyDatabaseId) return my_slot;
  my_slot = ClaimSlot(MyDatabaseId);
  return my_slot;
}

void WakeWorker(DatabaseSlot* slot, WorkerKind kind) noexcept {
  if (kind == kSender) pg_atomic_fetch_add_u64(&slot->sender_wakes, 1);
  // Reading without the lock is fine: a latch that now belongs to another process wakes it for
  // nothing, and a worker that starts looks at everything anyway.
  if (slot->workers[kind].pid != 0) SetLatchOf(slot->workers[kind].procno);
}

void WakeForHandover(DatabaseSlot* slot) noexcept {
  if (slot->workers[kSender].pid != 0) SetLatchOf(slot->workers[kSender].procno);
}

void WakeLauncher() noexcept {
  if (root != nullptr && root->launcher_pid != 0) SetLatchOf(root->launcher_procno);
}

bool WorkerRuns(const DatabaseSlot* slot, WorkerKind kind) noexcept {
  return slot->workers[kind].pid != 0;
}

BackgroundWorker Registration(const char* type, const char* function) noexcept {
  BackgroundWorker worker;
  MemSet(&worker, 0, sizeof(worker));
  worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
  worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
  worker.bgw_restart_time = BGW_NEVER_RESTART;
  strlcpy(worker.bgw_library_name, "alerting", BGW_MAXLEN);
  strlcpy(worker.bgw_function_name, function, BGW_MAXLEN);
  strlcpy(worker.bgw_name, type, BGW_MAXLEN);
  strlcpy(worker.bgw_type, type, BGW_MAXLEN);
  return worker;
}

BackgroundWorker LauncherRegistration() noexcept {
  BackgroundWorker worker = Registration("alerting launcher", "alerting_launcher_main");
  worker.bgw_restart_time = kLauncherRestartSeconds;
  return worker;
}

// Without a handle to be given back, registering allocates nothing.
bool StartLauncher() noexcept {
  const TimestampTz now = GetCurrentTimestamp();
  LWLockAcquire(&root->lock, LW_EXCLUSIVE);
  const bool needed =
      root->launcher_pid == 0 && now >= AddTime(root->launcher_requested_at, kLauncherRetryMicros);
  if (needed) root->launcher_requested_at = now;
  LWLockRelease(&root->lock);
  if (!needed) return true;

  BackgroundWorker worker = LauncherRegistration();
  if (!RegisterDynamicBackgroundWorker(&worker, nullptr)) return false;
  root->launcher_failure_logged = false;
  return true;
}

bool EnsureLauncher() {
  SharedRoot* shared = Root();
  if (StartLauncher()) return true;
  if (!shared->launcher_failure_logged) {
    shared->launcher_failure_logged = true;
    ereport(LOG,
            (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
             errmsg("alerting: could not start the launcher: no background worker slot is free"),
             errhint("Increase max_worker_processes; alerting needs one slot, and two more for "
                     "each database.")));
  }
  return false;
}

bool ChangeWish(DatabaseSlot* slot, std::initializer_list<Wish> from, Wish to) noexcept {
  LWLockAcquire(&root->lock, LW_EXCLUSIVE);
  bool changes = false;
  for (const Wish wish : from) changes = changes || slot->wish == wish;
  if (changes) slot->wish = to;
  LWLockRelease(&root->lock);
  return changes;
}

void CountRequest(DatabaseSlot* slot) noexcept {
  LWLockAcquire(&root->lock, LW_EXCLUSIVE);
  ++slot->asked;
  LWLockRelease(&root->lock);
}

bool MustStop(const DatabaseSlot* slot) noexcept {
  return !guc_enabled || slot->wish == Wish::kStopped || slot->locked_out > 0;
}

void LockOut(DatabaseSlot* slot, Oid database) noexcept {
  LWLockAcquire(&root->lock, LW_EXCLUSIVE);
  if (slot->database == database) ++slot->locked_out;
  LWLockRelease(&root->lock);
}

void EndLockOut(DatabaseSlot* slot, Oid database) noexcept {
  LWLockAcquire(&root->lock, LW_EXCLUSIVE);
  // After a DROP DATABASE the slot may have been freed, and taken by another database.
  if (slot->database == database && slot->locked_out > 0) {
    --slot->locked_out;
    ++slot->asked;
  }
  LWLockRelease(&root->lock);
}

void SetProblem(DatabaseSlot* slot, WorkerKind kind, const char* problem) noexcept {
  if (problem[0] == '\0' && (slot->problem[0] == '\0' || slot->problem_of != kind)) return;
  const auto length = static_cast<int>(strlen(problem));
  const int kept = pg_mbcliplen(problem, length, kProblemBytes - 1);
  LWLockAcquire(&slot->lock, LW_EXCLUSIVE);
  memcpy(slot->problem, problem, static_cast<size_t>(kept));
  slot->problem[kept] = '\0';
  slot->problem_of = kind;
  LWLockRelease(&slot->lock);
}

void EnsureWorkers(DatabaseSlot* slot) {
  if (slot->workers[kEvaluator].pid != 0 && slot->workers[kSender].pid != 0) return;
  if (slot->wish == Wish::kStopped || slot->wish == Wish::kOutdated) return;
  if (RecoveryInProgress() || IsBinaryUpgrade) return;
  (void)ChangeWish(slot, {Wish::kNothing}, Wish::kProbe);
  if (EnsureLauncher()) WakeLauncher();
}

bool BecomeWorker(DatabaseSlot* slot, WorkerKind kind) {
  SharedRoot* shared = Root();
  WorkerSlot* worker = &slot->workers[kind];
  LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
  const bool free = slot->database == MyDatabaseId && worker->pid == 0;
  if (free) {
    worker->procno = MyProcNumberCompat();
    worker->pid = MyProcPid;
  }
  LWLockRelease(&shared->lock);
  if (free) before_shmem_exit(LeaveWorkerSlot, PointerGetDatum(worker));
  return free;
}

bool BecomeLauncher() {
  SharedRoot* shared = Root();
  LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
  const bool free = shared->launcher_pid == 0;
  if (free) {
    shared->launcher_procno = MyProcNumberCompat();
    shared->launcher_pid = MyProcPid;
  }
  LWLockRelease(&shared->lock);
  if (free) before_shmem_exit(LeaveLauncher, Datum{0});
  return free;
}

bool ResignAsLauncher() noexcept {
  LWLockAcquire(&root->lock, LW_EXCLUSIVE);
  const bool is_wanted =
      std::any_of(std::begin(root->slots), std::end(root->slots), [](const DatabaseSlot& slot) {
        return slot.wish == Wish::kProbe || slot.wish == Wish::kProbing || slot.wish == Wish::kRun;
      });
  if (!is_wanted) root->launcher_pid = 0;
  LWLockRelease(&root->lock);
  return !is_wanted;
}

void AddReplayMark(DatabaseSlot* slot, uint32 source, Micros from) noexcept {
  AddMark(slot->replays, &slot->replay_count, source, from, &slot->replay_all,
          &slot->replay_all_from);
}

}  // namespace alerting::pg
