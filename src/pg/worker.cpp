// Implements pg/worker.h.
#include "pg/worker.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <new>
#include <utility>

#include "pg/transaction.h"

namespace alerting::pg {

namespace {

constexpr int kErrorsBeforeReload = 5;
constexpr long kMaxPauseMs = 30'000;
constexpr long kMaxLockedPauseMs = 1'000;

// Each commit wakes the evaluator: a system call for whoever commits, and a turn on a CPU for the
// evaluator. Where one wake-up so soon follows another so many times in a row, it lets commits
// gather for a moment before it looks, in which nobody has to wake it; and so on, for so many
// times, until it finds out whether they still come as thick.
constexpr std::chrono::microseconds kSoon(200);
constexpr int kSoonInARow = 8;
constexpr int kGatherings = 16;
constexpr long kGatheringMs = 1;

const char* KindName(WorkerKind kind) { return kind == kEvaluator ? "evaluator" : "sender"; }

struct ErrorContext {
  WorkerKind kind;
  char database[NAMEDATALEN];
};

extern "C" void AddErrorContext(void* argument) {
  const ErrorContext* context = static_cast<ErrorContext*>(argument);
  errcontext("alerting %s of database \"%s\"", KindName(context->kind), context->database);
}

// Writes a caught error to the log as it was raised, at LOG level, so that clients see nothing.
void Report(const Error& error) {
  Call([&] {
    ErrorData* data = const_cast<ErrorData*>(error.data());
    data->elevel = LOG;
    ThrowErrorData(data);
  });
}

// PostgreSQL code.
void Override(const char* name, const char* value) {
  SetConfigOption(name, value, PGC_SUSET, PGC_S_OVERRIDE);
}

// Where a worker and a user's command wait for each other (TRUNCATE ... CASCADE takes our tables in
// another order than a query does), the server ends the one that has waited for deadlock_timeout:
// we give up long before.
void LimitLockWaits() {
  char text[16];
  snprintf(text, sizeof(text), "%d", std::clamp(DeadlockTimeout / 4, 1, 250));
  Override("lock_timeout", text);
}

void HandleInterrupts() {
  CHECK_FOR_INTERRUPTS();
  if (ConfigReloadPending) {
    ConfigReloadPending = false;
    ProcessConfigFile(PGC_SIGHUP);
    LimitLockWaits();
  }
}

class Loop {
 public:
  Loop(DatabaseSlot* slot, WorkerKind kind, WorkerTask* task)
      : slot_(slot), kind_(kind), task_(task), paces_itself_(task->WakeDescriptor() >= 0) {
    context_ = AllocSetContextCreate(TopMemoryContext, "alerting worker", ALLOCSET_DEFAULT_SIZES);
    const int descriptor = task->WakeDescriptor();
    events_ = Call([&] {
      WaitEventSet* set = CreateLongLivedWaitEventSet(3);
      AddWaitEventToSet(set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, nullptr);
      AddWaitEventToSet(set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, nullptr, nullptr);
      if (descriptor >= 0) AddWaitEventToSet(set, WL_SOCKET_READABLE, descriptor, nullptr, nullptr);
      return set;
    });
  }

  void Run() {
    bool loaded = false;
    for (;;) {
      try {
        Call([&] {
          MemoryContextSwitchTo(context_);
          MemoryContextReset(context_);
          HandleInterrupts();
        });
        if (MustStop(slot_)) Stop();
        if (!loaded) task_->Load();
        loaded = true;
        const Micros next = task_->Step();
        errors_ = locked_ = suspicions_ = 0;
        SetProblem(slot_, kind_, task_->Problem());
        Wait(next);
      } catch (const Error& error) {
        LWLockReleaseAll();  // an error outside of a transaction leaves them, such as clog's
        const bool is_locked = error.sqlstate() == ERRCODE_LOCK_NOT_AVAILABLE;
        if (!is_locked || locked_ == 0) Report(error);
        SetProblem(slot_, kind_, error.what());
        // What does not fit the database any more (a column renamed, a right withdrawn) is asked of
        // it anew.
        if (ERRCODE_TO_CATEGORY(error.sqlstate()) ==
            ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION) {
          loaded = false;
        }
        AfterError(error, &loaded);
      } catch (const std::bad_alloc&) {
        EndForWantOfMemory();
      }
    }
  }

 private:
  [[noreturn]] void Stop() {
    try {
      task_->BeforeStop();
    } catch (const Error& error) {
      Report(error);
    }
    throw WorkerExit();
  }

  // What was interrupted may be half done in memory, where PostgreSQL's errors leave things whole.
  // So nothing of it is used or saved any more, nor destroyed: the worker that is started next
  // begins with what the tables hold.
  [[noreturn]] void EndForWantOfMemory() {
    SetProblem(slot_, kind_, "out of memory");
    Call([&] {
      ereport(LOG, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("alerting: out of memory"),
                    errdetail("The worker ends and is started again.")));
    });
    proc_exit(1);
  }

