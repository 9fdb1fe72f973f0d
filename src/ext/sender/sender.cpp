// What a step of the sender does, its requests, and what their answers mean. See
// ext/sender/sender.h.
#include "ext/sender/sender.h"

#include <malloc.h>

#include <algorithm>

#include "core/retry_after.h"
#include "core/url.h"
#include "ext/webhook/signature.h"
#include "ext/webhook/text_encoding.h"
#include "ext/webhook/webhook_request.h"
#include "pg/freeze_point.h"
#include "pg/guc.h"
#include "pg/handover_ring.h"

extern "C" {
PGDLLEXPORT void alerting_sender_main(Datum database);
}

namespace alerting::ext {

namespace {

constexpr int kTooManyRequests = 429;
constexpr int kUnavailable = 503;
constexpr int kGone = 410;
constexpr int kMostPerWebhook = 32;
constexpr size_t kMostAnsweredKept = 64;

// The delivery's last retry would be over by now.
bool IsOverdue(const PendingDelivery& delivery, const std::vector<Micros>& schedule, Micros now) {
  return AddTime(delivery.due, RemainingPauses(schedule, delivery.attempts)) <= now;
}

// Of an attempt at this delivery, as far as it is known before there is an answer.
Outcome OutcomeOf(const WebhookQueue& queue, const PendingDelivery& delivery, Micros at) {
  Outcome outcome;
  outcome.delivery_id = delivery.id;
  outcome.place = delivery.place;
  outcome.webhook_id = queue.id;
  outcome.due = delivery.due;
  outcome.sequence = delivery.sequence;
  outcome.at = at;
  return outcome;
}

std::string SettingText(const char* value) { return value == nullptr ? "" : value; }

// Each transaction takes some 100 kB and gives them back: unless they stay with the process, the
// kernel takes their pages back each time and the next transaction touches new ones.
void KeepFreedMemory() {
#ifdef M_TRIM_THRESHOLD
  constexpr int kKept = 8 * 1024 * 1024;
  mallopt(M_TRIM_THRESHOLD, kKept);
  mallopt(M_MMAP_THRESHOLD, kKept);
#endif
}

// The client of this process, whose thread has to end before the process exits: also by FATAL,
// which runs no destructors.
constinit net::ThreadedClient* client_of_process = nullptr;

extern "C" void EndClientThread(int, Datum) {
  if (client_of_process != nullptr) client_of_process->EndThread();
}

}  // namespace

Sender::Sender(pg::DatabaseSlot* slot)
    : slot_(slot),
      random_(static_cast<unsigned>(GetCurrentTimestamp()) ^ static_cast<unsigned>(MyProcPid)),
      networks_(SettingText(pg::guc_allowed_networks)) {
  KeepFreedMemory();
  net::ClientOptions options;
  options.policy = AllowedNetworks();
  options.tls = tls_ = TlsSettings();
  std::string problem;
  client_ = net::ThreadedClient::Create(std::move(options), &problem);
  if (client_ == nullptr) {
    pg::Throw([&] {
      ereport(ERROR, (errcode(ERRCODE_SYSTEM_ERROR),
                      errmsg("alerting: could not start the webhook client: %s", problem.c_str())));
    });
  }
  // Each statement finds its few rows by an index, and its plan is made once, perhaps while the
  // tables are empty: a plan that reads or sorts whole tables would be kept while they grow.
  pg::Call([] {
    for (const char* setting : {"enable_seqscan", "enable_bitmapscan", "enable_sort",
                                "enable_incremental_sort", "enable_hashjoin", "enable_mergejoin"}) {
      SetConfigOption(setting, "off", PGC_SUSET, PGC_S_OVERRIDE);
    }
  });
  handover_ = pg::OpenHandover(slot_);
  // Sockets are descriptors that the server's file cache must leave room for. Of more than a third
  // of them it would not let the worker have another one to wait with (AcquireExternalFD).
  constexpr int kOfTheClient = 4, kLeft = 8;
  const int reserved = std::min(MostRequests() + kOfTheClient, max_safe_fds / 3 - kLeft);
  for (int i = 0; i < reserved; ++i) pg::Call([] { ReserveExternalFD(); });
  // After what may fail: no destructor runs for a sender that is not made.
  pg::Call([] { before_shmem_exit(EndClientThread, 0); });
  client_of_process = client_.get();
}

Sender::~Sender() { client_of_process = nullptr; }

void Sender::Load() { look_ = true; }

// The server needs descriptors for its files, too.
int Sender::MostRequests() {
  return std::min(pg::guc_max_concurrent_deliveries, std::max(max_safe_fds / 2, 1));
}

// `wanted`: webhook.max_concurrent, 0 for none.
int Sender::MostPerWebhook(int wanted) {
  const int most = MostRequests();
  return wanted > 0 ? std::min(wanted, most) : std::clamp(most / 8, 1, kMostPerWebhook);
}

void Sender::ApplySettings() {
  if (net::TlsFiles tls = TlsSettings(); tls != tls_) {
    tls_ = tls;
    client_->SetTlsFiles(std::move(tls));
  }
  if (const int most = MostRequests(); std::exchange(most_requests_, most) != most) {
    client_->SetMaxConnections(most_requests_);
    for (auto& [id, queue] : queues_) queue->most = MostPerWebhook(queue->wanted);
    WakeAll();
  }
  std::string networks = SettingText(pg::guc_allowed_networks);
  if (networks == networks_) return;
  networks_ = std::move(networks);
  client_->SetPolicy(AllowedNetworks());
}

// What the tables say of times is read anew; a probe's time is written there.
void Sender::FollowClock() {
  const Micros by = clock_.PutBackBy(GetCurrentTimestamp());
  if (by == 0) return;
  PutBack({&not_before_, &look_not_before_, &next_look_, &next_cleanup_, &next_flush_check_,
           &oldest_outcome_at_},
          by);
  for (WebhookWrite& kind : webhook_writes_) PutBack({&kind.not_before}, by);
  for (StuckOutcome& stuck : stuck_) PutBack({&stuck.retry_at}, by);
  for (auto& [id, next_check] : next_failing_check_) PutBack({&next_check}, by);
  for (auto& [tag, attempt] : in_flight_) PutBack({&attempt.ticket.started_at}, by);
  for (Queues* queues : {&queues_, &idle_}) {
    for (auto& [id, queue] : *queues) queue->endpoint.PutBack(by);
  }
  WakeAll();
  look_ = true;
}

Micros Sender::Step() {
  FollowClock();
  ApplySettings();
  NoteFailuresHere();
  sleepers_.WakeDue(GetCurrentTimestamp());
  for (WebhookQueue* queue : sleepers_.awake()) JoinTurns(queue);
  Serve();
  Micros now = GetCurrentTimestamp();
  if (now >= not_before_ && HasWork(now)) RunTransaction();
  now = GetCurrentTimestamp();
  if (now >= next_cleanup_ && now >= not_before_) DeleteExpired(now);
  StartReady();
  client_->OnReady();
  CollectResponses();
  now = GetCurrentTimestamp();
  sleepers_.LetSleep([&](const WebhookQueue& queue) { return SleepsUntil(queue, now); });
  return NextWake(now);
}

// All that needs no transaction; also between the statements of one.
void Sender::Serve() {
  // What was handed over goes before anything else.
  TakeHanded();
  StartReady();
  client_->OnReady();
  CollectResponses();
  StartReady();
  client_->OnReady();
}

void Sender::HandOverRequests() {
  if (made_.empty()) return;
  ALERTING_FREEZE_POINT("sending");
  client_->Start(&made_);
}

void Sender::StartRequest(WebhookQueue* queue, Micros now) {
  PendingDelivery delivery = std::move(queue->ready.front());
  queue->ready.pop_front();
  sleepers_.Wake(queue);  // it may have slept in line
  if (delivery.unsendable) {
    FailUnsent(queue, delivery, "payload has no UTF-8 form", /*retry=*/false);
    return;
  }
  if (queue->bad_secret) {
    FailUnsent(queue, delivery, "webhook's secret is malformed", /*retry=*/true);
    return;
  }
  if (queue->bad_headers) {
    FailUnsent(queue, delivery, "webhook's headers are malformed", /*retry=*/true);
    return;
  }
  net::Request answered;
  if (!answered_.empty()) {
    answered = std::move(answered_.back());
    answered_.pop_back();
  }
  net::Request request = MakeWebhookRequest(queue->url, queue->keys, queue->headers, delivery.id,
                                            std::move(delivery.body), now, std::move(answered));
  // The body says what was so when the alert fired, on every try.
  if (delivery.over) request.headers.emplace_back("alerting-alert-status: RESOLVED");
  request.tag = next_tag_++;
  delivery.body.clear();
  queue->rate.Take(now);
  in_flight_.emplace(request.tag, Attempt{std::move(delivery), queue, queue->endpoint.Start(now)});
  made_.push_back(std::move(request));
}

void Sender::CollectResponses() {
  if (client_->failed()) {
    // What was under way is sent again by the sender that is started next.
    pg::Call([] {
      ereport(LOG, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("alerting: out of memory"),
                    errdetail("Requests that were under way are lost.")));
    });
    throw pg::WorkerExit();
  }
  for (net::Response& response : client_->TakeFinished()) {
    TakeResponse(response);
    if (answered_.size() >= kMostAnsweredKept) continue;
    response.request.body = std::string();  // which may be large, and would be replaced anyway
    answered_.push_back(std::move(response.request));
  }
}

