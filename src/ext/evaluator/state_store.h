// Keeps the engine's state in alerting.series_state, in chunks of neighbouring containers, and
// brings it back after a restart. Runs in the evaluator; explain() reads it too.
//
// Invariant: what a saved chunk says of a container never lies behind the alerts written in the
// same or an earlier transaction, and transitions that could not be written yet are saved with it.
#ifndef ALERTING_EXT_EVALUATOR_STATE_STORE_H_
#define ALERTING_EXT_EVALUATOR_STATE_STORE_H_

#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/number_set.h"
#include "ext/evaluator/outgoing_transition.h"
#include "ext/host/binding.h"
#include "pg/key_lookup.h"
#include "pg/spi.h"
#include "pg/table_plan.h"

namespace alerting::ext {

inline constexpr ContainerRef kContainersPerChunk = 32;

// A container as a chunk holds it.
struct SavedContainer {
  std::string key;
  std::string state;                         // Engine::Save
  std::vector<OutgoingTransition> outgoing;  // not written yet
};

// All saved containers, in a transaction with SPI, as the tables' owner. Malformed chunks are
// skipped with a WARNING.
std::vector<SavedContainer> LoadSavedContainers(const Binding& binding);
// The one of this key.
std::optional<SavedContainer> LoadSavedContainer(const Binding& binding, const std::string& key);

class StateStore {
 public:
  StateStore(const Binding& binding, const Engine& engine);

  // Notes that a container's saved form is out of date.
  void MarkChanged(ContainerRef container) { changed_.Insert(container / kContainersPerChunk); }
  void MarkAllChanged();
  bool has_changes() const { return !changed_.empty(); }

  // Writes the chunks of the given containers, or all that changed, in the current transaction.
  // `outgoing` are the transitions that are not written (by this transaction either).
  // Returns the bytes written. Committed() or Discard() follows.
  size_t SaveContainers(const std::set<ContainerRef>& containers,
                        const std::vector<const OutgoingTransition*>& outgoing);
  size_t SaveChanged(const std::vector<const OutgoingTransition*>& outgoing);
  void Committed();
  void Discard() { written_.clear(); }

 private:
  bool SaveAgain(int32_t chunk, const std::string& state);
  size_t SaveChunks(const std::vector<uint32_t>& chunks,
                    const std::vector<const OutgoingTransition*>& outgoing);

  const Binding& binding_;
  const Engine& engine_;
  NumberSet changed_;              // chunks
  std::vector<uint32_t> written_;  // by the current transaction
  bool rewrite_all_ = false;
  pg::KeyLookup lookup_;
  pg::TablePlan plan_;
  pg::Statement save_;
  pg::Statement clear_;
};

}  // namespace alerting::ext

#endif  // ALERTING_EXT_EVALUATOR_STATE_STORE_H_
