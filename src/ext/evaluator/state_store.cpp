// Implements ext/evaluator/state_store.h.
#include "ext/evaluator/state_store.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "pg/row_updater.h"
#include "pg/transaction.h"

namespace alerting::ext {

namespace {

constexpr char kSave[] =
    "INSERT INTO alerting.series_state (chunk, state, saved_at)"
    " SELECT k.chunk, k.state, now() FROM unnest($1::int4[], $2::bytea[]) AS k (chunk, state)"
    " ON CONFLICT (chunk) DO UPDATE SET state = excluded.state, saved_at = excluded.saved_at";
constexpr std::array<pg::ColumnType, 2> kColumns = {
    {{"state", BYTEAOID}, {"saved_at", TIMESTAMPTZOID}}};
constexpr char kClear[] = "DELETE FROM alerting.series_state";
constexpr size_t kChunksPerStatement = 1000;
constexpr uint8_t kFormat = 1;

void PutNumber(uint64_t value, std::string* out) {
  out->append(reinterpret_cast<const char*>(&value), sizeof(value));
}
void PutDouble(double value, std::string* out) {
  out->append(reinterpret_cast<const char*>(&value), sizeof(value));
}
void PutText(std::string_view value, std::string* out) {
  PutNumber(value.size(), out);
  out->append(value);
}

// Reads what the functions above wrote; after a failure everything else fails too.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}
  bool ok() const { return ok_; }
  bool done() const { return bytes_.empty(); }
  uint64_t Number() { return Fixed<uint64_t>(); }
  double Double() { return Fixed<double>(); }
  uint8_t Byte() { return Fixed<uint8_t>(); }
  // Of an enumeration whose last value this is.
  template <typename Enum>
  Enum UpTo(Enum last) {
    const uint64_t value = Number();
    ok_ = ok_ && value <= static_cast<uint64_t>(last);
    return ok_ ? static_cast<Enum>(value) : Enum{};
  }
  std::string Text() {
    const uint64_t size = Number();
    if (!ok_ || size > bytes_.size()) {
      ok_ = false;
      return {};
    }
    std::string text(bytes_.substr(0, size));
    bytes_.remove_prefix(size);
    return text;
  }

 private:
  template <typename T>
  T Fixed() {
    T value{};
    if (!ok_ || bytes_.size() < sizeof(T)) {
      ok_ = false;
      return value;
    }
    memcpy(&value, bytes_.data(), sizeof(T));
    bytes_.remove_prefix(sizeof(T));
    return value;
  }
  std::string_view bytes_;
  bool ok_ = true;
};

void PutOutgoing(const OutgoingTransition& outgoing, std::string* out) {
  const Transition& transition = outgoing.transition;
  PutNumber(static_cast<uint64_t>(transition.kind), out);
  PutText(outgoing.alert_id, out);
  PutText(transition.rule_id, out);
  PutNumber(static_cast<uint64_t>(transition.started_at), out);
  PutNumber(static_cast<uint64_t>(transition.fired_at), out);
  PutNumber(static_cast<uint64_t>(transition.resolved_at), out);
  PutDouble(transition.value, out);
  PutNumber(static_cast<uint64_t>(transition.reason), out);
}

OutgoingTransition GetOutgoing(const std::string& key, Reader* reader) {
  OutgoingTransition outgoing;
  Transition& transition = outgoing.transition;
  transition.kind = reader->UpTo(Transition::Kind::kResolve);
  outgoing.alert_id = reader->Text();
  transition.rule_id = reader->Text();
  transition.started_at = static_cast<Micros>(reader->Number());
  transition.fired_at = static_cast<Micros>(reader->Number());
  transition.resolved_at = static_cast<Micros>(reader->Number());
  transition.value = reader->Double();
  transition.reason = reader->UpTo(ResolveReason::kContainerMoved);
  transition.container_key = key;
  return outgoing;
}

bool ReadChunk(const std::string& bytes, std::vector<SavedContainer>* containers) {
  Reader reader(bytes);
  if (reader.Byte() != kFormat) return false;
  while (reader.ok() && !reader.done()) {
    SavedContainer container;
    container.key = reader.Text();
    container.state = reader.Text();
    const uint64_t outgoing = reader.Number();
    for (uint64_t i = 0; i < outgoing && reader.ok(); ++i) {
      container.outgoing.push_back(GetOutgoing(container.key, &reader));
    }
    if (IsRowsRead(container.state)) {
      if (!DecodeRowsRead(std::exchange(container.state, {}), &container.forgotten)) return false;
    }
    if (reader.ok()) containers->push_back(std::move(container));
  }
  return reader.ok();
}

using OutgoingByKey = std::unordered_map<std::string_view, std::vector<const OutgoingTransition*>>;

std::string EncodeChunk(const Engine& engine, uint32_t chunk, const OutgoingByKey& outgoing) {
  std::string bytes(1, static_cast<char>(kFormat));
  const ContainerRef first = chunk * kContainersPerChunk;
  const ContainerRef end = std::min(first + kContainersPerChunk, engine.ref_limit());
  for (ContainerRef ref = first; ref < end; ++ref) {
    if (!engine.Has(ref)) continue;
    const std::string_view key = engine.Key(ref);
    PutText(key, &bytes);
    PutText(engine.Save(ref), &bytes);
    const auto waiting = outgoing.find(key);
    if (waiting == outgoing.end()) {
      PutNumber(0, &bytes);
      continue;
    }
    PutNumber(waiting->second.size(), &bytes);
    for (const OutgoingTransition* transition : waiting->second) PutOutgoing(*transition, &bytes);
  }
  return bytes;
}

std::string EncodeForgotten(const ForgottenContainers& forgotten, uint32_t chunk) {
  std::string bytes(1, static_cast<char>(kFormat));
  for (const auto& [key, rows] : forgotten.EncodeChunk(chunk)) {
    PutText(key, &bytes);
    PutText(rows, &bytes);
    PutNumber(0, &bytes);
  }
  return bytes;
}

// Chunks of containers that are gone stand below 0: -1, -2 and so on.
constexpr int32_t ForgottenNumber(uint32_t chunk) { return -1 - static_cast<int32_t>(chunk); }
constexpr uint32_t ForgottenChunk(int32_t number) { return static_cast<uint32_t>(-1 - number); }

}  // namespace

