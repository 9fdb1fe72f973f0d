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

#include "core/forgotten_containers.h"
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
  // Of a former container of this key; where `state` is empty there is no other.
  RowsRead forgotten;
};

// All saved containers, in a transaction with SPI, as the tables' owner. Malformed chunks are
// skipped with a WARNING.
std::vector<SavedContainer> LoadSavedContainers(const Binding& binding);
// The one of this key, with what is known of a former one.
std::optional<SavedContainer> LoadSavedContainer(const Binding& binding, const std::string& key);

class StateStore {
 public:
  StateStore(const Binding& binding, const Engine& engine);

  // Notes that a container's saved form is out of date.
  void MarkChanged(ContainerRef container) { changed_.Insert(container / kContainersPerChunk); }
  void MarkAllChanged();
  // The container is gone, and about to be removed from the engine.
  void Forget(ContainerRef container);
  // One that was saved as gone, or was found to be.
  void Forget(const std::string& key, const RowsRead& rows);
  // Of a source: up to when rows with these keys are those of containers that are gone, where those
  // that have come since have none yet.
  std::unordered_map<std::string, Micros> ForgottenRows(uint32_t source) const {
    return forgotten_.RowsOf(source);
  }
  bool has_changes() const { return !changed_.empty() || !forgotten_.changed().empty(); }

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
  void DropForgotten();
  size_t SaveChunks(const std::vector<uint32_t>& chunks,
                    const std::vector<const OutgoingTransition*>& outgoing);

  const Binding& binding_;
  const Engine& engine_;
  NumberSet changed_;             // chunks of containers
  std::vector<int32_t> written_;  // by the current transaction, as they are numbered in the table
  bool rewrite_all_ = false;
  ForgottenContainers forgotten_;
  pg::KeyLookup lookup_;
  pg::TablePlan plan_;
  pg::Statement save_;
  pg::Statement clear_;
};

}  // namespace alerting::ext

#endif  // ALERTING_EXT_EVALUATOR_STATE_STORE_H_
