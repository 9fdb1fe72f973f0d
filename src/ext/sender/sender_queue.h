// What the sender remembers of one webhook between two looks at the tables. Sender's memory only: a
// restart forgets it, and nothing but connections and the breaker's patience is lost.
#ifndef ALERTING_EXT_SENDER_SENDER_QUEUE_H_
#define ALERTING_EXT_SENDER_SENDER_QUEUE_H_

#include <algorithm>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "core/endpoint.h"
#include "core/retry_schedule.h"
#include "core/token_bucket.h"
#include "ext/sender/delivery_store.h"

namespace alerting::ext {

struct WebhookQueue {
  std::string id;
  std::string
      version;  // of the webhook's row, from which what follows was read; "": not to be used
  std::string organization;
  std::string url;
  std::string origin;             // all of the url that may appear in a log
  std::vector<std::string> keys;  // SecretKeys; none: nothing is signed
  bool bad_secret = false;
  std::vector<std::string> headers;  // "name: value", of the webhook's own
  bool bad_headers = false;
  std::vector<Micros> schedule;
  Endpoint endpoint;
  TokenBucket rate;
  int wanted = 0;                     // webhook.max_concurrent, 0 for none
  int most = 1;                       // requests at a time
  uint64_t fetched = 0;               // number of the last fetch that asked for it
  Micros noted_probe = kNoTime;       // webhook.probe_at as written last
  std::deque<PendingDelivery> ready;  // fetched, not yet sent
  size_t unrecorded = 0;              // outcomes that wait for their transaction
  bool active = true;                 // as of the last look
  Micros next_due = kNever;           // of what is not claimed
  Micros from = kNoTime;              // with from_sequence: see FetchRequest
  int64_t from_sequence = 0;
  bool blocked = false;  // something due waits for a FIRING that is claimed here
  int skip = 0;          // so many of those are known to stand first
  // Where it stands in line, if anywhere: see Sender::turns_.
  enum class Turn { kNone, kNext, kWaiting };
  Turn turn = Turn::kNone;

  // Whether a delivery stands before the place where the next fetch starts; of one whose sequence
  // is unknown, only if its time says so.
  bool IsBehind(Micros due, int64_t sequence) const {
    return due < from || (due == from && sequence != 0 && sequence < from_sequence);
  }
  // A delivery of it has become due at this time.
  void WaitFor(Micros due) {
    next_due = std::min(next_due, due);
    if (due < from) {
      from = due;
      from_sequence = 0;
    }
  }
  // How many deliveries to have at hand: what may start now, and as much again so that connections
  // don't idle while a transaction runs.
  int Target(Micros now) const {
    const int room = endpoint.Room(now, most);
    const int window = room + endpoint.in_flight();
    return window <= 1 ? room : 2 * window - endpoint.in_flight();
  }
  // Not for a single one while half of them are there: transactions are for many.
  bool NeedsFetch(Micros now) const {
    if (!active || next_due > now) return false;
    const int target = Target(now);
    return static_cast<int>(ready.size()) < (target + 1) / 2;
  }
  // Nothing in it is worth remembering.
  bool IsForgettable(Micros now) const {
    return ready.empty() && unrecorded == 0 && endpoint.in_flight() == 0 && next_due == kNever &&
           !blocked && !endpoint.breaker().is_open() && noted_probe == kNoTime && rate.IsFull(now);
  }
};

}  // namespace alerting::ext

#endif  // ALERTING_EXT_SENDER_SENDER_QUEUE_H_