void Sender::TakeResponse(const net::Response& response) {
  const auto found = in_flight_.find(response.tag);
  if (found == in_flight_.end()) return;
  const Attempt attempt = std::move(found->second);
  in_flight_.erase(found);
  WebhookQueue* queue = attempt.queue;
  const Micros now = GetCurrentTimestamp();
  const bool success = IsSuccess(response);
  const bool was_open = queue->endpoint.breaker().is_open();
  if (!response.failed_here) {
    queue->endpoint.Finish(attempt.ticket, success, now, !response.cut_off);
  }

  Outcome outcome = OutcomeOf(*queue, attempt.delivery, attempt.ticket.started_at);
  outcome.status_code = response.status;
  outcome.error = FailureText(response);
  outcome.duration_ms = static_cast<int>(response.timings.total + 0.5);
  outcome.phases = PhasesOf(response.timings);
  outcome.response = ResponseText(response.body);
  ALERTING_FREEZE_POINT("answered");
  if (success) {
    outcome.status = DeliveryStatus::kDelivered;
  } else if (response.failed_here) {
    outcome.counts = false;
    outcome.next_attempt_at = TakeFailureHere(queue, attempt, outcome.error);
  } else {
    DecideFailure(queue, attempt, response, &outcome);
  }
  const bool is_open = queue->endpoint.breaker().is_open();
  if (is_open != was_open) {
    pg::Call([&] {
      ereport(LOG,
              (is_open ? errmsg("alerting: webhook %s at %s failed %d times in a row: %s",
                                queue->id.c_str(), queue->origin.c_str(),
                                CircuitBreaker::kFailuresToOpen, outcome.error.c_str())
                       : errmsg("alerting: webhook %s at %s answers again", queue->id.c_str(),
                                queue->origin.c_str()),
               is_open ? errdetail("It is probed with single requests until it answers.") : 0));
    });
  }
  AddOutcome(queue, std::move(outcome));
  // It may have proven itself, or its next request may start.
  if (queue->turn == WebhookQueue::Turn::kWaiting && success) LeaveTurns(queue);
  JoinTurns(queue);
}