  // Longer pauses after each error in a row, shorter ones where somebody has locked a table, which
  // ends without a word. After several, everything is loaded anew, because the memory may be what
  // is wrong; not after those that say nothing of it: what waits in the queue would have to be read
  // from the tables, where rows that are updated in place have their last form only.
  void AfterError(const Error& error, bool* loaded) {
    const bool is_passing = error.IsPassing() && error.sqlstate() != ERRCODE_OUT_OF_MEMORY;
    if (!is_passing && ++suspicions_ % kErrorsBeforeReload == 0) *loaded = false;
    const bool is_locked = error.sqlstate() == ERRCODE_LOCK_NOT_AVAILABLE;
    const int in_a_row = ++(is_locked ? locked_ : errors_);
    const long pause =
        std::min(is_locked ? kMaxLockedPauseMs : kMaxPauseMs, 250L << std::min(in_a_row, 10));
    if (paces_itself_) {
      Wait(GetCurrentTimestamp() + pause * kMillisecond);
    } else {
      Pause(std::chrono::milliseconds(pause));
    }
  }

  // Waits although others wake the worker: what has failed would fail again for each of them. Only
  // an explicit request to go on ends the pause.
  void Pause(std::chrono::milliseconds pause) {
    using Clock = std::chrono::steady_clock;
    const uint32 asked = slot_->asked;
    const Clock::time_point until = Clock::now() + pause;
    for (;;) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now());
      if (left.count() <= 0 || slot_->asked != asked || MustStop(slot_)) return;
      Call([&] {
        (void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
                        static_cast<long>(left.count()), WaitEventName());
        ResetLatch(MyLatch);
        HandleInterrupts();
      });
    }
  }

  void Wait(Micros until) {
    using Clock = std::chrono::steady_clock;
    long timeout = -1;
    if (until != kNever) {
      const Micros left = SubtractTime(until, GetCurrentTimestamp());
      timeout = static_cast<long>(std::clamp<Micros>((left + 999) / 1000, 0, 600'000));
    }
    const bool is_idle = timeout != 0 && kind_ == kEvaluator;
    const bool gathers = is_idle && gatherings_left_ > 0;
    if (gathers) LetCommitsGather();
    const Clock::time_point begin = Clock::now();
    Call([&] {
      WaitEvent event;
      (void)WaitEventSetWait(events_, timeout, &event, 1, WaitEventName());
      ResetLatch(MyLatch);
    });
    if (!is_idle) return;
    const Clock::time_point woken = Clock::now();
    if (gathers) {
      gatherings_left_ = woken - begin < kSoon ? gatherings_left_ - 1 : 0;
      woken_soon_ = 0;
    } else {
      woken_soon_ = woken - woken_at_ < kSoon ? woken_soon_ + 1 : 0;
      if (woken_soon_ >= kSoonInARow) gatherings_left_ = kGatherings;
    }
    woken_at_ = woken;
  }

  // Not by its latch, which stays as it is: nobody signals a process that does not wait for it.
  void LetCommitsGather() {
    Call([&] {
      (void)WaitLatch(nullptr, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, kGatheringMs, WaitEventName());
    });
  }

  uint32 WaitEventName() {
    if (wait_event_ == 0) {
      wait_event_ =
          ExtensionWaitEvent(kind_ == kEvaluator ? "AlertingEvaluatorMain" : "AlertingSenderMain");
    }
    return wait_event_;
  }

  DatabaseSlot* const slot_;
  const WorkerKind kind_;
  WorkerTask* const task_;
  const bool paces_itself_;  // while it waits for its descriptor
  MemoryContext context_;
  WaitEventSet* events_;
  uint32 wait_event_ = 0;
  std::chrono::steady_clock::time_point woken_at_;
  int woken_soon_ = 0;  // so many times in a row
  int gatherings_left_ = 0;
  // Steps in a row that failed: for a lock, for anything else, for what may be the memory's fault.
  int locked_ = 0;
  int errors_ = 0;
  int suspicions_ = 0;
};

struct Extension {
  Oid id;
  const char* version;
};

// PostgreSQL code.
Extension FindExtension() {
  Relation relation = table_open(ExtensionRelationId, AccessShareLock);
  ScanKeyData key;
  ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ,
              CStringGetDatum("alerting"));
  SysScanDesc scan = systable_beginscan(relation, ExtensionNameIndexId, true, nullptr, 1, &key);
  HeapTuple tuple = systable_getnext(scan);
  Extension found = {InvalidOid, ""};
  if (HeapTupleIsValid(tuple)) {
    found.id = reinterpret_cast<Form_pg_extension>(GETSTRUCT(tuple))->oid;
    bool is_null = false;
    const Datum version =
        heap_getattr(tuple, Anum_pg_extension_extversion, RelationGetDescr(relation), &is_null);
    if (!is_null) found.version = TextDatumGetCString(version);
  }
  systable_endscan(scan);
  table_close(relation, AccessShareLock);
  return found;
}

