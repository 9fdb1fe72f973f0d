// What the evaluator and the sender have in common: connecting, settings that no user may change
// under them, waiting, and what becomes of an error. Runs in those workers.
#ifndef ALERTING_PG_WORKER_H_
#define ALERTING_PG_WORKER_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "pg/shared_state.h"

namespace alerting::pg {

// A step of a worker's work. Errors leave it as exceptions with every transaction rolled back.
class WorkerTask {
 public:
  virtual ~WorkerTask() = default;
  // Loads what the worker needs to go on; called at the start and after repeated errors.
  virtual void Load() = 0;
  // Does everything that can be done now. Returns the wall-clock time at which there will be more
  // to do if nobody wakes the worker before (kNever: only when woken).
  virtual Micros Step() = 0;
  // A descriptor that wakes the worker when readable, -1 for none.
  virtual int WakeDescriptor() { return -1; }
  // What the last step has left undone, for status(); "" for nothing.
  virtual const char* Problem() const { return ""; }
  // Called before the worker ends because it was told to stop.
  virtual void BeforeStop() {}
};

// Thrown by a task to end the worker in good order (the slot's wish says what follows).
struct WorkerExit {};

// For the start of a background worker. A reload of the settings that came since the process was
// forked was ignored: it is made up for at the worker's first look at ConfigReloadPending.
void HeedSignals();

// Connects the process to the database, takes the slot, and runs the task made by `make_task` until
// the process is told to stop. Never returns.
[[noreturn]] void RunWorker(
    WorkerKind kind, Oid database,
    const std::function<std::unique_ptr<WorkerTask>(DatabaseSlot*)>& make_task);

// In a transaction of a worker: takes the lock that DROP EXTENSION conflicts with and returns the
// extension's version, nullopt when it is not installed.
std::optional<std::string> LockExtension();

}  // namespace alerting::pg

#endif  // ALERTING_PG_WORKER_H_
