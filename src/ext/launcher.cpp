// The launcher: starts the evaluator and the sender of each database that has the extension, and
// starts them again, with growing pauses, when they end. Runs in its own background worker, which
// reads shared catalogs only and so never stands in the way of DROP DATABASE.
//
// Invariant: what should run is said by the slots' wishes in shared memory; the launcher only keeps
// the handles of what it started.
#include <algorithm>
#include <array>
#include <vector>

#include "pg/guc.h"
#include "pg/shared_state.h"
#include "pg/transaction.h"

extern "C" {
PGDLLEXPORT void alerting_launcher_main(Datum argument);
}

namespace alerting::ext {

namespace {

using pg::DatabaseSlot;
using pg::kMaxDatabases;
using pg::kWorkerKinds;
using pg::Wish;
using pg::WorkerKind;

constexpr Micros kFirstPause = kSecond / 4;
constexpr Micros kLongestPause = kMinute;
constexpr Micros kLongRun = kMinute;     // a worker that ran this long starts with no pause
constexpr Micros kIdleExit = 10 * kSecond;  // with nothing to run, the launcher leaves

struct Started {
  BackgroundWorkerHandle* handle = nullptr;
  Micros started_at = kNoTime;
  Micros next_try = kNoTime;
  Micros pause = kFirstPause;
};

class Launcher {
 public:
  void Run() {
    ProbeAllDatabases();
    Micros idle_since = GetCurrentTimestamp();
    for (;;) {
      pg::Call([&] {
        CHECK_FOR_INTERRUPTS();
        if (ConfigReloadPending) {
          ConfigReloadPending = false;
          ProcessConfigFile(PGC_SIGHUP);
        }
      });
      const Micros now = GetCurrentTimestamp();
      next_wake_ = kNever;
      busy_ = false;
      for (int i = 0; i < kMaxDatabases; ++i) {
        if (root_->slots[i].database != InvalidOid) Tend(i, now);
      }
      if (busy_) {
        idle_since = now;
      } else {
        // EnsureLauncher() starts another one when somebody asks.
        if (now - idle_since >= kIdleExit) return;
        next_wake_ = std::min(next_wake_, idle_since + kIdleExit);
      }
      Wait(now);
    }
  }

 private:
  // Which databases have the extension only a connection can tell: each gets one probe.
  void ProbeAllDatabases() {
    for (const Oid database : Databases()) {
      DatabaseSlot* slot = pg::ClaimSlot(database);
      if (slot != nullptr) (void)pg::ChangeWish(slot, {Wish::kNothing}, Wish::kProbe);
    }
  }

  // Databases that may be connected to and are no templates.
  std::vector<Oid> Databases() {
    struct Found {
      Oid* oids;
      size_t count;
    };
    const Found found = pg::Call([&] {
      StartTransactionCommand();
      Relation relation = table_open(DatabaseRelationId, AccessShareLock);
      SysScanDesc scan = systable_beginscan(relation, InvalidOid, false, nullptr, 0, nullptr);
      Found result = {nullptr, 0};
      size_t room = 16;
      result.oids = static_cast<Oid*>(MemoryContextAlloc(TopMemoryContext, room * sizeof(Oid)));
      HeapTuple tuple;
      while ((tuple = systable_getnext(scan)) != nullptr) {
        const auto* database = reinterpret_cast<Form_pg_database>(GETSTRUCT(tuple));
        if (!database->datallowconn || database->datistemplate) continue;
        if (result.count == room) {
          room *= 2;
          result.oids = static_cast<Oid*>(repalloc(result.oids, room * sizeof(Oid)));
        }
        result.oids[result.count++] = database->oid;
      }
      systable_endscan(scan);
      table_close(relation, AccessShareLock);
      CommitTransactionCommand();
      return result;
    });
    std::vector<Oid> databases(found.oids, found.oids + found.count);
    pg::Call([&] { pfree(found.oids); });
    return databases;
  }

  bool Exists(Oid database) {
    const std::vector<Oid> databases = Databases();
    return std::find(databases.begin(), databases.end(), database) != databases.end();
  }

  static bool Wanted(const DatabaseSlot& slot, WorkerKind kind) {
    if (!pg::guc_enabled) return false;
    if (kind == pg::kSender) return slot.wish == Wish::kRun;
    return slot.wish == Wish::kRun || slot.wish == Wish::kProbe || slot.wish == Wish::kProbing;
  }

  void Tend(int index, Micros now) {
    DatabaseSlot* slot = &root_->slots[index];
    for (const WorkerKind kind : {pg::kEvaluator, pg::kSender}) {
      Started* started = &started_[static_cast<size_t>(index)][kind];
      if (owners_[static_cast<size_t>(index)] != slot->database) *started = {};
      NoticeEnd(started, now);
      const bool wanted = Wanted(*slot, kind);
      if (wanted || started->handle != nullptr) busy_ = true;
      if (!wanted && started->handle != nullptr) {
        pg::Call([&] { TerminateBackgroundWorker(started->handle); });
      }
      if (!wanted || started->handle != nullptr || pg::WorkerRuns(slot, kind)) continue;
      if (started->next_try != kNoTime && now < started->next_try) {
        next_wake_ = std::min(next_wake_, started->next_try);
        continue;
      }
      if (!Exists(slot->database)) {
        pg::ReleaseSlot(slot);
        return;
      }
      Start(slot, kind, started, now);
    }
    owners_[static_cast<size_t>(index)] = slot->database;
  }

