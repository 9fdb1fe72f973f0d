// Implements pg/transaction.h.
#include "pg/transaction.h"

namespace alerting::pg {

Transaction::Transaction(const char* activity) : outer_context_(CurrentMemoryContext) {
  Call([&] {
    SetCurrentStatementStartTimestamp();
    StartTransactionCommand();
    pgstat_report_activity(STATE_RUNNING, activity);
  });
  open_ = true;
  try {
    Call([&] {
      SPI_connect();
      PushActiveSnapshot(GetTransactionSnapshot());
    });
  } catch (...) {
    Abort();  // the destructor does not run for a constructor that throws
    throw;
  }
}

void Transaction::Commit() {
  Call([&] {
    SPI_finish();
    PopActiveSnapshot();
    CommitTransactionCommand();
    pgstat_report_stat(true);
    pgstat_report_activity(STATE_IDLE, nullptr);
    // After a commit the current context is TopMemoryContext: whatever were allocated there would
    // never be freed.
    MemoryContextSwitchTo(outer_context_);
  });
  open_ = false;
}

Transaction::~Transaction() { Abort(); }

void Transaction::Abort() noexcept {
  if (!open_) return;
  open_ = false;
  try {
    Call([&] {
      AbortCurrentTransaction();
      pgstat_report_activity(STATE_IDLE, nullptr);
      MemoryContextSwitchTo(outer_context_);
    });
  } catch (...) {
    // An abort that fails leaves nothing to trust in this process; the next use reports it.
    MemoryContextSwitchTo(outer_context_);
  }
}

Subtransaction::Subtransaction()
    : outer_context_(CurrentMemoryContext), outer_owner_(CurrentResourceOwner) {
  Call([&] {
    BeginInternalSubTransaction(nullptr);
    MemoryContextSwitchTo(outer_context_);
  });
  open_ = true;
}

void Subtransaction::Release() {
  Call([&] { ReleaseCurrentSubTransaction(); });
  open_ = false;
  MemoryContextSwitchTo(outer_context_);
  CurrentResourceOwner = outer_owner_;
}

Subtransaction::~Subtransaction() {
  if (!open_) return;
  open_ = false;
  try {
    Call([&] { RollbackAndReleaseCurrentSubTransaction(); });
  } catch (...) {
    // The outer transaction is broken; its own abort cleans up.
  }
  MemoryContextSwitchTo(outer_context_);
  CurrentResourceOwner = outer_owner_;
}

SettingsScope::SettingsScope() : nest_level_(NewGUCNestLevel()) {}

SettingsScope::~SettingsScope() {
  try {
    Call([&] { AtEOXact_GUC(false, nest_level_); });
  } catch (...) {
    // The transaction's end restores the settings too.
  }
}

UserScope::UserScope(Oid role, bool restricted) {
  GetUserIdAndSecContext(&saved_role_, &saved_context_);
  int context = saved_context_ | SECURITY_LOCAL_USERID_CHANGE | SECURITY_NOFORCE_RLS;
  if (restricted) context |= SECURITY_RESTRICTED_OPERATION;
  SetUserIdAndSecContext(role, context);
}

UserScope::~UserScope() { SetUserIdAndSecContext(saved_role_, saved_context_); }

SafeSearchPath::SafeSearchPath() {
  Call([&] {
    (void)set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
                            GUC_ACTION_SAVE, true, 0, false);
  });
}

SpiConnection::SpiConnection() {
  Call([&] {
    if (SPI_connect() != SPI_OK_CONNECT) elog(ERROR, "could not connect to the SPI manager");
  });
}

SpiConnection::~SpiConnection() {
  try {
    Call([&] { SPI_finish(); });
  } catch (...) {
    // Transaction or savepoint abort closes it.
  }
}

}  // namespace alerting::pg
