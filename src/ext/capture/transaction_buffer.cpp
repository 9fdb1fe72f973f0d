// Implements ext/capture/transaction_buffer.h.
#include "ext/capture/transaction_buffer.h"

#include <algorithm>
#include <cstdlib>
#include <string>

#include "ext/capture/queue_writer.h"
#include "pg/freeze_point.h"
#include "pg/guc.h"
#include "pg/sample_queue.h"
#include "pg/shared_state.h"
#include "pg/transaction.h"

namespace alerting::ext {

namespace {

using pg::DatabaseSlot;

constexpr size_t kFirstBytes = 8 * 1024;
// A page that a process touches for the first time costs more than all that is written to it, so
// that buffers are kept: a small one for good, one of up to kMostKeptBytes until kSpareInARow
// transactions in a row have done with a small one.
constexpr size_t kKeptBytes = 1024 * 1024;
constexpr size_t kMostKeptBytes = 8 * 1024 * 1024;
constexpr int kSpareInARow = 100;
constexpr int kMaxLevels = 32;  // savepoint levels told apart

// Where the messages of a savepoint level begin.
struct Level {
  int nest_level;
  size_t start;
};

// Trivial, so that a longjmp may pass over any user of it.
struct Buffer {
  DatabaseSlot* slot;  // set while this transaction has something to tell
  // malloc'ed: it outlives transactions, growing a large block moves no bytes, and a failure to
  // grow is no error.
  char* data;
  size_t used;
  size_t capacity;
  size_t limit;
  size_t sample_end;      // up to where samples are written without asking; 0: ask first
  int spare;              // transactions in a row that would have done with less
  SampleContext context;  // of the next sample
  Level levels[kMaxLevels];
  int level_count;
  pg::ReplayMark marks[pg::kMaxReplays];  // rows that were not kept
  int mark_count;
  std::string_view notices;
  bool has_uncaptured;  // see NoteUncapturedRows
  bool tells_deletions;
  bool start_workers;
  bool forget_stop;
  int sender_wakes;   // calls of WakeSenderAtCommit
  int covered_wakes;  // of them
  uint64 sender_starts;
};

constinit Buffer buffer = {};

// Where the transaction that is ending counts among those that have left marks.
constinit DatabaseSlot* counted_in = nullptr;

void KeepOrFree() noexcept {
  if (buffer.capacity <= kKeptBytes) return;
  buffer.spare = buffer.used > kKeptBytes ? 0 : buffer.spare + 1;
  if (buffer.capacity <= kMostKeptBytes && buffer.spare < kSpareInARow) return;
  free(buffer.data);
  buffer.data = nullptr;
  buffer.capacity = 0;
  buffer.spare = 0;
}

void Reset() noexcept {
  KeepOrFree();
  buffer.slot = nullptr;
  buffer.used = 0;
  buffer.sample_end = 0;
  buffer.context = {};
  buffer.level_count = 0;
  buffer.mark_count = 0;
  buffer.notices = {};
  buffer.has_uncaptured = buffer.tells_deletions = false;
  buffer.start_workers = buffer.forget_stop = false;
  buffer.sender_wakes = buffer.covered_wakes = 0;
}

// Remembers that rows of a source from a time on have to be read from its table. More sources than
// marks: the last mark stands for all of them from the earliest time (source 0).
void Mark(uint32 source, Micros from) noexcept {
  buffer.sample_end = 0;
  for (int i = 0; i < buffer.mark_count; ++i) {
    if (buffer.marks[i].source == source || buffer.marks[i].source == 0) {
      buffer.marks[i].from = std::min(buffer.marks[i].from, from);
      return;
    }
  }
  if (buffer.mark_count < pg::kMaxReplays) {
    buffer.marks[buffer.mark_count++] = {source, from};
    return;
  }
  pg::ReplayMark* last = &buffer.marks[pg::kMaxReplays - 1];
  *last = {0, std::min(last->from, from)};
}

// Replaces what has been kept so far by marks. Control messages are few and stay.
void ReplaceSamplesByMarks() noexcept {
  MessageReader reader(std::string_view(buffer.data, buffer.used));
  Message message;
  size_t kept = 0;
  while (reader.Next(&message)) {
    if (message.kind == MessageKind::kSample) {
      Mark(message.sample.source, message.sample.at);
    } else {
      // Never longer than what stood before it, so this never overwrites unread bytes.
      kept += WriteMessage(message, &buffer.context, buffer.data + kept);
    }
  }
  buffer.used = kept;
  buffer.context = {};
  // Marks survive a savepoint's rollback (reading a table in vain changes nothing), and so do the
  // control messages that have been moved.
  for (int i = 0; i < buffer.level_count; ++i) buffer.levels[i].start = kept;
}

bool Grow(size_t needed) noexcept {
  size_t capacity = std::max(buffer.capacity * 2, kFirstBytes);
  while (capacity < needed) capacity *= 2;
  char* data = static_cast<char*>(realloc(buffer.data, capacity));
  if (data == nullptr) return false;
  buffer.data = data;
  buffer.capacity = capacity;
  return true;
}

// Opens an entry for the current savepoint level. False: too deep to tell levels apart, so that a
// sample may only be marked.
inline bool NoteLevel() noexcept {
  const int nest_level = GetCurrentTransactionNestLevel();
  if (buffer.level_count > 0) {
    Level* top = &buffer.levels[buffer.level_count - 1];
    if (top->nest_level >= nest_level) return true;
    if (buffer.level_count == kMaxLevels) return false;
  }
  buffer.levels[buffer.level_count++] = {nest_level, buffer.used};
  return true;
}

void WakeSender(DatabaseSlot* slot) noexcept {
  const bool is_same = pg_atomic_read_u64(&slot->sender_starts) == buffer.sender_starts;
  if (buffer.sender_wakes > buffer.covered_wakes || (buffer.covered_wakes > 0 && !is_same)) {
    pg::WakeWorker(slot, pg::kSender);
  } else if (buffer.covered_wakes > 0) {
    pg::WakeForHandover(slot);
  }
}

KeptMessages Kept() noexcept {
  return {std::string_view(buffer.data, buffer.used), buffer.tells_deletions};
}

// Gives the evaluator what has been kept, or marks in its stead. Caller holds slot->lock.
void HandOverMessages(DatabaseSlot* slot) noexcept {
  for (int i = 0; i < buffer.mark_count; ++i) {
    pg::AddReplayMark(slot, buffer.marks[i].source, buffer.marks[i].from);
  }
  bool are_left = buffer.mark_count > 0;
  if (buffer.used > 0 && !AppendToQueue(slot, Kept(), InvalidTransactionId)) {
    LeaveMarks(slot, buffer.data, buffer.used);
    are_left = true;
  }
  if (!buffer.notices.empty() && !are_left) {
    (void)AppendToQueue(slot, {buffer.notices, false}, InvalidTransactionId);
  }
  if (!are_left) return;
  pg_atomic_fetch_add_u32(&slot->marking, 1);
  counted_in = slot;
}

// An evaluator that starts from now on sees these rows in their tables.
void MarkUncaptured() noexcept {
  DatabaseSlot* slot = pg::FindSlot(MyDatabaseId);
  if (slot == nullptr || !pg::WorkerRuns(slot, pg::kEvaluator)) return;
  if (buffer.slot == nullptr) buffer.slot = slot;
  Mark(0, kNoTime);
}

// Where the transaction's end is told. nullptr: nowhere.
DatabaseSlot* SlotAtEnd() noexcept {
  // The launcher may have freed a slot that had nothing to run.
  return buffer.slot->database == MyDatabaseId ? buffer.slot : pg::ClaimSlot(MyDatabaseId);
}

// Right after COMMIT: the rows are visible and nothing may fail any more.
void HandOver() noexcept {
  DatabaseSlot* slot = SlotAtEnd();
  if (slot == nullptr) return;
  ALERTING_FREEZE_POINT("committed");
  if (buffer.used > 0 || buffer.mark_count > 0 || !buffer.notices.empty()) {
    LWLockAcquire(&slot->lock, LW_EXCLUSIVE);
    if (slot->database == MyDatabaseId) HandOverMessages(slot);
    LWLockRelease(&slot->lock);
    pg::WakeWorker(slot, pg::kEvaluator);
    if (counted_in != nullptr) ALERTING_FREEZE_POINT("marked");
  }
  // A worker that looked before this commit has found nothing: it shall look again.
  using pg::Wish;
  if (buffer.forget_stop) (void)pg::ChangeWish(slot, {Wish::kStopped}, Wish::kNothing);
  const bool changed =
      buffer.start_workers
          ? pg::ChangeWish(slot, {Wish::kNothing, Wish::kProbing, Wish::kOutdated}, Wish::kProbe)
          : slot->wish == Wish::kNothing && pg::ChangeWish(slot, {Wish::kNothing}, Wish::kProbe);
  if (buffer.start_workers) pg::CountRequest(slot);
  // A launcher that found nothing to run has left when the transaction took long.
  if (changed) (void)pg::StartLauncher();
  if (changed || buffer.start_workers) pg::WakeLauncher();
  WakeSender(slot);
}

// A prepared transaction is decided later, perhaps after a restart, with no word to us: the
// evaluator keeps its messages until then. What it cannot be given, it finds in the tables.
void HandOverPrepared() noexcept {
  if (buffer.used == 0 && buffer.mark_count == 0) return;
  DatabaseSlot* slot = SlotAtEnd();
  if (slot == nullptr) return;
  ALERTING_FREEZE_POINT("prepared");
  LWLockAcquire(&slot->lock, LW_EXCLUSIVE);
  if (slot->database == MyDatabaseId) {
    // All or nothing: of what the evaluator holds it reads no table.
    const bool is_held =
        buffer.mark_count == 0 && AppendToQueue(slot, Kept(), GetTopTransactionIdIfAny());
    if (!is_held) slot->prepared = true;
  }
  LWLockRelease(&slot->lock);
  pg::WakeWorker(slot, pg::kEvaluator);
}

extern "C" void OnTransactionEvent(XactEvent event, void* /*argument*/) {
  const bool ends_well = event == XACT_EVENT_COMMIT || event == XACT_EVENT_PREPARE;
  if (buffer.has_uncaptured && ends_well) MarkUncaptured();
  if (buffer.slot == nullptr && !buffer.has_uncaptured) return;
  switch (event) {
    case XACT_EVENT_COMMIT:
      if (buffer.slot != nullptr) HandOver();
      Reset();
      break;
    case XACT_EVENT_PREPARE:
      if (buffer.slot != nullptr) HandOverPrepared();
      Reset();
      break;
    case XACT_EVENT_ABORT:
      Reset();
      break;
    default:
      break;
  }
}

// Only now other processes have been told of what the transaction did to tables: until then a
// partition that it made or attached is missing from what they read.
extern "C" void OnResourceRelease(ResourceReleasePhase phase, bool /*is_commit*/, bool is_top_level,
                                  void* /*argument*/) {
  if (counted_in == nullptr || phase != RESOURCE_RELEASE_AFTER_LOCKS || !is_top_level) return;
  pg_atomic_fetch_sub_u32(&counted_in->marking, 1);
  counted_in = nullptr;
}

extern "C" void OnSubtransactionEvent(SubXactEvent event, SubTransactionId /*mine*/,
                                      SubTransactionId /*parent*/, void* /*argument*/) {
  buffer.sample_end = 0;
  if (buffer.level_count == 0) return;
  const int nest_level = GetCurrentTransactionNestLevel();
  Level* top = &buffer.levels[buffer.level_count - 1];
  if (top->nest_level < nest_level) return;
  if (event == SUBXACT_EVENT_ABORT_SUB) {
    buffer.used = top->start;
    buffer.context.known = false;
    --buffer.level_count;
  } else if (event == SUBXACT_EVENT_COMMIT_SUB) {
    top->nest_level = nest_level - 1;
    // Merged into the level below if that has an entry of its own.
    if (buffer.level_count > 1 &&
        buffer.levels[buffer.level_count - 2].nest_level >= nest_level - 1) {
      --buffer.level_count;
    }
  }
}

// Finds the shared memory, once per process. Where it cannot be had (used up, or laid out by
// another version of the library that the server still runs), the user's statement must go on.
bool SharedMemoryIsThere() {
  enum class Answer { kUnknown, kYes, kNo };
  static constinit Answer answer = Answer::kUnknown;
  if (answer != Answer::kUnknown) return answer == Answer::kYes;
  try {
    pg::Subtransaction savepoint;  // its rollback gives back the locks that an error leaves
    pg::Call([] { (void)pg::Root(); });
    savepoint.Release();
    answer = Answer::kYes;
  } catch (const pg::Error& error) {
    answer = Answer::kNo;
    const std::string problem = error.what();
    pg::Call([&] {
      ereport(WARNING,
              (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
               errmsg("alerting: what this backend changes is not told to the evaluator: %s",
                      problem.c_str()),
               errhint("Restart the server when a new version of alerting has been installed.")));
    });
  }
  return answer == Answer::kYes;
}

// Not inlined: what the rows of a row trigger ask for is mostly open.
__attribute__((noinline)) bool OpenSlot() {
  if (!SharedMemoryIsThere()) return false;
  DatabaseSlot* slot = pg::MySlot();
  if (slot == nullptr) return false;
  pg::EnsureWorkers(slot);
  pg::MapQueue(slot);
  buffer.limit = static_cast<size_t>(pg::guc_queue_size_kb) * 1024 / 2;
  buffer.slot = slot;
  return true;
}

// Until a savepoint begins or ends, or rows are marked.
__attribute__((noinline)) bool FindSampleRoom() noexcept {
  if (!NoteLevel() || buffer.mark_count > 0) return false;
  const size_t needed = buffer.used + kMaxSampleBytes;
  if (needed > buffer.limit || (needed > buffer.capacity && !Grow(needed))) return false;
  buffer.sample_end = std::min(buffer.capacity, buffer.limit);
  return true;
}

}  // namespace

void RegisterTransactionCallbacks() {
  RegisterXactCallback(OnTransactionEvent, nullptr);
  RegisterSubXactCallback(OnSubtransactionEvent, nullptr);
  RegisterResourceReleaseCallback(OnResourceRelease, nullptr);
}

bool OpenTransactionBuffer() { return buffer.slot != nullptr || OpenSlot(); }

void NoteUncapturedRows() { buffer.has_uncaptured = SharedMemoryIsThere(); }

void MarkSource(uint32_t source) noexcept {
  (void)NoteLevel();
  ReplaceSamplesByMarks();
  Mark(source, kNoTime);
}

void AddMessage(const Message& message) noexcept {
  const bool level_known = NoteLevel();
  const size_t size = MessageSize(message);
  const bool is_sample = message.kind == MessageKind::kSample;
  buffer.tells_deletions |= message.kind == MessageKind::kContainerDeleted;
  if (is_sample && !level_known) ReplaceSamplesByMarks();
  if (is_sample && (buffer.mark_count > 0 || !level_known)) {
    // Once over the limit, a transaction's further rows are marked at once.
    Mark(message.sample.source, message.sample.at);
    return;
  }
  const size_t needed = buffer.used + size;
  if ((is_sample && needed > buffer.limit) || (needed > buffer.capacity && !Grow(needed))) {
    ReplaceSamplesByMarks();
    if (is_sample) Mark(message.sample.source, message.sample.at);
    if (is_sample || buffer.used + size > buffer.capacity) {
      if (!is_sample) RaiseFlags(buffer.slot, message.kind);
      return;
    }
  }
  buffer.used += WriteMessage(message, &buffer.context, buffer.data + buffer.used);
}

void TellNoticesAtCommit(std::string_view messages) noexcept { buffer.notices = messages; }

void OpenSampleSpace(SampleSpace* space) noexcept {
  space->context = &buffer.context;
  space->next = space->end = nullptr;
  if (buffer.used + kMaxSampleBytes > buffer.sample_end && !FindSampleRoom()) return;
  space->next = buffer.data + buffer.used;
  space->end = buffer.data + buffer.sample_end;
}

void CloseSampleSpace(const SampleSpace& space) noexcept {
  if (space.next != nullptr) buffer.used = static_cast<size_t>(space.next - buffer.data);
}

void LeaveSourceToReplay(uint32_t source) noexcept {
  if (buffer.slot != nullptr) Mark(source, kNoTime);
}

bool IsSourceLeftToReplay(uint32_t source) noexcept {
  return std::any_of(buffer.marks, buffer.marks + buffer.mark_count,
                     [&](const pg::ReplayMark& mark) {
                       return (mark.source == source || mark.source == 0) && mark.from == kNoTime;
                     });
}

void CountSkipped(uint64_t rows) noexcept {
  if (buffer.slot != nullptr && rows > 0) {
    pg_atomic_fetch_add_u64(&buffer.slot->skipped, static_cast<int64>(rows));
  }
}

void StartWorkersAtCommit() {
  if (!OpenTransactionBuffer()) return;
  buffer.start_workers = true;
  if (buffer.slot->wish == pg::Wish::kOutdated && !RecoveryInProgress()) {
    pg::Call([] { (void)pg::EnsureLauncher(); });
  }
}

void ForgetStopAtCommit() {
  if (OpenTransactionBuffer()) buffer.forget_stop = true;
}

void WakeSenderAtCommit() {
  if (OpenTransactionBuffer()) ++buffer.sender_wakes;
}

void CoverSenderWakes(int wakes, uint64_t sender_starts) {
  if (!OpenTransactionBuffer()) return;
  buffer.covered_wakes = wakes;
  buffer.sender_starts = sender_starts;
}

}  // namespace alerting::ext
