// Writes transitions to the database: alert rows, their deliveries and notifications, many in one
// transaction. Runs in the evaluator.
//
// Invariant: it waits for nobody. Rows and tables that somebody's open transaction has locked are
// skipped, and their transitions stay with the caller for later. So no user's transaction can end
// up in a deadlock with the evaluator.
#ifndef ALERTING_EXT_EVALUATOR_ALERT_STORE_H_
#define ALERTING_EXT_EVALUATOR_ALERT_STORE_H_

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "ext/evaluator/alert_rows.h"
#include "ext/evaluator/handover_writer.h"
#include "ext/evaluator/outbox.h"
#include "ext/evaluator/outgoing_transition.h"
#include "ext/host/binding.h"
#include "ext/host/container_directory.h"
#include "pg/key_lookup.h"
#include "pg/spi.h"

namespace alerting::ext {

// The rule and container of a transition, as one key.
std::string PairOf(const Transition& transition);

enum class WriteResult : uint8_t {
  kWritten,
  kLocked,   // try again later
  kObsolete  // its container, rule or alert is gone: nothing to write
};

// A container whose row says something else than the engine believes.
struct ContainerCorrection {
  std::string key;
  bool exists = true;
  std::string organization;
};

// A rule that the transaction has locked against deletion, as its alerts tell of it.
struct LockedRule {
  std::string organization;  // the key as text
  std::string name;
  std::string condition;
  std::optional<double> threshold;
  int32_t duration = 0;  // minutes
};

class AlertStore {
 public:
  AlertStore(const Binding& binding, ContainerDirectory* directory);

  // Writes the batch in the current transaction; results[i] says what became of batch[i]. The batch
  // holds at most one kFire per rule and container. When an alert of the same rule and container is
  // FIRING already, its id replaces the one in the batch. What is enqueued is told to `handover`.
  std::vector<WriteResult> Write(std::span<OutgoingTransition* const> batch,
                                 HandoverWriter* handover);

  // Deletes the alerts of containers that are gone, in the current transaction. A foreign key does
  // that as a rule, but not where logical replication deletes the containers.
  void DeleteOrphans(const std::vector<std::string>& keys);

  // Containers found moved or deleted by the last Write.
  const std::vector<ContainerCorrection>& corrections() const { return corrections_; }

 private:
  // Rendered and enqueued for so many alerts at a time.
  static constexpr size_t kAlertsPerStatement = 400;

  void WriteFires(std::span<OutgoingTransition* const> batch, std::vector<size_t> fires,
                  std::vector<WriteResult>* results);
  std::vector<size_t> LockAlerts(std::span<OutgoingTransition* const> batch,
                                 std::vector<size_t> resolves, std::vector<WriteResult>* results);
  void Resolve(std::span<OutgoingTransition* const> batch, std::span<const size_t> resolves);
  void WriteResolves(std::span<OutgoingTransition* const> batch, std::vector<size_t> resolves,
                     std::vector<WriteResult>* results);
  std::vector<size_t> LockContainers(std::span<OutgoingTransition* const> batch,
                                     std::vector<size_t> fires, std::vector<WriteResult>* results);
  // Of rules asked for.
  struct NotLocked {
    std::unordered_set<std::string> existing;  // all that are there, when some are not locked
    std::unordered_set<std::string> blocked;   // some webhook of theirs is not locked
  };
  bool LockFewRules(const std::vector<std::string>& ids);
  NotLocked LockManyRules(const std::vector<std::string>& ids);
  // What the locks have found, as the organizations' table writes it.
  void RespellOrganizations();
  std::vector<size_t> LockRules(std::span<OutgoingTransition* const> batch,
                                std::vector<size_t> fires, std::vector<WriteResult>* results);
  std::vector<size_t> LeaveOutMoved(std::span<OutgoingTransition* const> batch,
                                    std::vector<size_t> fires, std::vector<WriteResult>* results);
  bool LockTables();
  // The first column's values; of rows (what, webhook) those whose webhook is not among the locked.
  static std::unordered_set<std::string> FirstColumn(const pg::Rows& rows);
  static std::unordered_set<std::string> Blocked(const pg::Rows& rows,
                                                 const LockedWebhooks& locked);
  void EnqueueFiring(std::span<OutgoingTransition* const> batch, std::vector<size_t> fires);
  void EnqueueFiring(std::span<OutgoingTransition* const> batch, std::span<const size_t> fires,
                     const std::unordered_map<std::string, std::string>& organization_names);
  Datum RenderFiring(const OutgoingTransition& outgoing,
                     std::optional<std::string_view> organization_name, MemoryContext memory) const;
  void Notify(std::span<OutgoingTransition* const> batch, const std::vector<size_t>& indexes,
              const char* event);

  const Binding& binding_;
  ContainerDirectory* directory_;
  std::vector<ContainerCorrection> corrections_;
  // Of the current Write.
  std::unordered_map<std::string, ContainerInfo> containers_;
  std::unordered_map<std::string, LockedRule> rules_;
  std::unordered_map<std::string, std::vector<std::string>> webhooks_;  // by organization
  LockedWebhooks locked_webhooks_;
  HandoverWriter* handover_ = nullptr;

  AlertRows alert_rows_;
  Outbox outbox_;
  pg::KeyLookup rule_lookup_;
  pg::KeyLookup webhook_lookup_;
  pg::Statement lock_rules_;
  pg::Statement find_rules_;
  pg::Statement find_webhooks_;
  pg::Statement lock_alerts_;
  pg::Statement find_alerts_;
  pg::Statement lock_resolved_webhooks_;
  pg::Statement find_resolved_webhooks_;
  pg::Statement resolve_alerts_;
  pg::Statement render_resolved_;
  pg::Statement delete_orphans_;
};

}  // namespace alerting::ext

#endif  // ALERTING_EXT_EVALUATOR_ALERT_STORE_H_
