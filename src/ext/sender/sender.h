// The sender: takes what is pending in alerting.delivery, sends it, and writes down what came of
// it. Runs in its own background worker, one per database.
//
// Invariants: no transaction waits for a request. Claims live in memory only
// (the slot admits one sender per database): whatever is not recorded as DELIVERED or FAILED is
// sent again after a restart, with the same id, when its next_attempt_at says.
#ifndef ALERTING_EXT_SENDER_SENDER_H_
#define ALERTING_EXT_SENDER_SENDER_H_

#include <array>
#include <deque>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "core/byte_ring.h"
#include "core/clock_steps.h"
#include "core/fair_turns.h"
#include "core/handover.h"
#include "core/sleepers.h"
#include "ext/sender/delivery_store.h"
#include "ext/sender/sender_queue.h"
#include "net/threaded_client.h"
#include "pg/worker.h"

namespace alerting::ext {

// What costs more the more webhooks and settled deliveries there are takes a fifth of the time: how
// long to pause after it took `cost`.
Micros PauseAfterCost(Micros cost);

// All of a URL that may appear in a log.
std::string LoggableOrigin(const std::string& url);

class Sender final : public pg::WorkerTask {
 public:
  explicit Sender(pg::DatabaseSlot* slot);
  ~Sender() override;
  Sender(const Sender&) = delete;
  Sender& operator=(const Sender&) = delete;

  void Load() override;
  Micros Step() override;
  int WakeDescriptor() override { return client_->PollDescriptor(); }
  const char* Problem() const override;

 private:
  static int MostRequests();

  static constexpr size_t kMostRecorded = 256;   // outcomes in one transaction
  static constexpr size_t kRecordedAtOnce = 64;  // by one statement
  static constexpr size_t kStartedAtOnce = 16;   // more make the client's thread wait for them
  // With so many outcomes unrecorded no request starts: each is sent again after a crash.
  static constexpr size_t kMostUnrecorded = 4 * kMostRecorded;
  static constexpr Micros kLongestUnrecorded = 5 * kMillisecond;

  struct Attempt {
    PendingDelivery delivery;
    WebhookQueue* queue = nullptr;
    Endpoint::Ticket ticket;
  };
  struct FlushRequest {
    uint64_t number = 0;
    int64_t sequence = 0;  // deliveries up to this one are meant
  };
  struct StuckOutcome {
    Outcome outcome;
    Micros retry_at = kNoTime;
    std::string problem;  // "": its delivery is locked by a user
  };
  // What is written of webhooks, by its kinds.
  struct WebhookWrite {
    Micros not_before = kNoTime;  // after an error
    std::string problem;          // that error, "" when there was none
  };
  // What is true once the transaction has committed.
  struct Results {
    std::vector<std::string> settled;  // of the first `recorded` outcomes: delivery ids
    size_t recorded = 0;
    bool moved = false;  // a user gave one of them another time
    bool looked = false;
    std::vector<std::pair<std::string, Micros>> noted;  // breakers: webhook id, next probe
    uint64_t flushed = 0;  // flush requests up to this number are fulfilled
  };

  // sender.cpp: what a step does
  void ApplySettings();
  void FollowClock();
  void Serve();
  void StartRequest(WebhookQueue* queue, Micros now);
  void HandOverRequests();
  void CollectResponses();
  void TakeResponse(const net::Response& response);
  Micros TakeFailureHere(WebhookQueue* queue, const Attempt& attempt, const std::string& error);
  void DecideFailure(WebhookQueue* queue, const Attempt& attempt, const net::Response& response,
                     Outcome* outcome);
  void FailUnsent(WebhookQueue* queue, const PendingDelivery& delivery, const char* why,
                  bool retry);
  void AddOutcome(WebhookQueue* queue, Outcome outcome);
  Micros NextWake(Micros now) const;
  static int MostPerWebhook(int wanted);

  // sender_turns.cpp: whose request is next
  void StartReady();
  // Requests under way at endpoints that have not proven themselves, by organization and in all.
  struct Unproven {
    int all = 0;
    std::unordered_map<std::string, int> by_organization;
  };
  Unproven CountUnproven(Micros now) const;
  bool StartProven(Micros now);
  bool StartWaiting(Micros now, std::optional<Unproven>* counted);
  void JoinTurns(WebhookQueue* queue);
  void LeaveTurns(WebhookQueue* queue);
  std::optional<Micros> SleepsUntil(const WebhookQueue& queue, Micros now) const;
  void WakeAll();

  // sender_outbox.cpp: transactions
  bool HasWork(Micros now) const;  // for a transaction
  void RunTransaction();
  void Exchange(uint64_t flush_requested, Results* results);
  void PauseAfterError();
  void SetAside(const char* problem);
  void RecordOutcomes(Results* results);
  void ApplyResults(const Results& results);
  void SettleOutcome(const Outcome& outcome);
  void Look(Micros now);
  void UpdateQueue(const PendingWebhook& webhook);
  void Fetch(Micros now);
  void TakeFetched(WebhookQueue* queue, std::span<PendingDelivery> fetched, int limit, Micros now,
                   std::vector<std::string>* deferred, std::vector<Micros>* until);
  bool MayLook(Micros now) const;
  void SetStuckFree(Micros now);
  void Deactivate(WebhookQueue* queue);
  void ForgetIdleQueues();
  std::vector<WebhookQueue*> QueuesToFetch(Micros now) const;