  void NoticeEnd(Started* started, Micros now) {
    if (started->handle == nullptr) return;
    const BgwHandleStatus status = pg::Call([&] {
      pid_t pid;
      return GetBackgroundWorkerPid(started->handle, &pid);
    });
    if (status != BGWH_STOPPED) return;
    pg::Call([&] { pfree(started->handle); });
    started->handle = nullptr;
    if (now - started->started_at >= kLongRun) started->pause = kFirstPause;
    started->next_try = now + started->pause;
    started->pause = std::min(started->pause * 2, kLongestPause);
  }

  void Start(DatabaseSlot* slot, WorkerKind kind, Started* started, Micros now) {
    const char* type = kind == pg::kEvaluator ? "alerting evaluator" : "alerting sender";
    if (kind == pg::kEvaluator) (void)pg::ChangeWish(slot, {Wish::kProbe}, Wish::kProbing);
    const Oid database = slot->database;
    struct Result {
      BackgroundWorkerHandle* handle;
    };
    const Result result = pg::Call([&] {
      BackgroundWorker worker;
      MemSet(&worker, 0, sizeof(worker));
      worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
      worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
      worker.bgw_restart_time = BGW_NEVER_RESTART;
      worker.bgw_main_arg = ObjectIdGetDatum(database);
      worker.bgw_notify_pid = MyProcPid;
      strlcpy(worker.bgw_library_name, "alerting", BGW_MAXLEN);
      strlcpy(worker.bgw_function_name,
              kind == pg::kEvaluator ? "alerting_evaluator_main" : "alerting_sender_main",
              BGW_MAXLEN);
      snprintf(worker.bgw_name, BGW_MAXLEN, "%s (database %u)", type, database);
      strlcpy(worker.bgw_type, type, BGW_MAXLEN);
      MemoryContext outer = MemoryContextSwitchTo(TopMemoryContext);
      BackgroundWorkerHandle* handle = nullptr;
      (void)RegisterDynamicBackgroundWorker(&worker, &handle);
      MemoryContextSwitchTo(outer);
      return Result{handle};
    });
    started->handle = result.handle;
    started->started_at = now;
    if (result.handle != nullptr) {
      no_slot_logged_ = false;
      return;
    }
    started->next_try = now + started->pause;
    started->pause = std::min(started->pause * 2, kLongestPause);
    next_wake_ = std::min(next_wake_, started->next_try);
    if (std::exchange(no_slot_logged_, true)) return;
    pg::Call([&] {
      ereport(LOG, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
                    errmsg("alerting: no background worker slot is free for the %s of database %u",
                           type, database),
                    errdetail("It is tried again with growing pauses; databases whose workers "
                              "run are not affected."),
                    errhint("Increase max_worker_processes: alerting needs one slot, and two more "
                            "for each database.")));
    });
  }

  void Wait(Micros now) {
    long timeout = -1;
    if (next_wake_ != kNever) {
      timeout = static_cast<long>(std::clamp<Micros>((next_wake_ - now + 999) / 1000, 1, 600'000));
    }
    pg::Call([&] {
      int events = WL_LATCH_SET | WL_EXIT_ON_PM_DEATH;
      if (timeout >= 0) events |= WL_TIMEOUT;
      (void)WaitLatch(MyLatch, events, timeout, PG_WAIT_EXTENSION);
      ResetLatch(MyLatch);
    });
  }

  pg::SharedRoot* root_ = pg::Root();
  std::array<std::array<Started, kWorkerKinds>, kMaxDatabases> started_ = {};
  std::array<Oid, kMaxDatabases> owners_ = {};
  Micros next_wake_ = kNever;
  bool busy_ = false;
  bool no_slot_logged_ = false;
};

void LauncherMain() {
  pqsignal(SIGHUP, SignalHandlerForConfigReload);
  pqsignal(SIGTERM, die);
  BackgroundWorkerUnblockSignals();
  BackgroundWorkerInitializeConnection(nullptr, nullptr, 0);
  (void)pg::Root();
  if (!pg::BecomeLauncher()) proc_exit(0);
  int exit_code = 0;
  try {
    Launcher().Run();
  } catch (pg::Error& error) {
    ErrorData* data = error.Release();
    data->elevel = LOG;
    ThrowErrorData(data);
    exit_code = 1;  // the postmaster starts another launcher after bgw_restart_time
  } catch (...) {
    exit_code = 1;
  }
  proc_exit(exit_code);
}

}  // namespace

}  // namespace alerting::ext

void alerting_launcher_main(Datum /*argument*/) { alerting::ext::LauncherMain(); }
