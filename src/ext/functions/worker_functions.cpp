// SQL functions about the workers: flush(), status(), start(), stop(), resume(). Any backend.
#include <algorithm>
#include <iterator>

#include "core/byte_ring.h"
#include "ext/capture/transaction_buffer.h"
#include "ext/host/binding.h"
#include "ext/version.h"
#include "pg/guc.h"
#include "pg/sample_queue.h"
#include "pg/spi.h"
#include "pg/transaction.h"

extern "C" {
PG_FUNCTION_INFO_V1(alerting_flush);
PGDLLEXPORT Datum alerting_flush(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(alerting_status);
PGDLLEXPORT Datum alerting_status(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(alerting_start);
PGDLLEXPORT Datum alerting_start(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(alerting_stop);
PGDLLEXPORT Datum alerting_stop(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(alerting_resume);
PGDLLEXPORT Datum alerting_resume(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(alerting_library_version);
PGDLLEXPORT Datum alerting_library_version(PG_FUNCTION_ARGS);
}

namespace alerting::ext {

namespace {

using pg::DatabaseSlot;

constexpr Micros kStopTimeout = 10 * kSecond;
constexpr long kPollMs = 100;

DatabaseSlot* SlotOfDatabase() {
  DatabaseSlot* slot = nullptr;
  try {
    slot = pg::Call([] { return pg::MySlot(); });
  } catch (const pg::Error& error) {
    const std::string problem = error.what();
    pg::Throw([&] {
      ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                      errmsg("alerting's shared memory cannot be used"),
                      errdetail_internal("%s", problem.c_str()),
                      errhint("Restart the server when a new version of alerting has been "
                              "installed.")));
    });
  }
  if (slot == nullptr) {
    pg::Throw([] {
      ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
                      errmsg("too many databases use alerting"),
                      errdetail("At most %d databases of a server can.", pg::kMaxDatabases)));
    });
  }
  return slot;
}

DatabaseSlot* RequireSlot() {
  if (RecoveryInProgress()) {
    pg::Throw([] {
      ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                      errmsg("alerting does not run during recovery"),
                      errhint("Its workers start once this server has been promoted.")));
    });
  }
  return SlotOfDatabase();
}

Micros IntervalMicros(const Interval* interval) {
  const int64_t days = int64_t{interval->month} * DAYS_PER_MONTH + interval->day;
  Micros micros = 0;
  // The longest ones have more than fit; all parts of an infinite one are at their ends.
  if (__builtin_mul_overflow(days, 24 * kHour, &micros)) micros = days > 0 ? kNever : kNoTime;
  return AddTime(interval->time, micros);
}

// Called by a trigger on alerting's tables, say: whoever waits for a worker within it waits for
// himself.
bool IsWorker(const DatabaseSlot* slot) {
  return std::any_of(std::begin(slot->workers), std::end(slot->workers),
                     [](const pg::WorkerSlot& worker) { return worker.pid == MyProcPid; });
}

// Waits until `done` has reached `ticket`. False when the time ran out.
bool WaitFor(DatabaseSlot* slot, pg_atomic_uint64* done, uint64_t ticket, pg::WorkerKind kind,
             Micros deadline) {
  return pg::Call([&] {
    bool reached = false;
    ConditionVariablePrepareToSleep(&slot->flushed);
    for (;;) {
      reached = pg_atomic_read_u64(done) >= ticket;
      if (reached) break;
      const Micros left = SubtractTime(deadline, GetCurrentTimestamp());
      if (left <= 0) break;
      // The worker may be starting, or being started again after an error.
      pg::EnsureWorkers(slot);
      pg::WakeWorker(slot, kind);
      const long pause = static_cast<long>(std::min<Micros>((left + 999) / 1000, kPollMs));
      (void)ConditionVariableTimedSleep(&slot->flushed, pause, PG_WAIT_EXTENSION);
    }
    ConditionVariableCancelSleep();
    return reached;
  });
}

Datum Flush(FunctionCallInfo fcinfo) {
  DatabaseSlot* slot = RequireSlot();
  {
    // Its rollback gives back the locks: the evaluator may be about to alter those tables.
    const pg::Subtransaction savepoint;
    const pg::SpiConnection connection;
    (void)RequireBinding();
  }
  if (IsWorker(slot)) {
    pg::Call([] {
      ereport(WARNING,
              (errmsg("alerting.flush() was called by one of the workers that it waits for"),
               errdetail("It has waited for nothing."),
               errhint("Call it in no trigger on alerting's tables.")));
    });
    return BoolGetDatum(false);
  }
  const Micros timeout = PG_ARGISNULL(0) ? 10 * kSecond : IntervalMicros(PG_GETARG_INTERVAL_P(0));
  const bool deliveries = !PG_ARGISNULL(1) && PG_GETARG_BOOL(1);
  const Micros deadline = AddTime(GetCurrentTimestamp(), timeout);
  const uint64_t ticket = pg_atomic_add_fetch_u64(&slot->flush_requested, 1);
  const bool evaluated = WaitFor(slot, &slot->flush_done, ticket, pg::kEvaluator, deadline);
  bool done = evaluated;
  if (evaluated && deliveries) {
    const uint64_t sender_ticket = pg_atomic_add_fetch_u64(&slot->sender_flush_requested, 1);
    done = WaitFor(slot, &slot->sender_flush_done, sender_ticket, pg::kSender, deadline);
  }
  if (!done) {
    pg::Call([&] {
      ereport(NOTICE, (errmsg(evaluated ? "not every webhook is delivered or given up yet"
                                        : "not everything is evaluated yet"),
                       errhint("Ask alerting.doctor() what holds it up.")));
    });
  }
  return BoolGetDatum(done);
}

const char* StateName(const DatabaseSlot* slot, bool lacks_binding) {
  if (RecoveryInProgress()) return "standby";
  if (!pg::guc_enabled) return "disabled";
  switch (slot->wish) {
    case pg::Wish::kStopped:
      return "stopped";
    case pg::Wish::kOutdated:
      return "outdated";
    case pg::Wish::kNothing:
      return "not attached";
    case pg::Wish::kProbe:
    case pg::Wish::kProbing:
      return lacks_binding ? "not attached" : "starting";
    case pg::Wish::kRun:
      break;
  }
  if (!pg::WorkerRuns(slot, pg::kEvaluator) || !pg::WorkerRuns(slot, pg::kSender))
    return "starting";
  return slot->held ? "deliveries held" : "running";
}

// What a worker would find at once, and say nowhere: there is nothing to start for. Tables of an
// older version can be asked, too.
bool LacksBinding(const DatabaseSlot* slot) {
  switch (slot->wish) {
    case pg::Wish::kNothing:
    case pg::Wish::kProbe:
    case pg::Wish::kProbing:
      break;
    default:
      return false;
  }
  if (pg::Call([] { return RecoveryInProgress(); })) return false;
  const pg::Subtransaction savepoint;
  const pg::SpiConnection connection;
  return !IsAttached();
}

Datum Status(FunctionCallInfo fcinfo) {
  DatabaseSlot* slot = SlotOfDatabase();
  const bool lacks_binding = LacksBinding(slot);
  if (!lacks_binding) pg::Call([&] { pg::EnsureWorkers(slot); });
  pg::MapQueue(slot);
  return pg::Call([&] {
    TupleDesc descriptor;
    if (get_call_result_type(fcinfo, nullptr, &descriptor) != TYPEFUNC_COMPOSITE) {
      elog(ERROR, "return type must be a row type");
    }
    LWLockAcquire(&slot->lock, LW_SHARED);
    const ByteRing* ring = pg::MappedQueue(slot);
    const int64 queued = ring == nullptr ? 0 : static_cast<int64>(ring->size());
    const int64 capacity = ring == nullptr ? 0 : static_cast<int64>(ring->capacity());
    const bool replay = slot->replay_count > 0 || slot->replay_all;
    char problem[pg::kProblemBytes];
    strlcpy(problem, slot->problem, sizeof(problem));
    LWLockRelease(&slot->lock);
    // Time since the commit of the newest transaction judged, while others wait behind it.
    const auto until = static_cast<TimestampTz>(pg_atomic_read_u64(&slot->evaluated_until));
    Interval lag = {};
    if (queued > 0 && until != 0) lag.time = std::max<int64>(0, GetCurrentTimestamp() - until);

    Datum values[19];
    bool nulls[19] = {};
    int n = 0;
    values[n++] = CStringGetTextDatum(StateName(slot, lacks_binding));
    for (const pg::WorkerKind kind : {pg::kEvaluator, pg::kSender}) {
      const pid_t pid = slot->workers[kind].pid;
      nulls[n] = pid == 0;
      values[n++] = Int32GetDatum(pid);
    }
    values[n++] = BoolGetDatum(slot->held);
    values[n++] = Int64GetDatum(queued);
    values[n++] = Int64GetDatum(capacity);
    values[n++] = BoolGetDatum(replay);
    values[n++] = IntervalPGetDatum(&lag);
    for (pg_atomic_uint64* counter :
         {&slot->containers, &slot->samples, &slot->late, &slot->backfill, &slot->skipped,
          &slot->unknown, &slot->transitions, &slot->deliveries, &slot->failed_attempts,
          &slot->replays_done}) {
      values[n++] = Int64GetDatum(static_cast<int64>(pg_atomic_read_u64(counter)));
    }
    nulls[n] = problem[0] == '\0';
    values[n++] = CStringGetTextDatum(problem);
    return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, nulls));
  });
}