std::vector<SavedContainer> LoadSavedContainers(const Binding& binding) {
  const pg::UserScope user(binding.owner(), false);
  std::vector<SavedContainer> containers;
  const pg::Rows rows =
      pg::Execute("SELECT chunk, state FROM alerting.series_state ORDER BY chunk");
  for (uint64_t row = 0; row < rows.size(); ++row) {
    if (ReadChunk(rows.Bytes(row, 1), &containers)) continue;
    const int chunk = rows.Int(row, 0);
    pg::Call([&] {
      ereport(WARNING,
              (errcode(ERRCODE_DATA_CORRUPTED),
               errmsg("alerting: chunk %d of alerting.series_state is malformed", chunk),
               errdetail("Pending runs of up to %u containers start again.", kContainersPerChunk)));
    });
  }
  return containers;
}

std::optional<SavedContainer> LoadSavedContainer(const Binding& binding, const std::string& key) {
  // Chunks that hold the key as PutText writes it; the bytes may also stand for something else.
  std::string written;
  PutText(key, &written);
  const pg::UserScope user(binding.owner(), false);
  const pg::Rows rows = pg::Execute(
      "SELECT state FROM alerting.series_state WHERE pg_catalog.position(state, $1) > 0",
      pg::Params().Bytes(written));
  std::optional<SavedContainer> found;
  for (uint64_t row = 0; row < rows.size(); ++row) {
    std::vector<SavedContainer> containers;
    (void)ReadChunk(rows.Bytes(row, 0), &containers);
    for (SavedContainer& container : containers) {
      if (container.key != key) continue;
      if (!found) found.emplace().key = key;
      if (container.forgotten.empty()) {
        found->state = std::move(container.state);
        found->outgoing = std::move(container.outgoing);
      } else {
        found->forgotten.insert(found->forgotten.end(), container.forgotten.begin(),
                                container.forgotten.end());
      }
    }
  }
  return found;
}

StateStore::StateStore(const Binding& binding, const Engine& engine)
    : binding_(binding),
      engine_(engine),
      lookup_("chunk", "", {}),
      plan_(kColumns),
      save_(kSave),
      clear_(kClear) {}

void StateStore::MarkAllChanged() {
  rewrite_all_ = true;
  for (ContainerRef ref = 0; ref < engine_.ref_limit(); ref += kContainersPerChunk) {
    changed_.Insert(ref / kContainersPerChunk);
  }
  forgotten_.MarkAllChanged();
}

void StateStore::Forget(ContainerRef container) {
  MarkChanged(container);
  RowsRead rows;
  for (const Source& source : binding_.sources) {
    const Micros read = engine_.LastRead(container, source.readings());
    if (read != kNoTime) rows.emplace_back(source.mapping.id, read);
  }
  forgotten_.Add(std::string(engine_.Key(container)), rows);
}

void StateStore::Forget(const std::string& key, const RowsRead& rows) { forgotten_.Add(key, rows); }

