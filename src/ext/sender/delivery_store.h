// The outbox as SQL: what is pending, what came of it, what may be deleted. Sender; each function
// runs inside a StoreTransaction.
//
// Invariant: no statement here waits for a user's lock on a delivery or webhook row; a locked row
// is left out and comes again.
#ifndef ALERTING_EXT_SENDER_DELIVERY_STORE_H_
#define ALERTING_EXT_SENDER_DELIVERY_STORE_H_

#include <optional>
#include <string>
#include <vector>

#include "core/time.h"
#include "ext/host/binding.h"
#include "ext/sender/attempt_log.h"
#include "ext/sender/delivery_outcome.h"
#include "pg/spi.h"
#include "pg/table_plan.h"
#include "pg/transaction.h"

namespace alerting::ext {

// An active webhook that has pending deliveries.
struct PendingWebhook {
  std::string id;
  std::string version;  // of its row: each change makes another one; see HandedDelivery
  std::string organization;
  std::string url;
  std::optional<std::string> secret;
  std::string headers;                          // lines "name: value"
  std::optional<std::vector<Micros>> schedule;  // nullopt: the default
  int rate_limit = 0;                           // requests a minute; 0: no limit
  int max_concurrent = 0;                       // 0: as the sender sees fit
  Micros probe_at = kNoTime;                    // of an open breaker, as noted last
  Micros first_due = kNever;                    // of its pending deliveries that are not claimed
};

struct PendingDelivery {
  std::string id;
  pg::RowPlace place = pg::kNoPlace;  // of the row as it was read
  std::string webhook_id;
  std::string body;         // UTF-8; empty while not due
  bool unsendable = false;  // the payload has no UTF-8 form
  bool over = false;        // a FIRING whose alert is RESOLVED or gone
  int attempts = 0;
  Micros due = kNoTime;
  int64_t sequence = 0;
  // A RESOLVED whose FIRING is still pending: when that is due; kNoTime for all others.
  Micros waits_until = kNoTime;
};

struct FetchRequest {
  std::string webhook_id;
  int limit = 0;
  // Nothing before this place (next_attempt_at, seq) is pending and unclaimed. It spares the index
  // scan the entries of settled deliveries, which stay as long as any transaction may see them.
  Micros from = kNoTime;
  int64_t from_sequence = 0;
};

// One transaction of the sender as the owner of alerting's tables. Ends the worker when the
// extension is gone; `ready()` is false while the tables don't exist yet.
class StoreTransaction {
 public:
  explicit StoreTransaction(const char* activity);
  bool ready() const { return user_.has_value(); }
  void Commit();

 private:
  pg::Transaction transaction_;
  std::optional<pg::UserScope> user_;
};

// A probe of a webhook's endpoint, whose deliveries may have waited for too long now.
struct FailedProbe {
  std::string webhook_id;
  std::string error;
  // Those before this place have been looked at.
  Micros from = kNoTime;
  int64_t from_sequence = 0;
};

class DeliveryStore {
 public:
  DeliveryStore();

  // The database is a copy of the one that the binding was made in.
  bool IsCopy();

  // All active webhooks with pending deliveries.
  std::vector<PendingWebhook> FindPending(const std::vector<std::string>& claimed);
  // For each request at most `limit` due deliveries, and the next one that is not due yet (without
  // its body), in no order.
  std::vector<PendingDelivery> Fetch(const std::vector<FetchRequest>& requests,
                                     const std::vector<std::string>& claimed, Micros now);
  // Puts deliveries that cannot go before `until` out of the way of Fetch.
  void Defer(const std::vector<std::string>& ids, const std::vector<Micros>& until);

  // Writes attempts and what they mean for their deliveries. Returns the ids of the deliveries that
  // are settled (written, or gone meanwhile); the others are locked by somebody.
  // *moved: a user has given one of them another time, which stands.
  std::vector<std::string> Record(const std::vector<const Outcome*>& outcomes, bool* moved);
  // Parks some deliveries of a webhook whose last retry would be over by now (their time, plus the
  // pauses that they have left: remaining_pauses, by attempts): oldest first, and no further than
  // the first that may still wait, so that a backlog is not read whole for each probe. True: there
  // may be more; then `probe` says where, behind the entries of what has been parked.
  bool ParkOverdue(FailedProbe* probe, const std::vector<Micros>& remaining_pauses,
                   const std::vector<std::string>& claimed, Micros now);

  // Switches a webhook off unless its url was changed.
  enum class Switched { kOff, kNotAsItWas, kLocked };
  Switched SwitchOff(const std::string& webhook_id, const std::string& url,
                     const std::string& reason);
  // Switches off those of the webhooks that have delivered nothing and only failed for days.
  std::vector<std::string> SwitchOffFailing(const std::vector<std::string>& webhook_ids);

  // Writes when each of the webhooks is probed next (kNoTime: its breaker is closed). Returns the
  // ids of those that are settled; the others are locked by somebody.
  std::vector<std::string> NoteBreakers(const std::vector<std::string>& webhook_ids,
                                        const std::vector<Micros>& probe_at);

  // The newest delivery there is, for IsFlushed.
  int64_t NewestSequence();
  // No delivery up to `sequence` is pending for an active webhook.
  bool IsFlushed(int64_t sequence);

  struct Deleted {
    uint64_t rows = 0;
    uint64_t table_blocks = 0;
  };
  // Deletes at most `limit` deliveries among so many blocks of the table: those delivered or parked
  // before the given times, unless their alert is still FIRING.
  Deleted DeleteExpired(uint32_t from_block, uint32_t blocks, Micros delivered_before,
                        Micros failed_before, int limit);

 private:
  std::vector<const Outcome*> UpdateDelivered(const std::vector<const Outcome*>& outcomes);
  std::vector<const Outcome*> UpdateAny(const std::vector<const Outcome*>& outcomes, bool* moved);

  pg::Statement is_copy_{kIsCopySql};
  pg::Statement find_pending_{std::string(kWithPendingWebhooks) + kFindPendingSql};
  pg::Statement fetch_{kFetchSql};
  pg::Statement still_firing_{kStillFiringSql};
  pg::Statement update_any_{kUpdateAnySql};
  pg::Statement is_flushed_{kIsFlushedSql};
  pg::Statement park_overdue_{kParkOverdueSql};
  pg::TablePlan delivered_plan_;
  AttemptLog log_;

  static const char kWithPendingWebhooks[];
  static const char kFindPendingSql[];
  static const char kFetchSql[];
  static const char kStillFiringSql[];
  static const char kUpdateAnySql[];
  static const char kIsFlushedSql[];
  static const char kParkOverdueSql[];
};

}  // namespace alerting::ext

#endif  // ALERTING_EXT_SENDER_DELIVERY_STORE_H_