Datum Start() {
  DatabaseSlot* slot = RequireSlot();
  // For the present, and again at COMMIT for what this transaction has made.
  using pg::Wish;
  (void)pg::ChangeWish(slot, {Wish::kStopped, Wish::kNothing, Wish::kOutdated}, Wish::kProbe);
  pg::CountRequest(slot);
  pg::Call([&] { pg::EnsureWorkers(slot); });
  StartWorkersAtCommit();
  return Datum{0};
}

Datum Stop() {
  DatabaseSlot* slot = RequireSlot();
  using pg::Wish;
  (void)pg::ChangeWish(slot,
                       {Wish::kProbe, Wish::kProbing, Wish::kRun, Wish::kNothing, Wish::kOutdated},
                       Wish::kStopped);
  pg::WakeWorker(slot, pg::kEvaluator);
  pg::WakeWorker(slot, pg::kSender);
  pg::WakeLauncher();
  if (IsWorker(slot)) return Datum{0};  // leaves after its transaction
  pg::Call([&] {
    const TimestampTz deadline = GetCurrentTimestamp() + kStopTimeout;
    while (pg::WorkerRuns(slot, pg::kEvaluator) || pg::WorkerRuns(slot, pg::kSender)) {
      CHECK_FOR_INTERRUPTS();
      if (GetCurrentTimestamp() > deadline) {
        ereport(WARNING, (errmsg("alerting: the workers are still stopping")));
        break;
      }
      (void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 10,
                      PG_WAIT_EXTENSION);
      ResetLatch(MyLatch);
    }
  });
  return Datum{0};
}