// What a transaction of a worker does not heed, whatever the database's or a role's defaults.
void ApplyWorkerSettings() {
  Call([&] {
    Override("search_path", "pg_catalog, pg_temp");
    LimitLockWaits();
    Override("statement_timeout", "0");
    Override("idle_in_transaction_session_timeout", "0");
    Override("default_transaction_isolation", "read committed");
    Override("default_transaction_read_only", "off");
    Override("default_transaction_deferrable", "off");
    Override("session_replication_role", "origin");
    Override("exit_on_error", "off");
    Override("row_security", "on");
    Override("jit", "off");
    // What is read may be more than the memory for it, and is bounded by itself.
    Override("temp_file_limit", "-1");
    // Plans are kept for all sizes of a table (IndexPlans).
    Override("plan_cache_mode", "auto");
    for (const char* way : {"enable_indexscan", "enable_indexonlyscan", "enable_nestloop",
                            "enable_sort", "enable_hashagg"}) {
      Override(way, "on");
    }
    // A payload tells figures exactly, whatever the database's default.
    Override("extra_float_digits", "1");
    if (ALERTING_HAS_TRANSACTION_TIMEOUT) Override("transaction_timeout", "0");
  });
}

// DROP DATABASE, CREATE DATABASE ... TEMPLATE and ALTER DATABASE wait five seconds for the sessions
// of the database to end, and ask autovacuum's workers to go (CountOtherDBBackends). Under the same
// flag they ask ours, also where the backend has not loaded this library. The flag's only other
// meaning suits us: whoever waits for a lock of ours until deadlock_timeout cancels our statement,
// which is tried again.
void YieldDatabaseAsAutovacuumDoes() {
  LWLockAcquire(ProcArrayLock, LW_EXCLUSIVE);
  MyProc->statusFlags |= PROC_IS_AUTOVACUUM;
  ProcGlobal->statusFlags[MyProc->pgxactoff] = MyProc->statusFlags;
  LWLockRelease(ProcArrayLock);
}

}  // namespace

void HeedSignals() {
  pqsignal(SIGHUP, SignalHandlerForConfigReload);
  pqsignal(SIGTERM, die);
  ConfigReloadPending = true;
  BackgroundWorkerUnblockSignals();
}

std::optional<std::string> LockExtension() {
  static Oid known = InvalidOid;
  static char version[64] = "";  // longer ones are none of ours
  static uint64 looked_at = 0;
  // It may have been dropped, or dropped and created again, before the lock was there. Neither
  // that nor an update passes without a message about its functions, which taking the lock hears.
  for (;;) {
    if (OidIsValid(known)) {
      Call([] { LockDatabaseObject(ExtensionRelationId, known, 0, AccessShareLock); });
      if (SharedInvalidMessageCounter == looked_at) return version;
    }
    const uint64 heard = SharedInvalidMessageCounter;
    const Extension found = Call([] { return FindExtension(); });
    if (!OidIsValid(found.id)) return std::nullopt;
    strlcpy(version, found.version, sizeof(version));
    looked_at = heard;  // last: an error, or nothing found, is no look to rely on
    if (std::exchange(known, found.id) == found.id) return version;
  }
}

void RunWorker(WorkerKind kind, Oid database,
               const std::function<std::unique_ptr<WorkerTask>(DatabaseSlot*)>& make_task) {
  HeedSignals();
  // As the bootstrap superuser; each statement then runs as its tables' owner.
  BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
  YieldDatabaseAsAutovacuumDoes();

  ErrorContext context{kind, {}};
  ErrorContextCallback callback{error_context_stack, AddErrorContext, &context};
  DatabaseSlot* slot = FindSlot(database);
  if (slot == nullptr || !BecomeWorker(slot, kind)) proc_exit(0);
  try {
    ApplyWorkerSettings();
    Call([] { HandleInterrupts(); });
    {
      Transaction transaction("starting");
      const char* name = Call([&] { return get_database_name(database); });
      strlcpy(context.database, name != nullptr ? name : "?", sizeof(context.database));
      transaction.Commit();
    }
    error_context_stack = &callback;
    const std::unique_ptr<WorkerTask> task = make_task(slot);
    Loop(slot, kind, task.get()).Run();
  } catch (const WorkerExit&) {
    // In good order.
  } catch (Error& error) {
    // Before the loop, or beyond what it handles: the launcher starts the worker again.
    ErrorData* data = error.Release();
    data->elevel = LOG;
    ThrowErrorData(data);
    proc_exit(1);
  } catch (const std::exception& error) {
    ereport(LOG, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("alerting: %s", error.what())));
    proc_exit(1);
  } catch (...) {
    proc_exit(1);
  }
  proc_exit(0);
}

}  // namespace alerting::pg
