// Implements pg/worker.h.
#include "pg/worker.h"

#include <algorithm>
#include <utility>
#include <memory>
#include <new>

#include "pg/transaction.h"

namespace alerting::pg {

namespace {

constexpr int kErrorsBeforeReload = 5;
constexpr long kMaxPauseMs = 60'000;

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

class Loop {
 public:
  Loop(WorkerKind kind, WorkerTask* task) : kind_(kind), task_(task) {
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
      Call([&] {
        MemoryContextSwitchTo(context_);
        MemoryContextReset(context_);
        CHECK_FOR_INTERRUPTS();
        if (ConfigReloadPending) {
          ConfigReloadPending = false;
          ProcessConfigFile(PGC_SIGHUP);
        }
      });
      Micros next = kNever;
      try {
        if (!loaded) task_->Load();
        loaded = true;
        next = task_->Step();
        errors_ = 0;
      } catch (const Error& error) {
        Report(error);
        next = AfterError(&loaded);
      } catch (const std::bad_alloc&) {
        Call([&] {
          ereport(LOG, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("alerting: out of memory")));
        });
        next = AfterError(&loaded);
      }
      Wait(next);
    }
  }

 private:
  // Longer pauses after each error in a row; after several, everything is loaded anew, because the
  // memory may be what is wrong.
  Micros AfterError(bool* loaded) {
    ++errors_;
    if (errors_ % kErrorsBeforeReload == 0) *loaded = false;
    const long pause = std::min(kMaxPauseMs, 250L << std::min(errors_, 10));
    return GetCurrentTimestamp() + pause * kMillisecond;
  }

  void Wait(Micros until) {
    long timeout = -1;
    if (until != kNever) {
      const Micros left = SubtractTime(until, GetCurrentTimestamp());
      timeout = static_cast<long>(std::clamp<Micros>((left + 999) / 1000, 0, 600'000));
    }
    Call([&] {
      WaitEvent event;
      (void)WaitEventSetWait(events_, timeout, &event, 1, WaitEventName());
      ResetLatch(MyLatch);
    });
  }

  uint32 WaitEventName() {
    if (wait_event_ == 0) {
      wait_event_ = ExtensionWaitEvent(kind_ == kEvaluator ? "AlertingEvaluatorMain"
                                                           : "AlertingSenderMain");
    }
    return wait_event_;
  }

  const WorkerKind kind_;
  WorkerTask* const task_;
  MemoryContext context_;
  WaitEventSet* events_;
  uint32 wait_event_ = 0;
  int errors_ = 0;
};

void Override(const char* name, const char* value) {
  SetConfigOption(name, value, PGC_SUSET, PGC_S_OVERRIDE);
}

}  // namespace

void ApplyWorkerSettings() {
  Call([&] {
    Override("search_path", "pg_catalog, pg_temp");
    Override("lock_timeout", "1000");
    Override("statement_timeout", "0");
    Override("idle_in_transaction_session_timeout", "0");
    Override("default_transaction_isolation", "read committed");
    Override("default_transaction_read_only", "off");
    Override("default_transaction_deferrable", "off");
    Override("session_replication_role", "origin");
    Override("synchronous_commit", "on");
    Override("row_security", "on");
    Override("jit", "off");
    if (ALERTING_HAS_TRANSACTION_TIMEOUT) Override("transaction_timeout", "0");
  });
}

Oid LockExtension() {
  return Call([&] {
    Oid extension = get_extension_oid("alerting", true);
    if (!OidIsValid(extension)) return InvalidOid;
    LockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock);
    // It may have been dropped, or dropped and created again, while the lock was awaited.
    return get_extension_oid("alerting", true);
  });
}

void RunWorker(WorkerKind kind, Oid database,
               const std::function<std::unique_ptr<WorkerTask>(DatabaseSlot*)>& make_task) {
  pqsignal(SIGHUP, SignalHandlerForConfigReload);
  pqsignal(SIGTERM, die);
  BackgroundWorkerUnblockSignals();
  BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, kWorkerConnectFlags);

  ErrorContext context{kind, {}};
  ErrorContextCallback callback{error_context_stack, AddErrorContext, &context};
  DatabaseSlot* slot = FindSlot(database);
  if (slot == nullptr || !BecomeWorker(slot, kind)) proc_exit(0);
  try {
    ApplyWorkerSettings();
    {
      Transaction transaction("starting");
      const char* name = Call([&] { return get_database_name(database); });
      strlcpy(context.database, name != nullptr ? name : "?", sizeof(context.database));
      transaction.Commit();
    }
    error_context_stack = &callback;
    const std::unique_ptr<WorkerTask> task = make_task(slot);
    Loop(kind, task.get()).Run();
  } catch (const WorkerExit&) {
    // In good order.
  } catch (Error& error) {
    // Before the loop, or beyond what it handles: the launcher starts the worker again.
    ErrorData* data = error.Release();
    data->elevel = LOG;
    ThrowErrorData(data);
    proc_exit(1);
  } catch (...) {
    proc_exit(1);
  }
  proc_exit(0);
}

}  // namespace alerting::pg
