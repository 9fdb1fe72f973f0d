// The launcher: starts the evaluator and the sender of each database that has the extension, and
// starts them again, with growing pauses, when they end. Runs in its own background worker, which
// reads shared catalogs only and so never stands in the way of DROP DATABASE.
//
// Invariant: what should run is said by the slots' wishes in shared memory; the launcher only keeps
// the handles of what it started.
#include <algorithm>
#include <array>
#include <vector>

#include "pg/freeze_point.h"
#include "pg/guc.h"
#include "pg/shared_state.h"
#include "pg/transaction.h"
#include "pg/worker.h"

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
constexpr Micros kClosedPause = 2 * kSecond;  // until a database may allow connections again
constexpr Micros kLongRun = 5 * kSecond;      // a worker that ran this long starts with no pause
constexpr Micros kLongProbe = 2 * kSecond;    // a probe that takes longer holds up no others
constexpr Micros kIdleExit = 10 * kSecond;    // with nothing to run, the launcher leaves
constexpr Micros kSweepInterval = kMinute;
// Of a database that a DROP DATABASE has begun to remove (DATCONNLIMIT_INVALID_DB since 15.4).
constexpr int32 kInvalidDatabase = -2;

struct Started {
  BackgroundWorkerHandle* handle = nullptr;
  Micros started_at = kNoTime;
  Micros next_try = kNoTime;
  Micros pause = kFirstPause;
  bool starved = false;  // the last try found no free background worker slot
};

// What the launcher knows of a slot's database.
struct Database {
  Oid oid = InvalidOid;
  uint32 asked = 0;  // the requests seen
  std::array<Started, kWorkerKinds> started = {};
};

