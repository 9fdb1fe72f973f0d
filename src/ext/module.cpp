// The library's entry: settings, hooks, and the shared memory that is asked for when preloaded.
// Runs in the postmaster (preloaded) or in the first backend function call.
#include "ext/capture/commit_notices.h"
#include "ext/capture/transaction_buffer.h"
#include "ext/database_hooks.h"
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

}  // namespace

}  // namespace alerting::ext

void _PG_init(void) {
  using namespace alerting;
  pg::DefineSettings();
  if (IsBinaryUpgrade) return;
  if (process_shared_preload_libraries_in_progress) {
    ext::previous_shmem_request = shmem_request_hook;
    shmem_request_hook = ext::RequestSharedMemory;
    BackgroundWorker launcher = pg::LauncherRegistration();
    RegisterBackgroundWorker(&launcher);
  }
  ext::RegisterTransactionCallbacks();
  ext::RegisterNoticeCallbacks();
  ext::InstallDatabaseHooks();
}
