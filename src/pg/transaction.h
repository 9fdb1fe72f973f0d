// A worker's transaction, a savepoint in any process, and running as another role.
// Each is left in the state it found: what is not committed is rolled back by the destructor.
#ifndef ALERTING_PG_TRANSACTION_H_
#define ALERTING_PG_TRANSACTION_H_

#include "pg/guard.h"

namespace alerting::pg {

// One transaction of a background worker, with a snapshot and an SPI connection.
class Transaction {
 public:
  // `activity` is what pg_stat_activity shows meanwhile; it must outlive the call only.
  explicit Transaction(const char* activity);
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  void Commit();
  // What reads by the active snapshot sees from here on what has been committed by now.
  void TakeSnapshot();

 private:
  void Abort() noexcept;

  bool open_ = false;
  MemoryContext outer_context_;
};

// A savepoint whose destructor rolls back unless Release() was called.
class Subtransaction {
 public:
  Subtransaction();
  ~Subtransaction();
  Subtransaction(const Subtransaction&) = delete;
  Subtransaction& operator=(const Subtransaction&) = delete;
  void Release();

 private:
  bool open_ = false;
  MemoryContext outer_context_;
  ResourceOwner outer_owner_;
};

// What the code that runs meanwhile sets, is as it was before once this is destroyed. Other
// people's code runs in every statement over their tables, by index expressions and foreign keys
// too: were its search_path to stay, our next statement would call its operators. No savepoint from
// outside may end meanwhile.
class SettingsScope {
 public:
  SettingsScope();
  ~SettingsScope();
  SettingsScope(const SettingsScope&) = delete;
  SettingsScope& operator=(const SettingsScope&) = delete;

 private:
  int nest_level_;
};

// Runs as `role` until destroyed. Never lets code that it reaches become the session user again
// (SET ROLE and the like fail), nor leave settings behind. `restricted` also forbids what a
// materialized view's refresh may not do: for the host's tables and expressions. A table's owner
// reads all its rows, also where row security is forced.
class UserScope {
 public:
  UserScope(Oid role, bool restricted);
  ~UserScope();
  UserScope(const UserScope&) = delete;
  UserScope& operator=(const UserScope&) = delete;

 private:
  SettingsScope settings_;
  Oid saved_role_ = InvalidOid;
  int saved_context_ = 0;
};

// Sets search_path to pg_catalog, pg_temp until destroyed, for sessions of users.
class SafeSearchPath {
 public:
  SafeSearchPath();
  SafeSearchPath(const SafeSearchPath&) = delete;
  SafeSearchPath& operator=(const SafeSearchPath&) = delete;

 private:
  SettingsScope settings_;
};

// For what a mapping is made of, until destroyed: search_path as above, and literals, times,
// figures and bytes are read and written as usual, so that a mapping means in every session what it
// means to the workers. A time without a zone is one of `zone`.
class MappingSettings {
 public:
  explicit MappingSettings(const char* zone);
  MappingSettings(const MappingSettings&) = delete;
  MappingSettings& operator=(const MappingSettings&) = delete;

 private:
  SafeSearchPath path_;
};

// How a transaction that was prepared has been decided. Any process, also without a transaction.
enum class Decision { kNone, kCommitted, kRolledBack };
Decision DecisionOf(TransactionId prepared);

// An SPI connection in a backend that already has a transaction.
class SpiConnection {
 public:
  SpiConnection();
  ~SpiConnection();
  SpiConnection(const SpiConnection&) = delete;
  SpiConnection& operator=(const SpiConnection&) = delete;
};

}  // namespace alerting::pg

#endif  // ALERTING_PG_TRANSACTION_H_