class Launcher {
 public:
  void Run() {
    const std::vector<Oid> databases = Databases(Which::kToProbe);
    to_probe_.assign(databases.rbegin(), databases.rend());
    FreeSlots();
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
      busy_ = !to_probe_.empty();
      TendAll(now);
      if (busy_) {
        idle_since = now;
      } else {
        if (now - idle_since >= kIdleExit) {
          if (pg::ResignAsLauncher()) return;
          idle_since = now;
        }
        next_wake_ = std::min(next_wake_, idle_since + kIdleExit);
      }
      if (now - swept_at_ >= kSweepInterval) FreeSlots();
      Wait(now);
    }
  }

 private:
  // All; those that allow connections; of these, those that are no templates, which are not looked
  // into unasked.
  enum class Which { kThere, kOpen, kToProbe };
  std::vector<Oid> Databases(Which which) {
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
        if (database->datconnlimit == kInvalidDatabase) continue;
        if (!database->datallowconn && which != Which::kThere) continue;
        if (database->datistemplate && which == Which::kToProbe) continue;
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

  bool Is(Which which, Oid database) {
    const std::vector<Oid> databases = Databases(which);
    return std::find(databases.begin(), databases.end(), database) != databases.end();
  }

  // Frees the slots of databases that are gone or that have nothing to run.
  void FreeSlots() {
    const std::vector<Oid> databases = Databases(Which::kThere);
    for (DatabaseSlot& slot : root_->slots) {
      const Oid database = slot.database;
      if (database == InvalidOid || slot.locked_out > 0) continue;
      const bool exists =
          std::find(databases.begin(), databases.end(), database) != databases.end();
      pg::Call([&] { pg::ReleaseSlot(&slot, database, !exists); });
    }
    swept_at_ = GetCurrentTimestamp();
  }

  static bool Wanted(const DatabaseSlot& slot, WorkerKind kind) {
    if (pg::MustStop(&slot)) return false;
    if (kind == pg::kSender) return slot.wish == Wish::kRun;
    return slot.wish == Wish::kRun || slot.wish == Wish::kProbe || slot.wish == Wish::kProbing;
  }

  // Databases known to have something to run get both their workers before others are probed: when
  // background worker slots are short, some databases work wholly rather than all by half.
  void TendAll(Micros now) {
    probing_ = blocked_ = ended_ = false;
    for (int i = 0; i < kMaxDatabases; ++i) Notice(i, now);
    if (ended_) RetryStarved();
    for (int i = 0; i < kMaxDatabases; ++i) {
      if (root_->slots[i].database != InvalidOid && root_->slots[i].wish == Wish::kRun) {
        StartMissing(i, pg::kEvaluator, now);
        StartMissing(i, pg::kSender, now);
      }
    }
    for (int i = 0; i < kMaxDatabases && !blocked_ && !probing_; ++i) {
      const Wish wish = root_->slots[i].wish;
      if (root_->slots[i].database != InvalidOid &&
          (wish == Wish::kProbe || wish == Wish::kProbing)) {
        StartMissing(i, pg::kEvaluator, now);
      }
    }
    while (pg::guc_enabled && !to_probe_.empty() && !blocked_ && !probing_) ProbeNext(now);
    if (!blocked_) no_slot_logged_ = false;
  }

  // A worker has ended, so that a slot is free.
  void RetryStarved() {
    for (Database& database : databases_) {
      for (Started& started : database.started) {
        if (started.starved) started.next_try = kNoTime;
      }
    }
  }

  // Which databases have the extension only a connection can tell: each gets one probe, one after
  // the other.
  void ProbeNext(Micros now) {
    const Oid database = to_probe_.back();
    DatabaseSlot* slot = pg::ClaimSlot(database);
    if (slot == nullptr) {
      FreeSlots();
      slot = pg::ClaimSlot(database);
    }
    to_probe_.pop_back();
    if (slot == nullptr || !pg::ChangeWish(slot, {Wish::kNothing}, Wish::kProbe)) return;
    const int index = static_cast<int>(slot - root_->slots);
    Notice(index, now);
    StartMissing(index, pg::kEvaluator, now);
  }

  // What has become of a slot's workers; stops those that nobody wants any more.
  void Notice(int index, Micros now) {
    const DatabaseSlot& slot = root_->slots[index];
    Database* database = &databases_[static_cast<size_t>(index)];
    if (database->oid != slot.database) *database = {slot.database, slot.asked, {}};
    const bool asked = std::exchange(database->asked, slot.asked) != slot.asked;
    for (const WorkerKind kind : {pg::kEvaluator, pg::kSender}) {
      Started* started = &database->started[static_cast<size_t>(kind)];
      NoticeEnd(started, now);
      if (asked) {
        started->next_try = kNoTime;
        started->pause = kFirstPause;
      }
      if (started->handle == nullptr) continue;
      busy_ = true;
      if (!Wanted(slot, kind)) {
        pg::Call([&] { TerminateBackgroundWorker(started->handle); });
      } else if (slot.wish == Wish::kProbing && now - started->started_at < kLongProbe) {
        probing_ = true;
        next_wake_ = std::min(next_wake_, started->started_at + kLongProbe);
      }
    }
    // When alerting.enabled is off there is nothing to start, but somebody has to notice the
    // change.
    if (slot.database != InvalidOid && slot.wish == Wish::kRun) busy_ = true;
  }

  void StartMissing(int index, WorkerKind kind, Micros now) {
    DatabaseSlot* slot = &root_->slots[index];
    Started* started = &databases_[static_cast<size_t>(index)].started[static_cast<size_t>(kind)];
    if (!Wanted(*slot, kind)) return;
    busy_ = true;
    if (started->handle != nullptr || pg::WorkerRuns(slot, kind)) return;
    if (started->next_try != kNoTime && now < started->next_try) {
      next_wake_ = std::min(next_wake_, started->next_try);
      blocked_ = blocked_ || started->starved;
      return;
    }
    const Oid database = slot->database;
    if (Is(Which::kOpen, database)) {
      Start(slot, kind, started, now);
    } else if (Is(Which::kThere, database)) {
      started->next_try = now + kClosedPause;
      started->starved = false;  // it would hold up those that can use a slot
      next_wake_ = std::min(next_wake_, started->next_try);
    } else {
      pg::Call([&] { pg::ReleaseSlot(slot, database, true); });
    }
  }

  void NoticeEnd(Started* started, Micros now) {
    if (started->handle == nullptr) return;
    const BgwHandleStatus status = pg::Call([&] {
      pid_t pid;
      return GetBackgroundWorkerPid(started->handle, &pid);
    });
    if (status != BGWH_STOPPED) return;
    ended_ = true;
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
    ALERTING_FREEZE_POINT("starting");
    struct Result {
      BackgroundWorkerHandle* handle;
    };
    const Result result = pg::Call([&] {
      BackgroundWorker worker = pg::Registration(
          type, kind == pg::kEvaluator ? "alerting_evaluator_main" : "alerting_sender_main");
      worker.bgw_main_arg = ObjectIdGetDatum(database);
      worker.bgw_notify_pid = MyProcPid;
      snprintf(worker.bgw_name, BGW_MAXLEN, "%s (database %u)", type, database);
      MemoryContext outer = MemoryContextSwitchTo(TopMemoryContext);
      BackgroundWorkerHandle* handle = nullptr;
      (void)RegisterDynamicBackgroundWorker(&worker, &handle);
      MemoryContextSwitchTo(outer);
      return Result{handle};
    });
    started->handle = result.handle;
    started->started_at = now;
    started->starved = result.handle == nullptr;
    if (result.handle != nullptr) {
      probing_ = probing_ || slot->wish == Wish::kProbing;
      return;
    }
    blocked_ = true;
    started->next_try = now + started->pause;
    started->pause = std::min(started->pause * 2, kLongestPause);
    next_wake_ = std::min(next_wake_, started->next_try);
    if (std::exchange(no_slot_logged_, true)) return;
    pg::Call([&] {
      StartTransactionCommand();
      const char* name = get_database_name(database);
      ereport(
          LOG,
          (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
           errmsg("alerting: no background worker slot is free for the %s of database \"%s\"",
                  kind == pg::kEvaluator ? "evaluator" : "sender", name == nullptr ? "?" : name),
           errdetail("It is tried again when one becomes free; databases whose workers run are "
                     "not affected."),
           errhint("Increase max_worker_processes: alerting needs one slot, and two more for "
                   "each database.")));
      CommitTransactionCommand();
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
  std::array<Database, kMaxDatabases> databases_ = {};
  std::vector<Oid> to_probe_;  // the next one last
  Micros swept_at_ = kNoTime;
  Micros next_wake_ = kNever;
  bool busy_ = false;
  bool probing_ = false;  // a probe is under way
  bool blocked_ = false;  // no background worker slot was free
  bool ended_ = false;    // a worker has ended
  bool no_slot_logged_ = false;
};

void LauncherMain() {
  pg::HeedSignals();
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
  } catch (const std::exception& error) {
    ereport(LOG, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("alerting: %s", error.what())));
    exit_code = 1;
  } catch (...) {
    exit_code = 1;
  }
  proc_exit(exit_code);
}

}  // namespace

}  // namespace alerting::ext

void alerting_launcher_main(Datum /*argument*/) { alerting::ext::LauncherMain(); }
