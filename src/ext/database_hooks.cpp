// Implements ext/database_hooks.h.
#include "ext/database_hooks.h"

#include "pg/guard.h"
#include "pg/shared_state.h"
#include "pg/transaction.h"

namespace alerting::ext {

namespace {

constinit ProcessUtility_hook_type previous_utility = nullptr;

// The database that the command needs for itself, nullptr for other commands. PostgreSQL code.
const char* DatabaseToFree(Node* statement) {
  switch (nodeTag(statement)) {
    case T_DropdbStmt:
      return castNode(DropdbStmt, statement)->dbname;
    case T_CreatedbStmt: {
      ListCell* cell;
      foreach (cell, castNode(CreatedbStmt, statement)->options) {
        DefElem* option = static_cast<DefElem*>(lfirst(cell));
        if (strcmp(option->defname, "template") == 0 && option->arg != nullptr) {
          return defGetString(option);
        }
      }
      return nullptr;
    }
    case T_RenameStmt: {
      RenameStmt* rename = castNode(RenameStmt, statement);
      return rename->renameType == OBJECT_DATABASE ? rename->subname : nullptr;
    }
    case T_AlterDatabaseStmt: {
      AlterDatabaseStmt* alter = castNode(AlterDatabaseStmt, statement);
      ListCell* cell;
      foreach (cell, alter->options) {
        DefElem* option = static_cast<DefElem*>(lfirst(cell));
        if (strcmp(option->defname, "tablespace") == 0) return alter->dbname;
      }
      return nullptr;
    }
    default:
      return nullptr;
  }
}

// A database that its workers have to leave; lives on the stack of the command.
struct FreedDatabase {
  pg::DatabaseSlot* slot;
  Oid database;
};

// The slot of a database, nullptr also where the shared memory cannot be used, being that of
// another version of the library: that is no reason for a command to fail.
pg::DatabaseSlot* SlotIfUsable(Oid database) noexcept {
  try {
    pg::Subtransaction savepoint;  // its rollback gives back the locks that an error leaves
    pg::DatabaseSlot* slot = pg::Call([&] { return pg::FindSlot(database); });
    savepoint.Release();
    return slot;
  } catch (...) {
    return nullptr;
  }
}

// The slot of the database that the command needs. False when there is nobody to send away.
bool FindWorkers(const char* name, FreedDatabase* freed) {
  freed->database = get_database_oid(name, true);
  if (!OidIsValid(freed->database) || freed->database == MyDatabaseId) return false;
  // Only somebody who may do what he asks for shall disturb the workers.
  if (!pg::OwnsDatabase(freed->database)) return false;
  freed->slot = SlotIfUsable(freed->database);
  return freed->slot != nullptr;
}

// Waits until they have left, at most five seconds: PostgreSQL itself waits as long and then says
// who is connected.
void AwaitWorkers(const pg::DatabaseSlot* slot) {
  for (int tries = 0; tries < 500; ++tries) {
    bool running = false;
    for (const pg::WorkerKind kind : {pg::kEvaluator, pg::kSender}) {
      const pid_t pid = slot->workers[kind].pid;
      if (pid == 0) continue;
      running = true;
      if (tries % 50 == 0) kill(pid, SIGTERM);
    }
    if (!running) return;
    (void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 10,
                    PG_WAIT_EXTENSION);
    ResetLatch(MyLatch);
    CHECK_FOR_INTERRUPTS();
  }
}

// Whatever became of the command, a database that is still there gets its workers back; the
// launcher forgets one that is gone.
extern "C" void LetWorkersIn(int /*code*/, Datum argument) {
  const auto* freed = reinterpret_cast<FreedDatabase*>(DatumGetPointer(argument));
  pg::EndLockOut(freed->slot, freed->database);
  pg::WakeLauncher();
}

// Plain PostgreSQL code without C++ objects: errors pass through as they come.
extern "C" void OnUtility(PlannedStmt* planned, const char* query, bool read_only_tree,
                          ProcessUtilityContext context, ParamListInfo params,
                          QueryEnvironment* environment, DestReceiver* destination,
                          QueryCompletion* completion) {
  const auto run = [&] {
    if (previous_utility != nullptr) {
      previous_utility(planned, query, read_only_tree, context, params, environment, destination,
                       completion);
    } else {
      standard_ProcessUtility(planned, query, read_only_tree, context, params, environment,
                              destination, completion);
    }
  };
  FreedDatabase freed = {};
  const char* name = DatabaseToFree(planned->utilityStmt);
  if (name == nullptr || !FindWorkers(name, &freed)) {
    run();
    return;
  }
  pg::LockOut(freed.slot, freed.database);
  pg::CallThenFinally(
      [&] {
        AwaitWorkers(freed.slot);
        run();
      },
      LetWorkersIn, PointerGetDatum(&freed));
}

}  // namespace

void InstallDatabaseHooks() {
  previous_utility = ProcessUtility_hook;
  ProcessUtility_hook = OnUtility;
}

}  // namespace alerting::ext
