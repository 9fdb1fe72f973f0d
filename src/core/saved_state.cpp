// Layout, version 1: version byte, stream bits, flags; then readings, counter, memory parts, gains,
// states and what was judged besides, each as its Encode… function says. Times are differences to
// the first reading's time, which makes them a few bytes. Runs in the evaluator.
#include "core/saved_state.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <unordered_set>
#include <utility>

namespace alerting {
namespace {

constexpr uint8_t kVersion = 1;

// Bits of the flags byte.
constexpr uint8_t kHasPrevious = 1;
constexpr uint8_t kHasMemory = 2;
constexpr uint8_t kHasUsed = 4;
constexpr uint8_t kHasLimit = 8;
constexpr uint8_t kMemoryGiven = 16;
constexpr uint8_t kHasJudged = 32;

// A state's first byte: condition (2 bits), no_data (2 bits), phase (2 bits; a PENDING run that
// follows a transition, and so has a turned_at, is a phase of its own), and two flags.
constexpr unsigned kPendingAgain = 3;
static_assert(static_cast<unsigned>(Phase::kOk) < kPendingAgain);
constexpr uint8_t kBySilence = 64;
constexpr uint8_t kFromAlert = 128;

class Writer {
 public:
  Writer() { bytes_.reserve(128); }  // more than most take
  void Byte(uint8_t byte) { bytes_.push_back(static_cast<char>(byte)); }
  void Number(uint64_t number) {
    std::array<char, 10> bytes;
    size_t size = 0;
    for (; number >= 0x80; number >>= 7) bytes[size++] = static_cast<char>(number | 0x80);
    bytes[size++] = static_cast<char>(number);
    bytes_.append(bytes.data(), size);
  }
  // Relative to `origin`, modulo 2^64: no pair of times overflows.
  void Time(Micros time, Micros origin) {
    const uint64_t delta = static_cast<uint64_t>(time) - static_cast<uint64_t>(origin);
    Number((delta << 1) ^ (0 - (delta >> 63)));
  }
  // Most readings have few significant bits: leading bytes only, after their count.
  void Double(double value) {
    const auto bits = std::bit_cast<uint64_t>(value);
    const auto count = static_cast<size_t>(8 - std::countr_zero(bits) / 8);
    std::array<char, 9> bytes;
    bytes[0] = static_cast<char>(count);
    for (size_t i = 0; i < count; ++i) bytes[i + 1] = static_cast<char>(bits >> (56 - 8 * i));
    bytes_.append(bytes.data(), count + 1);
  }
  void Text(std::string_view text) {
    Number(text.size());
    bytes_.append(text);
  }
  std::string Take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

// After the first malformed item everything reads as zero and `ok` is false.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}
  bool ok() const { return ok_; }
  bool AtEnd() const { return ok_ && bytes_.empty(); }
  size_t left() const { return bytes_.size(); }
  void Require(bool condition) {
    if (!condition) Fail();
  }

  uint8_t Byte() {
    if (bytes_.empty()) return Fail();
    const auto byte = static_cast<uint8_t>(bytes_.front());
    bytes_.remove_prefix(1);
    return byte;
  }
  uint64_t Number() {
    uint64_t number = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const uint8_t byte = Byte();
      number |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) {
        Require(shift < 63 || byte < 2);
        return number;
      }
    }
    return Fail();
  }
  Micros Time(Micros origin) {
    const uint64_t number = Number();
    const uint64_t delta = (number >> 1) ^ (0 - (number & 1));
    return static_cast<Micros>(static_cast<uint64_t>(origin) + delta);
  }
  double Double() {
    const uint8_t count = Byte();
    if (count > 8) return Fail();
    uint64_t bits = 0;
    for (int i = 0; i < count; ++i) bits |= static_cast<uint64_t>(Byte()) << (56 - 8 * i);
    return std::bit_cast<double>(bits);
  }
  double Finite() {
    const double value = Double();
    Require(std::isfinite(value));
    return value;
  }
  // The length of a list whose items take at least `least` bytes each.
  size_t Count(size_t least) {
    const uint64_t count = Number();
    if (count > bytes_.size() / least) return Fail();
    return static_cast<size_t>(count);
  }
  std::string_view Text() {
    const size_t size = Count(1);
    const std::string_view text = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return text;
  }

 private:
  uint8_t Fail() {
    ok_ = false;
    bytes_ = {};
    return 0;
  }