// Those whose rows are too old by now to be read again, or whose successor has rows of its own.
void StateStore::DropForgotten() {
  const Micros now = GetCurrentTimestamp();
  forgotten_.Drop([&](const std::string& key, uint32_t number, Micros read) {
    const Source* source = binding_.FindSource(number);
    if (source == nullptr) return false;
    const Micros max_age = source->settings.max_age;
    if (max_age != kNever && read < SubtractTime(now, max_age)) return false;
    const ContainerRef container = engine_.Find(key);
    return container == kNoContainer || engine_.Key(container) != key ||
           engine_.JudgedUntil(container, source->readings()) == kNoTime;
  });
}

// The chunk of a single alert is there already, most of the time. False: only the statement can
// tell.
bool StateStore::SaveAgain(int32_t chunk, const std::string& state) {
  const Oid table = OwnTable("series_state");
  const auto rows = lookup_.Find(table, std::to_string(chunk));
  if (!rows || rows->size() != 1) return false;
  const pg::SettingsScope settings;  // for users' triggers
  pg::RowUpdater updater(&plan_, table);
  if (!updater.can_update()) return false;
  bool is_saved = updater.Fetch(rows->front().place);
  if (is_saved) {
    const Datum bytes = pg::Call([&] {
      const auto size = static_cast<int>(state.size());
      return PointerGetDatum(
          cstring_to_text_with_len(state.data(), size));  // a bytea looks the same
    });
    is_saved = updater.Update(std::array<pg::ColumnValue, kColumns.size()>{
        {{.datum = bytes}, {.datum = TimestampTzGetDatum(GetCurrentTransactionStartTimestamp())}}});
  }
  updater.Finish();
  return is_saved;
}

// `chunks`: ascending. With them what has changed about containers that are gone: in no state that
// is saved is one neither there nor gone.
size_t StateStore::SaveChunks(const std::vector<uint32_t>& chunks,
                              const std::vector<const OutgoingTransition*>& outgoing) {
  OutgoingByKey by_key;
  for (const OutgoingTransition* transition : outgoing) {
    // A storm leaves many, of which few belong to the chunks of a small transaction.
    const std::string& key = transition->transition.container_key;
    const ContainerRef container = engine_.Find(key);
    if (std::binary_search(chunks.begin(), chunks.end(), container / kContainersPerChunk)) {
      by_key[key].push_back(transition);
    }
  }
  std::vector<int32_t> all(chunks.begin(), chunks.end());
  for (const uint32_t chunk : forgotten_.changed().Numbers()) all.push_back(ForgottenNumber(chunk));
  const pg::UserScope user(binding_.owner(), false);
  size_t bytes = 0;
  auto next = all.begin();
  while (next != all.end()) {
    std::vector<int32_t> numbers;
    std::vector<std::string> states;
    for (; next != all.end() && numbers.size() < kChunksPerStatement; ++next) {
      numbers.push_back(*next);
      states.push_back(*next < 0 ? EncodeForgotten(forgotten_, ForgottenChunk(*next))
                                 : EncodeChunk(engine_, static_cast<uint32_t>(*next), by_key));
      bytes += states.back().size();
    }
    if (numbers.size() == 1 && SaveAgain(numbers[0], states[0])) continue;
    (void)save_.RunLists(numbers.size(), pg::Params().IntArray(numbers).BytesArray(states));
  }
  written_.insert(written_.end(), all.begin(), all.end());
  return bytes;
}

size_t StateStore::SaveContainers(const std::set<ContainerRef>& containers,
                                  const std::vector<const OutgoingTransition*>& outgoing) {
  if (!HasSameTables(binding_)) return 0;
  // Until everything has been rewritten once, chunks in the table may hold other containers than
  // those of the same number in memory.
  if (rewrite_all_) return SaveChanged(outgoing);
  std::vector<uint32_t> chunks;
  for (const ContainerRef container : containers) {
    const uint32_t chunk = container / kContainersPerChunk;
    if (chunks.empty() || chunks.back() != chunk) chunks.push_back(chunk);
  }
  return SaveChunks(chunks, outgoing);
}

size_t StateStore::SaveChanged(const std::vector<const OutgoingTransition*>& outgoing) {
  if (!HasSameTables(binding_)) return 0;
  DropForgotten();
  if (rewrite_all_) {
    MarkAllChanged();
    const pg::UserScope user(binding_.owner(), false);
    (void)clear_.Run();
  }
  return SaveChunks(changed_.Numbers(), outgoing);
}

void StateStore::Committed() {
  const size_t changed = changed_.size() + forgotten_.changed().size();
  if (rewrite_all_ && written_.size() >= changed) rewrite_all_ = false;
  for (const int32_t number : written_) {
    if (number < 0) {
      forgotten_.MarkSaved(ForgottenChunk(number));
    } else {
      changed_.Erase(static_cast<uint32_t>(number));
    }
  }
  written_.clear();
}

}  // namespace alerting::ext