void Sender::DecideFailure(WebhookQueue* queue, const Attempt& attempt,
                           const net::Response& response, Outcome* outcome) {
  const PendingDelivery& delivery = attempt.delivery;
  const Micros now = GetCurrentTimestamp();
  outcome->status = DeliveryStatus::kFailed;
  if (response.status == kGone) {
    gone_.emplace_back(queue->id, queue->url);
    queue->version.clear();
    Deactivate(queue);
    return;
  }
  const double random = std::uniform_real_distribution<double>(0, 1)(random_);
  const std::optional<Micros> pause =
      PauseAfterFailure(queue->schedule, delivery.attempts + 1, random);
  // Behind an open breaker a delivery is not tried at its times, but it doesn't outlive them.
  if (attempt.ticket.probe) NoteFailedProbe(queue->id, outcome->error);
  if (!pause || (attempt.ticket.probe && IsOverdue(delivery, queue->schedule, now))) {
    parked_.insert(queue->id);
    return;
  }
  Micros wait = *pause;
  if (response.status == kTooManyRequests || response.status == kUnavailable) {
    wait = std::max(wait, ParseRetryAfter(response.retry_after, now).value_or(0));
  }
  outcome->status = DeliveryStatus::kPending;
  outcome->next_attempt_at = AddTime(now, wait);
}

