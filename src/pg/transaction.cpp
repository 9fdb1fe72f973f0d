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
    // What is sent must not be lost by a crash here, whatever synchronous_commit says. For standbys
    // it waits as the database's other transactions do.
    if (TransactionIdIsValid(GetTopTransactionIdIfAny())) ForceSyncCommit();
    CommitTransactionCommand();
    pgstat_report_stat(true);
    pgstat_report_activity(STATE_IDLE, nullptr);
    // After a commit the current context is TopMemoryContext: whatever were allocated there would
    // never be freed.
    MemoryContextSwitchTo(outer_context_);
  });
  open_ = false;
}

void Transaction::TakeSnapshot() {
  Call([&] {
    PopActiveSnapshot();
    PushActiveSnapshot(GetTransactionSnapshot());
  });
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

namespace {

// PostgreSQL code. False: no value that the setting may have.
bool SetLocally(const char* name, const char* value, int level) {
  return set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, level,
                           false) > 0;
}

// Most sessions have most of them, which spares what setting them costs. PostgreSQL code.
void SetForMappings(const char* zone) {
  if (!standard_conforming_strings) SetLocally("standard_conforming_strings", "on", ERROR);
  if (DateStyle != USE_ISO_DATES || DateOrder != DATEORDER_MDY) {
    SetLocally("DateStyle", "ISO, MDY", ERROR);
  }
  if (IntervalStyle != INTSTYLE_POSTGRES) SetLocally("IntervalStyle", "postgres", ERROR);
  if (extra_float_digits != 1) SetLocally("extra_float_digits", "1", ERROR);
  if (bytea_output != BYTEA_OUTPUT_HEX) SetLocally("bytea_output", "hex", ERROR);
  // AT TIME ZONE knows abbreviations, which the setting does not.
  if (pg_strcasecmp(pg_get_timezone_name(session_timezone), zone) != 0 &&
      !SetLocally("TimeZone", zone, DEBUG1)) {
    SetLocally("TimeZone", "UTC", ERROR);
  }
}

}  // namespace

MappingSettings::MappingSettings(const char* zone) {
  Call([&] { SetForMappings(zone); });
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

Decision DecisionOf(TransactionId prepared) {
  return Call([&] {
    if (TransactionIdIsInProgress(prepared)) return Decision::kNone;
    return TransactionIdDidCommit(prepared) ? Decision::kCommitted : Decision::kRolledBack;
  });
}

}  // namespace alerting::pg
