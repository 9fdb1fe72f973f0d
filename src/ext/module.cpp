// The library's entry: settings, hooks, and the shared memory that is asked for when preloaded.
// Runs in the postmaster (preloaded) or in the first backend function call.
#include "ext/commit_notices.h"
#include "ext/database_hooks.h"
#include "ext/transaction_buffer.h"
#include "pg/guc.h"
#include "pg/shared_state.h"

extern "C" {
ALERTING_MODULE_MAGIC;
PGDLLEXPORT void _PG_init(void);
}

namespace alerting::ext {

namespace {

constinit shmem_request_hook_type previous_shmem_request = nullptr;

extern "C" void RequestSharedMemory() {
  if (previous_shmem_request != nullptr) previous_shmem_request();
  RequestAddinShmemSpace(pg::SharedRootSize());
}

void RegisterLauncherAtBoot() {
  BackgroundWorker worker;
  MemSet(&worker, 0, sizeof(worker));
  worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
  worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
  worker.bgw_restart_time = pg::kLauncherRestartSeconds;
  strlcpy(worker.bgw_library_name, "alerting", BGW_MAXLEN);
  strlcpy(worker.bgw_function_name, "alerting_launcher_main", BGW_MAXLEN);
  strlcpy(worker.bgw_name, "alerting launcher", BGW_MAXLEN);
  strlcpy(worker.bgw_type, "alerting launcher", BGW_MAXLEN);
  RegisterBackgroundWorker(&worker);
}

}  // namespace

}  // namespace alerting::ext

void _PG_init(void) {
  using namespace alerting;
  pg::DefineSettings();
  if (IsBinaryUpgrade) return;
  if (process_shared_preload_libraries_in_progress) {
    ext::previous_shmem_request = shmem_request_hook;
    shmem_request_hook = ext::RequestSharedMemory;
    ext::RegisterLauncherAtBoot();
  }
  ext::RegisterTransactionCallbacks();
  ext::RegisterNoticeCallbacks();
  ext::InstallDatabaseHooks();
}