// Declares this database the one that sends: records its identity. The binding's trigger lets the
// workers load it after COMMIT.
Datum Resume() {
  (void)RequireSlot();
  const pg::SpiConnection connection;
  (void)RequireBinding();
  if (!IsCopy()) {
    pg::Call([] { ereport(NOTICE, (errmsg("deliveries of this database are not held"))); });
    return Datum{0};
  }
  // As alerting.seal_binding() does, which the caller may not be allowed to execute.
  pg::Params params;
  params.OidValue(MyDatabaseId).BigInt(static_cast<int64_t>(GetSystemIdentifier()));
  (void)pg::Execute(
      "UPDATE alerting.host_binding SET database_oid = $1, system_id = $2, updated_at ="
      " pg_catalog.now(), alert_oid = 'alerting.alert'::pg_catalog.regclass",
      params);
  (void)pg::Execute("UPDATE alerting.host_binding b SET written_by = b.xmin::text::int8");
  WakeSenderAtCommit();
  return Datum{0};
}

}  // namespace

}  // namespace alerting::ext

Datum alerting_flush(PG_FUNCTION_ARGS) {
  return alerting::pg::Entry([&] { return alerting::ext::Flush(fcinfo); });
}
Datum alerting_status(PG_FUNCTION_ARGS) {
  return alerting::pg::Entry([&] { return alerting::ext::Status(fcinfo); });
}
Datum alerting_start(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  return alerting::pg::Entry([] { return alerting::ext::Start(); });
}
Datum alerting_stop(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  return alerting::pg::Entry([] { return alerting::ext::Stop(); });
}
Datum alerting_resume(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  return alerting::pg::Entry([] { return alerting::ext::Resume(); });
}
Datum alerting_library_version(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  return alerting::pg::Entry([] {
    return alerting::pg::Call([] { return CStringGetTextDatum(alerting::ext::kServedVersion); });
  });
}
