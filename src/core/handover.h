// Deliveries on their way from the evaluator's transaction straight to the sender: what lies in
// shared memory, and what the sender keeps of it until it knows how the transaction has ended.
// Pure.
//
// Invariant: the table is the truth, this is a short cut. A delivery that leaves the inbox as
// committed has been fetched by nobody, provided that the sender adds what has come to the inbox
// after each snapshot by which it fetches, and then forgets what it has fetched.
#ifndef ALERTING_CORE_HANDOVER_H_
#define ALERTING_CORE_HANDOVER_H_

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/time.h"

namespace alerting {

struct HandedDelivery {
  std::string id;
  std::string webhook_id;
  std::string webhook_version;  // of the webhook's row, as the evaluator has seen it
  std::string body;             // UTF-8
  Micros due = kNoTime;
  uint32_t block = 0;  // where its row lies
  uint16_t offset = 0;
  bool operator==(const HandedDelivery&) const = default;
};

// All deliveries that one transaction makes, as bytes for the ring.
std::string WriteHandover(uint32_t transaction, std::span<const HandedDelivery> deliveries);

enum class TransactionState : uint8_t { kInProgress, kCommitted, kRolledBack };

class HandoverInbox {
 public:
  // `bytes`: as many results of WriteHandover as there are. False: the rest is malformed.
  bool Add(std::string_view bytes);

  // Takes out what is committed, in the order in which it was written, and forgets what was rolled
  // back. state_of(transaction) is asked once for each transaction.
  template <typename StateOf>
  std::vector<HandedDelivery> TakeCommitted(const StateOf& state_of) {
    std::vector<HandedDelivery> committed;
    std::erase_if(batches_, [&](Batch& batch) {
      const TransactionState state = state_of(batch.transaction);
      if (state == TransactionState::kCommitted) {
        std::move(batch.deliveries.begin(), batch.deliveries.end(), std::back_inserter(committed));
      }
      return state != TransactionState::kInProgress;
    });
    return committed;
  }

  // Somebody else has taken this delivery.
  void Forget(std::string_view id);

  bool empty() const { return batches_.empty(); }

 private:
  struct Batch {
    uint32_t transaction = 0;
    std::vector<HandedDelivery> deliveries;
  };
  std::vector<Batch> batches_;
};

}  // namespace alerting

#endif  // ALERTING_CORE_HANDOVER_H_