  std::string_view bytes_;
  bool ok_ = true;
};

Micros OriginOf(const SavedContainer& saved) {
  for (int stream = 0; stream < kStreams; ++stream) {
    if ((saved.has & StreamBit(stream)) != 0) {
      return saved.readings[static_cast<size_t>(stream)].at;
    }
  }
  return 0;
}

void EncodeReadings(const SavedContainer& saved, Micros origin, Writer* out) {
  for (int stream = 0; stream < kStreams; ++stream) {
    if ((saved.has & StreamBit(stream)) == 0) continue;
    const SavedReading& reading = saved.readings[static_cast<size_t>(stream)];
    out->Time(reading.at, origin);
    out->Time(reading.arrival, reading.at);
    out->Number(reading.source);
    out->Double(reading.value);
  }
}

void DecodeReadings(Reader* in, Micros origin, SavedContainer* saved) {
  for (int stream = 0; stream < kStreams; ++stream) {
    if ((saved->has & StreamBit(stream)) == 0) continue;
    SavedReading& reading = saved->readings[static_cast<size_t>(stream)];
    reading.at = in->Time(origin);
    reading.arrival = in->Time(reading.at);
    const uint64_t source = in->Number();
    in->Require(source <= UINT32_MAX);
    reading.source = static_cast<uint32_t>(source);
    reading.value = in->Finite();
    if (stream == kRunningStream) in->Require(reading.value == 0.0 || reading.value == 1.0);
  }
}

void EncodeState(const SavedRuleState& state, Micros origin, Writer* out) {
  const bool has_turned = state.phase != Phase::kPending || state.turned_at != kNoTime;
  const unsigned phase = state.phase == Phase::kPending && has_turned
                             ? kPendingAgain
                             : static_cast<unsigned>(state.phase);
  auto bits = static_cast<uint8_t>(static_cast<unsigned>(state.condition) |
                                   static_cast<unsigned>(state.no_data) << 2 | phase << 4);
  if (state.by_silence) bits |= kBySilence;
  if (state.from_alert) bits |= kFromAlert;
  out->Byte(bits);
  out->Text(state.rule_id);
  out->Time(state.since, origin);
  if (has_turned) out->Time(state.turned_at, state.since);
  out->Double(state.peak);
  out->Double(state.threshold);
  out->Time(state.duration, 0);
}

void DecodeState(Reader* in, Micros origin, SavedRuleState* state) {
  const uint8_t bits = in->Byte();
  in->Require((bits >> 2 & 3) <= static_cast<uint8_t>(NoData::kFire));
  state->condition = static_cast<Condition>(bits & 3);
  state->no_data = static_cast<NoData>(bits >> 2 & 3);
  const unsigned phase = bits >> 4 & 3;
  state->phase = phase == kPendingAgain ? Phase::kPending : static_cast<Phase>(phase);
  state->by_silence = (bits & kBySilence) != 0;
  state->from_alert = (bits & kFromAlert) != 0;
  state->rule_id = in->Text();
  state->since = in->Time(origin);
  if (phase != static_cast<unsigned>(Phase::kPending)) state->turned_at = in->Time(state->since);
  state->peak = in->Double();
  state->threshold = in->Double();
  in->Require(!std::isnan(state->peak) && !std::isnan(state->threshold));
  state->duration = in->Time(0);
  in->Require(state->duration >= 0);
}

void EncodeJudged(const JudgedRows& judged, Micros origin, Writer* out) {
  out->Number(judged.ahead.size());
  Micros before = origin;
  for (const RowAhead& row : judged.ahead) {
    out->Time(row.at, std::exchange(before, row.at));
    out->Number(row.digest);
  }
  out->Number(judged.superseded.size());
  for (const Superseded& said : judged.superseded) {
    out->Byte(said.reading);
    out->Time(said.at, origin);
    out->Double(said.value);
  }
}

void DecodeJudged(Reader* in, Micros origin, JudgedRows* judged) {
  const size_t ahead = in->Count(2);
  Micros before = kNoTime;
  for (size_t i = 0; i < ahead && in->ok(); ++i) {
    const Micros at = in->Time(i == 0 ? origin : before);
    const uint64_t digest = in->Number();
    in->Require(at >= before && digest <= UINT32_MAX);
    judged->ahead.push_back({at, static_cast<uint32_t>(digest)});
    before = at;
  }
  const size_t superseded = in->Count(3);
  for (size_t i = 0; i < superseded && in->ok(); ++i) {
    const uint8_t reading = in->Byte();
    in->Require(std::has_single_bit(reading) && reading <= kAllReadings);
    const Micros at = in->Time(origin);
    judged->superseded.push_back({at, static_cast<Reading>(reading), in->Finite()});
  }
}

}  // namespace