  // sender_handover.cpp
  void DrainHandover();
  void TakeHanded();
  void TakeHanded(HandedDelivery delivery, Micros now);
  void ForgetHanded(std::span<const PendingDelivery> fetched);
  WebhookQueue* FindQueue(const std::string& id);
  WebhookQueue* FindAsHanded(const HandedDelivery& delivery);

  // sender_claims.cpp
  struct Claim;
  template <typename Visitor>
  void VisitClaims(const Visitor& visit) const;
  template <typename Visitor>
  void VisitFetchedClaims(const Visitor& visit) const;
  template <typename Visitor>
  void VisitStarted(const Visitor& visit) const;
  template <typename Visitor>
  static void VisitReady(const WebhookQueue* queue, const Visitor& visit);
  std::vector<std::string> Claimed() const;
  std::vector<std::string> ClaimedOf(const std::string& webhook_id) const;
  std::vector<std::string> ClaimedAhead() const;
  bool HasClaimed(std::span<const PendingDelivery> fetched) const;

  // sender_upkeep.cpp
  template <typename F>
  void WriteOfWebhooks(WebhookWrite* kind, bool has_any, Micros now, const F& write);
  void ActOnAnswers(Micros now);
  void NoteFailuresHere();
  void AnswerFlushes(uint64_t requested, Results* results);
  void NoteFailedProbe(const std::string& webhook_id, const std::string& error);
  void ParkOverdue();
  void SwitchOffGone();
  void SwitchOffFailing();
  void NoteBreakers(Micros now, Results* results);
  void NoteHeld(bool held);
  void DeleteExpired(Micros now);

  pg::DatabaseSlot* const slot_;
  DeliveryStore store_;
  ClockSteps clock_;
  std::minstd_rand random_;

  // --- settings as last applied
  net::TlsFiles tls_;
  std::string networks_;   // alerting.allowed_networks
  int most_requests_ = 0;  // alerting.max_concurrent_deliveries

  // --- webhooks: one is in queues_ or in idle_
  using Queues = std::unordered_map<std::string, std::unique_ptr<WebhookQueue>>;
  Queues queues_;
  Queues idle_;  // have nothing to do, but are known when something is handed over
  Sleepers<WebhookQueue>
      sleepers_;  // of queues_: what a step costs depends on those that are awake
  // Of queues_ those with something ready, but for those whose endpoint may not be asked now, which
  // come back when a request of theirs has ended or the time has come: in turns_ for the next
  // place, in waiting_ for one of the places that endpoints share which have not proven themselves.
  FairTurns<WebhookQueue*> turns_;
  FairTurns<WebhookQueue*> waiting_;

  // --- what the evaluator hands over
  ByteRing* handover_ = nullptr;  // nullptr: there is none
  HandoverInbox inbox_;

  // --- requests: a delivery is in one queue's `ready`, then in in_flight_, then its outcome is in
  // outcomes_ or stuck_ until it is recorded; all that time it is claimed (sender_claims.cpp)
  std::unique_ptr<net::ThreadedClient> client_;
  uint64_t next_tag_ = 1;
  std::unordered_map<uint64_t, Attempt> in_flight_;  // by tag
  std::vector<net::Request> made_;      // in flight, but for being handed to the client
  std::vector<net::Request> answered_;  // some, whose memory is used again
  std::deque<Outcome> outcomes_;        // to be recorded
  Micros oldest_outcome_at_ = kNoTime;
  std::vector<StuckOutcome> stuck_;  // could not be recorded
  std::string failure_here_;  // why requests did not come out of this machine, "" when they do

  // --- what is to be written of webhooks, for what their answers said
  // One kind of it that is refused holds up none of the others.
  enum : size_t { kWriteGone, kWriteFailing, kWriteOverdue, kWriteBreakers, kWebhookWrites };
  std::array<WebhookWrite, kWebhookWrites> webhook_writes_;
  std::deque<FailedProbe> probes_failed_;                  // of each webhook one
  std::vector<std::pair<std::string, std::string>> gone_;  // webhook id, url
  std::unordered_set<std::string> parked_;  // webhooks that parked a delivery since the last check
  std::unordered_map<std::string, Micros> next_failing_check_;  // by webhook

  // --- when to run a transaction, and what it does
  Micros not_before_ = kNoTime;          // after an error: none before
  int errors_ = 0;                       // in a row
  size_t record_most_ = kMostRecorded;   // outcomes; fewer after an error, to find the one at fault
  bool look_ = true;                     // look at all webhooks in the next one
  Micros next_look_ = kNoTime;           // or at this time without being told to
  Micros look_not_before_ = kNoTime;     // for what the last look has cost
  uint64_t wakes_seen_ = 0;              // slot_->sender_wakes as of the last look
  uint64_t fetches_ = 0;                 // so many have been run, for WebhookQueue::fetched
  std::vector<WebhookQueue*> fetching_;  // that the fetch of now asks for
  bool held_ = false;                    // as slot_->held: a restored copy, which sends nothing
  std::deque<FlushRequest> flushes_;
  uint64_t flush_seen_ = 0;  // the last request that is in flushes_, or was
  Micros next_flush_check_ = kNoTime;
  bool flush_check_due_ = false;  // one was put off to that time
  Micros next_cleanup_ = kNoTime;
  uint32_t cleanup_block_ = 0;  // where the next one begins
};

}  // namespace alerting::ext

#endif  // ALERTING_EXT_SENDER_SENDER_H_
