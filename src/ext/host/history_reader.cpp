// Implements ext/host/history_reader.h.
#include "ext/host/history_reader.h"

#include <algorithm>
#include <functional>

#include "pg/transaction.h"

namespace alerting::ext {

namespace {

constexpr long kFetchRows = 5000;
constexpr size_t kBatchRows = 5000;
constexpr size_t kFewRows = 10'000;  // a slice with fewer is followed by a longer one
constexpr size_t kManyRows = 40'000;

// A column, function or table that is not there or may not be read.
bool IsAboutNames(const pg::Error& error) {
  return ERRCODE_TO_CATEGORY(error.sqlstate()) == ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION;
}

}  // namespace

SourceHistory::SourceHistory(HistoryInput input, const Engine& engine, const Adopt& adopt)
    : input_(std::move(input)), engine_(engine), adopt_(adopt), slice_after_(input_.range.after) {}

const HistoryRow* SourceHistory::Peek() {
  while (next_ == complete_) {
    if (done_) return nullptr;
    rows_.erase(rows_.begin(), rows_.begin() + static_cast<ptrdiff_t>(complete_));
    next_ = complete_ = 0;
    if (in_slices_) {
      ReadSlice();
    } else {
      Fetch();
    }
  }
  return &rows_[next_];
}

void SourceHistory::Add(std::span<const Sample> samples) {
  found_.resize(samples.size());
  engine_.FindAll(samples, found_);
  std::vector<std::string_view> strangers;
  for (size_t i = 0; adopt_ && i < samples.size(); ++i) {
    if (found_[i] == kNoContainer) strangers.push_back(samples[i].container);
  }
  if (!strangers.empty()) {
    adopt_(strangers);
    engine_.FindAll(samples, found_);
  }
  rows_.reserve(rows_.size() + samples.size());
  for (size_t i = 0; i < samples.size(); ++i) {
    if (found_[i] == kNoContainer) {
      ++unknown_;
      continue;
    }
    rows_.push_back({samples[i], found_[i]});
    rows_.back().sample.container = {};
  }
}

// In a savepoint of its own: a cursor opened in the one that a failing row rolls back would be gone
// with it, and could not be closed.
void SourceHistory::Open() {
  pg::Subtransaction savepoint;
  {
    const Source& source = *input_.source;
    const pg::UserScope user(source.owner(), true);
    const pg::MappingSettings settings(source.mapping.time_zone.c_str());
    const std::string list = SelectList(source.mapping, source.name + " m");
    const std::string sql = RangeQuery(source, input_.range, list) + RangeOrder(source);
    const pg::Params params = RangeParameters(source, input_.range);
    portal_ = pg::Call([&] {
      return SPI_cursor_open_with_args(
          nullptr, sql.c_str(), static_cast<int>(params.types().size()),
          const_cast<Oid*>(params.types().data()), const_cast<Datum*>(params.values().data()),
          params.nulls().data(), true, 0);
    });
  }
  savepoint.Release();
}

void SourceHistory::Fetch() {
  SPITupleTable* fetched = nullptr;
  fetched_.clear();
  try {
    if (portal_ == nullptr) Open();
    pg::Subtransaction savepoint;
    {
      const pg::UserScope user(input_.source->owner(), true);
      const pg::MappingSettings settings(input_.source->mapping.time_zone.c_str());
      pg::Call([&] {
        CHECK_FOR_INTERRUPTS();
        SPI_cursor_fetch(portal_, true, kFetchRows);
      });
      done_ = SPI_processed == 0;
      fetched = SPI_tuptable;
      SamplesFromResult(input_.source->mapping, &keys_, &fetched_);
    }
    savepoint.Release();
  } catch (pg::Error& error) {
    // In slices there is less to sort, which needs room.
    is_held_up_ = error.IsPassing() && !error.IsForLackOfRoom();
    if (is_held_up_) throw;
    // What cannot even be planned fails for every row.
    is_broken_ = portal_ == nullptr && IsAboutNames(error);
    if (is_broken_) throw;
    problem_ = error.what();
    in_slices_ = true;
    done_ = false;
  }
  if (done_ || in_slices_) {
    if (portal_ != nullptr) pg::Call([&] { SPI_cursor_close(portal_); });
    portal_ = nullptr;
  }
  if (in_slices_) {
    // What is kept has rows of its time still to come: they are read again.
    if (!rows_.empty()) slice_after_ = rows_.front().sample.at - 1;
    rows_.clear();
    return;
  }
  // Outside of the savepoint and of the owner's rights: it looks containers up.
  Add(fetched_);
  pg::Call([&] { SPI_freetuptable(fetched); });
  complete_ = rows_.size();
  if (done_) return;
  while (complete_ > 0 && rows_[complete_ - 1].sample.at == rows_.back().sample.at) --complete_;
  if (complete_ > 0) slice_after_ = rows_[complete_ - 1].sample.at;
}

void SourceHistory::ReadSlice() {
  ReadRange slice = input_.range;
  slice.after = slice_after_;
  if (HasPlainTime(*input_.source)) {
    // Before 2000 (the epoch of Micros) and in the future in one piece: little is expected there.
    const Micros end = slice_after_ == kNoTime ? 0
                       : slice_after_ >= GetCurrentTimestamp()
                           ? kNever
                           : AddTime(slice_after_, slice_length_);
    slice.until = std::min(slice.until, end);
  }
  try {
    failed_ += ReadSource(*input_.source, slice, [&](auto samples) { Add(samples); });
  } catch (const pg::Error& error) {
    is_held_up_ = error.IsPassing();
    is_broken_ = IsAboutNames(error);
    throw;
  }
  // Rows that were read before a failing one come twice, which changes nothing once they are
  // sorted.
  std::stable_sort(rows_.begin(), rows_.end(), [](const HistoryRow& a, const HistoryRow& b) {
    return a.sample.at < b.sample.at;
  });
  complete_ = rows_.size();
  if (rows_.size() < kFewRows) slice_length_ = std::min(2 * slice_length_, 10'000 * kHour);
  if (rows_.size() > kManyRows) slice_length_ = std::max(slice_length_ / 2, kSecond);
  slice_after_ = slice.until;
  done_ = slice.until >= input_.range.until;
}

HistoryReader::HistoryReader(std::vector<HistoryInput> inputs, const Engine& engine, Adopt adopt)
    : adopt_(std::move(adopt)) {
  sources_.reserve(inputs.size());
  for (HistoryInput& input : inputs) {
    waiting_.push_back(sources_.size());
    sources_.emplace_back(std::move(input), engine, adopt_);
  }
}

void HistoryReader::TakeTurn(size_t source) {
  const HistoryRow* row = sources_[source].Peek();
  if (row == nullptr) return;
  turns_.emplace_back(row->sample.at, source);
  std::push_heap(turns_.begin(), turns_.end(), std::greater<>());
}

bool HistoryReader::Next(std::vector<Sample>* samples, std::vector<ContainerRef>* containers) {
  samples->clear();
  containers->clear();
  for (;;) {
    for (const size_t source : waiting_) TakeTurn(source);
    waiting_.clear();
    if (turns_.empty()) break;
    const auto [at, source] = turns_.front();
    if (samples->size() >= kBatchRows && at != samples->back().at) break;
    std::pop_heap(turns_.begin(), turns_.end(), std::greater<>());
    turns_.pop_back();
    const HistoryRow* row = sources_[source].Peek();
    samples->push_back(row->sample);
    containers->push_back(row->container);
    sources_[source].Pop();
    waiting_.push_back(source);
  }
  return !samples->empty();
}

}  // namespace alerting::ext