std::string EncodeContainer(const SavedContainer& saved) {
  const Micros origin = OriginOf(saved);
  Writer out;
  out.Byte(kVersion);
  out.Byte(saved.has);
  uint8_t flags = 0;
  if (saved.has_previous) flags |= kHasPrevious;
  if (saved.has_memory) flags |= kHasMemory;
  if (saved.memory.has_used) flags |= kHasUsed;
  if (saved.memory.has_limit) flags |= kHasLimit;
  if (saved.memory_given) flags |= kMemoryGiven;
  const bool has_judged = !saved.judged.ahead.empty() || !saved.judged.superseded.empty();
  if (has_judged) flags |= kHasJudged;
  out.Byte(flags);
  out.Time(origin, 0);
  EncodeReadings(saved, origin, &out);
  if (saved.has_previous) out.Double(saved.previous);
  if (saved.memory.has_used) {
    out.Time(saved.memory.used_at, origin);
    out.Double(saved.memory.used);
  }
  if (saved.memory.has_limit) {
    out.Time(saved.memory.limit_at, origin);
    out.Double(saved.memory.limit);
  }
  out.Number(saved.gains.size());
  Micros before = origin;
  for (const Gain& gain : saved.gains) {
    out.Time(gain.at, before);
    out.Double(gain.restarts);
    before = gain.at;
  }
  out.Number(saved.states.size());
  for (const SavedRuleState& state : saved.states) EncodeState(state, origin, &out);
  if (has_judged) EncodeJudged(saved.judged, origin, &out);
  return out.Take();
}

bool DecodeContainer(std::string_view bytes, SavedContainer* saved) {
  *saved = SavedContainer{};
  Reader in(bytes);
  in.Require(in.Byte() == kVersion);
  saved->has = in.Byte();
  in.Require(saved->has < 1 << kStreams);
  const uint8_t flags = in.Byte();
  in.Require(flags < 64 && ((flags & kHasMemory) != 0 || (flags & (kHasUsed | kHasLimit)) == 0));
  const Micros origin = in.Time(0);
  DecodeReadings(&in, origin, saved);

  saved->has_previous = (flags & kHasPrevious) != 0;
  if (saved->has_previous) {
    in.Require((saved->has & StreamBit(kRestartsStream)) != 0);
    saved->previous = in.Finite();
  }
  saved->has_memory = (flags & kHasMemory) != 0;
  saved->memory_given = (flags & kMemoryGiven) != 0;
  in.Require(!saved->memory_given || (saved->has & StreamBit(kMemoryStream)) != 0);
  saved->memory.has_used = (flags & kHasUsed) != 0;
  saved->memory.has_limit = (flags & kHasLimit) != 0;
  if (saved->memory.has_used) {
    saved->memory.used_at = in.Time(origin);
    saved->memory.used = in.Finite();
  }
  if (saved->memory.has_limit) {
    saved->memory.limit_at = in.Time(origin);
    saved->memory.limit = in.Finite();
    in.Require(saved->memory.limit >= 0);
  }
  const size_t gains = in.Count(2);
  Micros before = origin;
  for (size_t i = 0; i < gains && in.ok(); ++i) {
    const Micros at = in.Time(before);
    in.Require(i == 0 || at > before);
    const double restarts = in.Double();
    in.Require(!std::isnan(restarts) && restarts != 0.0);
    saved->gains.push_back({at, restarts});
    before = at;
  }
  if (gains > 0) {
    in.Require(saved->has_previous && before <= saved->readings[kRestartsStream].at);
  }
  const size_t states = in.Count(6);
  std::unordered_set<std::string> seen;
  for (size_t i = 0; i < states && in.ok(); ++i) {
    DecodeState(&in, origin, &saved->states.emplace_back());
    in.Require(seen.insert(saved->states.back().rule_id).second);
  }
  if ((flags & kHasJudged) != 0) DecodeJudged(&in, origin, &saved->judged);
  return in.AtEnd();
}

}  // namespace alerting