void Sender::FailUnsent(WebhookQueue* queue, const PendingDelivery& delivery, const char* why,
                        bool retry) {
  const Micros now = GetCurrentTimestamp();
  Outcome outcome = OutcomeOf(*queue, delivery, now);
  outcome.error = why;
  outcome.status = DeliveryStatus::kFailed;
  const std::optional<Micros> pause =
      retry ? PauseAfterFailure(queue->schedule, delivery.attempts + 1, 0) : std::nullopt;
  if (pause) {
    outcome.status = DeliveryStatus::kPending;
    outcome.next_attempt_at = AddTime(now, *pause);
  }
  AddOutcome(queue, std::move(outcome));
}

void Sender::AddOutcome(WebhookQueue* queue, Outcome outcome) {
  if (outcomes_.empty()) oldest_outcome_at_ = GetCurrentTimestamp();
  ++queue->unrecorded;
  outcomes_.push_back(std::move(outcome));
}

Micros Sender::NextWake(Micros now) const {
  Micros transaction = std::min(next_look_, next_cleanup_);
  if (HasWork(now)) transaction = now;
  if (flush_check_due_) transaction = std::min(transaction, next_flush_check_);
  if (look_ || pg_atomic_read_u64(&slot_->sender_wakes) != wakes_seen_) {
    transaction = std::min(transaction, std::max(look_not_before_, now));
  }
  if (!outcomes_.empty()) {
    transaction = std::min(transaction, oldest_outcome_at_ + kLongestUnrecorded);
  }
  for (const StuckOutcome& stuck : stuck_) transaction = std::min(transaction, stuck.retry_at);
  transaction = std::min(transaction, sleepers_.next());
  for (const WebhookQueue* queue : sleepers_.awake()) {
    if (held_ || !queue->active) continue;
    // Of what is due already, a transaction was called for above, or a request has to end first.
    const Micros probe = queue->endpoint.NotBefore(now);
    Micros due = queue->next_due;
    if (probe != kNoTime && !queue->ready.empty()) due = kNoTime;
    due = std::max(due, probe);
    if (due > now) transaction = std::min(transaction, due);
    const Micros allowed = queue->rate.NextAt(now);
    if (allowed > now && !queue->ready.empty()) transaction = std::min(transaction, allowed);
  }
  const Micros next = std::max(transaction, not_before_);
  const std::optional<long> timeout = client_->TimeoutMs();
  return timeout ? std::min(next, AddTime(now, *timeout * kMillisecond)) : next;
}

}  // namespace alerting::ext

void alerting_sender_main(Datum database) {
  alerting::pg::RunWorker(alerting::pg::kSender, DatumGetObjectId(database),
                          [](alerting::pg::DatabaseSlot* slot) {
                            return std::make_unique<alerting::ext::Sender>(slot);
                          });
}
