// The evaluator: one background worker per database that owns the engine, feeds it from the queue
// and the metrics tables, and writes its transitions.
#ifndef ALERTING_EXT_EVALUATOR_EVALUATOR_H_
#define ALERTING_EXT_EVALUATOR_EVALUATOR_H_

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "core/byte_ring.h"
#include "core/clock_steps.h"
#include "ext/evaluator/transition_writer.h"
#include "ext/evaluator/world.h"
#include "ext/host/source_reader.h"
#include "pg/worker.h"

namespace alerting::ext {

class Evaluator final : public pg::WorkerTask {
 public:
  explicit Evaluator(pg::DatabaseSlot* slot);
  void Load() override;
  Micros Step() override;
  void BeforeStop() override;
  const char* Problem() const override {
    return (problem_.empty() ? transitions_.problem() : problem_).c_str();
  }

 private:
  // evaluator.cpp
  void FollowClock(Micros now);
  void ApplyCorrections();
  void SaveState(Micros now, bool force);
  void Notify();
  void AnswerFlush(uint64_t ticket);
  void PublishCounters();

  // evaluator_input.cpp
  bool TakeInput(Micros now);
  std::vector<ContainerRef> FindContainers(std::string_view chunks);
  void JudgeChunks();
  bool LeaveToReplay(const Sample& sample);
  bool IsReadBack(const Sample& sample) const;
  void LeaveOutDeleted(const std::unordered_map<std::string_view, size_t>& deleted,
                       std::vector<Sample>* samples) const;
  std::string_view KnownKey(std::string_view key) const;
  void LookUpUnknown(const std::vector<std::string_view>& keys);
  void AddUnknown(const std::vector<std::string_view>& keys);
  void JudgeSamples(std::span<const Sample> samples, std::span<ContainerRef> containers,
                    Micros arrival);
  void CountUnknown(uint64_t rows);
  void WarnOfBackfill(const Sample& sample, Micros arrival);
  void ForgetContainers(const std::vector<std::string_view>& keys);
  void Remove(ContainerRef container);
  void ReloadRules();
  void RefreshContainers(const std::vector<std::string>& keys);
  void RefreshAllContainers();
  bool TakeMarks(Micros now);
  void CatchUp(Micros now);

  // evaluator_prepared.cpp
  struct HeldChunk;
  void SettlePrepared(Micros now);
  void Hold(HeldChunk chunk);
  void WatchPrepared(Micros now);
  bool HasOtherSources() const;
  Micros NextLookAtPrepared(Micros now) const;
  std::vector<TransactionId> ListPrepared() const;

  // evaluator_replay.cpp
  void Replay(Micros now);
  void ReplaySources(Micros now, const Source** failed, bool* is_held_up);
  size_t DrainBeforeReading(Micros now);
  void HoldUp(const Source& source, const pg::Error& error);
  ReadRange RangeToReplay(const Source& source, Micros from, Micros now) const;
  void WarnOfSource(const Source& source, const pg::Error& error);

  // evaluator_start.cpp
  // Which transactions wrote the rows of metric_source, by source; and that of host_binding, as 0.
  using Versions = std::unordered_map<uint32_t, uint32_t>;
  static Versions LoadVersions();
  std::optional<std::vector<uint32_t>> SourcesToRead(const Versions& former) const;
  bool MayKeepQueue();
  void JudgeQueue(const std::vector<uint32_t>& to_read);
  void NoteForgotten(std::string_view chunks);
  bool TakeForgotten();
  bool IsOtherBinding() const;
  void RestoreStates();
  void LeaveOutForgotten(std::vector<SavedContainer>* saved);
  void Forget(const SavedContainer& container);
  void RestoreAlerts(const std::unordered_set<std::string>& resolving);

  pg::DatabaseSlot* const slot_;
  ClockSteps clock_;

  // --- what is loaded: made whole, by Load() alone
  std::unique_ptr<World> world_;
  Versions versions_;  // of what world_ was made of
  // It is to be loaded anew, until that has succeeded: TakeInput() judges nothing meanwhile. What
  // stands below says what of the past then counts.
  bool reload_ = false;
  bool only_sources_ = false;  // metric_source has changed, perhaps nothing else
  bool forget_all_ = false;    // the containers are gone, their saved state counts for nothing
  // Hashes of the keys of containers that were deleted while nobody looked. One that is there again
  // is another container: it has no saved state.
  std::unordered_set<uint64_t> forgotten_;

  // --- input: the queue
  ByteRing* ring_ = nullptr;
  std::string drained_;      // chunks taken from the queue
  size_t judged_bytes_ = 0;  // of them; the rest is judged before anything newer
  // Sources, and up to where drained_ has rows of them that were read from their tables since.
  std::unordered_map<uint32_t, size_t> read_back_;
  // By the wall clock: all that was committed until then has been judged, and deadlines may pass.
  // It stands at the last commit taken from the queue as long as more waits there, so that nobody
  // is taken for silent whose next sample has come.
  Micros judged_until_ = kNoTime;
  std::unordered_set<uint32_t> warned_of_backfill_;
  EngineCounters published_;
  Micros refreshed_at_ = kNoTime;  // the containers' organizations, where an expression gives them
  bool samples_since_refresh_ = false;

  // --- input: prepared transactions
  // What they gave to the queue, until they are decided.
  struct HeldChunk {
    TransactionId xid;
    Micros prepared_at;
    std::string messages;
  };
  std::vector<HeldChunk> held_;
  bool has_unlisted_ = false;           // others were prepared that watched_ does not have yet
  std::vector<TransactionId> watched_;  // prepared: to be found in the tables once they commit

  // --- input: what is known to have been missed, until CatchUp() has made up for it
  bool rules_stale_ = false;
  bool containers_stale_ = false;
  std::vector<pg::ReplayMark> marks_;               // on their way to to_replay_
  std::unordered_map<uint32_t, Micros> to_replay_;  // sources, and from which time on
  Micros replay_at_ = kNoTime;                      // not before
  // Of these, sources that cannot be read at the moment: until when, and how often that has been
  // so.
  struct HeldUp {
    Micros until;
    int times;
  };
  std::unordered_map<uint32_t, HeldUp> held_up_;

  std::string problem_;  // why rows could not be read, "" when they were

  // --- output: alerts
  TransitionWriter transitions_;

  // --- output: state, and what users notify through us
  Micros state_saved_at_ = kNoTime;
  Micros save_interval_ = 0;
  std::vector<std::string> notices_;  // what is here twice is notified once
};

}  // namespace alerting::ext

#endif  // ALERTING_EXT_EVALUATOR_EVALUATOR_H_
