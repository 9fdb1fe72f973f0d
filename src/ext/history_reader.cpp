// Implements ext/history_reader.h.
#include "ext/history_reader.h"

#include <algorithm>

#include "pg/transaction.h"

namespace alerting::ext {

namespace {

constexpr long kFetchRows = 5000;
constexpr size_t kBatchRows = 5000;
constexpr size_t kFewRows = 10'000;  // a slice with fewer is followed by a longer one
constexpr size_t kManyRows = 40'000;

}  // namespace

SourceHistory::SourceHistory(const Source& source, const ReadRange& range, const Engine& engine)
    : source_(source), range_(range), engine_(engine), slice_after_(range.after) {}

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

void SourceHistory::Add(const Sample& sample) {
  const ContainerRef container = engine_.Find(sample.container);
  if (container == kNoContainer) return;
  rows_.push_back({sample, container});
  rows_.back().sample.container = {};
}

// In a savepoint of its own: a cursor opened in the one that a failing row rolls back would be gone
// with it, and could not be closed.
void SourceHistory::Open() {
  pg::Subtransaction savepoint;
  const pg::UserScope user(source_.owner, true);
  const std::string list = SelectList(source_.mapping, source_.name + " m");
  const std::string sql = RangeQuery(source_, range_, list) + " ORDER BY 2";
  const pg::Params params = RangeParameters(source_, range_);
  portal_ = pg::Call([&] {
    return SPI_cursor_open_with_args(nullptr, sql.c_str(), static_cast<int>(params.types().size()),
                                     const_cast<Oid*>(params.types().data()),
                                     const_cast<Datum*>(params.values().data()),
                                     params.nulls().data(), false, 0);
  });
  savepoint.Release();
}

void SourceHistory::Fetch() {
  const size_t kept = rows_.size();
  try {
    if (portal_ == nullptr) Open();
    pg::Subtransaction savepoint;
    {
      const pg::UserScope user(source_.owner, true);
      pg::Call([&] {
        CHECK_FOR_INTERRUPTS();
        SPI_cursor_fetch(portal_, true, kFetchRows);
      });
      done_ = SPI_processed == 0;
      TakeFetched();
    }
    savepoint.Release();
  } catch (pg::Error& error) {
    if (error.sqlstate() == ERRCODE_QUERY_CANCELED) throw;
    problem_ = error.what();
    in_slices_ = true;
    done_ = false;
    rows_.resize(kept);
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
  complete_ = rows_.size();
  if (done_) return;
  while (complete_ > 0 && rows_[complete_ - 1].sample.at == rows_.back().sample.at) --complete_;
  if (complete_ > 0) slice_after_ = rows_[complete_ - 1].sample.at;
}

// The rows that SPI holds.
void SourceHistory::TakeFetched() {
  SPITupleTable* fetched = SPI_tuptable;
  const uint64 count = SPI_processed;
  for (uint64 row = 0; row < count; ++row) {
    Sample sample;
    KeyBytes key;
    const bool readable = pg::Call([&] {
      Datum values[kSampleColumns];
      bool nulls[kSampleColumns];
      heap_deform_tuple(fetched->vals[row], fetched->tupdesc, values, nulls);
      return SampleFromDatums(source_.mapping.key_kind, source_.mapping.id, values, nulls, &key,
                              &sample);
    });
    if (readable) Add(sample);
  }
  pg::Call([&] { SPI_freetuptable(fetched); });
}

void SourceHistory::ReadSlice() {
  ReadRange slice = range_;
  slice.after = slice_after_;
  if (HasPlainTime(source_)) {
    // Before 2000 (the epoch of Micros) in one piece: nothing is expected there.
    const Micros end = slice_after_ == kNoTime ? 0 : AddTime(slice_after_, slice_length_);
    slice.until = std::min(range_.until, end);
  }
  failed_ += ReadSource(source_, slice, [&](std::span<const Sample> samples) {
    for (const Sample& sample : samples) Add(sample);
  });
  // Rows that were read before a failing one come twice, which changes nothing once they are
  // sorted.
  std::stable_sort(rows_.begin(), rows_.end(), [](const HistoryRow& a, const HistoryRow& b) {
    return a.sample.at < b.sample.at;
  });
  complete_ = rows_.size();
  if (rows_.size() < kFewRows) slice_length_ = std::min(2 * slice_length_, 10'000 * kHour);
  if (rows_.size() > kManyRows) slice_length_ = std::max(slice_length_ / 2, kSecond);
  slice_after_ = slice.until;
  done_ = slice.until >= range_.until;
}

HistoryReader::HistoryReader(const std::vector<Source>& sources, const ReadRange& range,
                             const Engine& engine) {
  sources_.reserve(sources.size());
  for (const Source& source : sources) sources_.emplace_back(source, range, engine);
}

bool HistoryReader::Next(std::vector<Sample>* samples, std::vector<ContainerRef>* containers) {
  samples->clear();
  containers->clear();
  for (;;) {
    SourceHistory* earliest = nullptr;
    const HistoryRow* row = nullptr;
    for (SourceHistory& source : sources_) {
      const HistoryRow* candidate = source.Peek();
      if (candidate == nullptr) continue;
      if (row == nullptr || candidate->sample.at < row->sample.at) {
        row = candidate;
        earliest = &source;
      }
    }
    if (row == nullptr) break;
    if (samples->size() >= kBatchRows && row->sample.at != samples->back().at) break;
    samples->push_back(row->sample);
    containers->push_back(row->container);
    earliest->Pop();
  }
  return !samples->empty();
}

}  // namespace alerting::ext
