// The evaluator's outbox: transitions on their way from the engine to the tables. They are written
// in batches, a transaction each, with the saved states of their containers. Evaluator.
//
// Invariants: of one rule and container they are written in the engine's order; what cannot be
// written at the moment is put off with what follows it of the same rule and container, and delays
// nothing else; a saved state never runs ahead of the transitions saved with it.
#ifndef ALERTING_EXT_EVALUATOR_TRANSITION_WRITER_H_
#define ALERTING_EXT_EVALUATOR_TRANSITION_WRITER_H_

#include <deque>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "ext/evaluator/handover_writer.h"
#include "ext/evaluator/outgoing_transition.h"
#include "ext/evaluator/world.h"

namespace alerting::ext {

class TransitionWriter {
 public:
  explicit TransitionWriter(pg::DatabaseSlot* slot) : slot_(slot), handover_(slot) {}

  // Forgets all that waits; from now on transitions are this world's, which outlives that.
  void Begin(World* world);
  // One that waited when state was saved.
  void Add(OutgoingTransition outgoing) { outbox_.push_back(std::move(outgoing)); }
  // Takes over what the engine has decided since, and what has changed for its saved states.
  void Collect();
  // Writes what is due. Throws what is no error of the database; that puts transitions off.
  void Write(Micros now);

  size_t size() const { return outbox_.size(); }
  bool empty() const { return outbox_.empty(); }
  // What waits; it goes into the saved state.
  std::vector<const OutgoingTransition*> Waiting() const { return WaitingExcept({}); }
  // When some of it may be written; kNever: nothing waits.
  Micros NextDue(Micros now) const;
  // The clock was.
  void PutBackTimes(Micros by);
  // Why some could not be written, "" when all could.
  const std::string& problem() const { return problem_; }

  // Whether the host's tables seem to have changed under the statements that name them. It is said
  // once for a problem.
  bool TakeReload() { return std::exchange(reload_, false); }
  // What was found to be otherwise in the host's tables.
  std::vector<ContainerCorrection> TakeCorrections() { return std::exchange(corrections_, {}); }

 private:
  using Batch = std::vector<OutgoingTransition*>;

  void WriteBatch(Batch batch);
  void PutOff(const Batch& batch, const pg::Error& error);
  void TryBatch(const Batch& batch);
  std::vector<WriteResult> WriteRounds(const Batch& batch,
                                       std::vector<ContainerCorrection>* corrections);
  void Settle(const Batch& batch, const std::vector<WriteResult>& results);
  std::vector<const OutgoingTransition*> WaitingExcept(
      const std::unordered_set<const OutgoingTransition*>& written) const;

  pg::DatabaseSlot* const slot_;
  World* world_ = nullptr;
  std::deque<OutgoingTransition> outbox_;  // in the order of the engine's
  HandoverWriter handover_;
  std::vector<ContainerCorrection> corrections_;
  std::string problem_;
  bool reload_ = false;
  std::string reloaded_for_;  // the problem that has led to the last reload
  // Of the pass over the outbox that is under way:
  std::string told_;    // the problem that it has logged
  int lock_waits_ = 0;  // in vain
};

}  // namespace alerting::ext

#endif  // ALERTING_EXT_EVALUATOR_TRANSITION_WRITER_H_
