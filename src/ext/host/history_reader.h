// Reads the stored rows of several metric sources as one stream in order of time, in bounded
// memory: for the evaluator's replay and for preview(). In a transaction with an SPI connection.
//
// Invariants: all rows of one time leave in the same batch, so that what one container said at one
// time in several rows or tables is judged together, as when it was written. All tables are read by
// the active snapshot: of what is written meanwhile, nothing is seen without what came before it.
#ifndef ALERTING_EXT_HOST_HISTORY_READER_H_
#define ALERTING_EXT_HOST_HISTORY_READER_H_

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/engine.h"
#include "ext/host/source_reader.h"

namespace alerting::ext {

struct HistoryInput {
  const Source* source;
  ReadRange range;
};

// Called with containers that the engine does not know, before their rows are taken; it may add
// them.
using Adopt = std::function<void(const std::vector<std::string_view>& keys)>;

// A row whose container the engine knows. The sample's `container` views nothing any more.
struct HistoryRow {
  Sample sample;
  ContainerRef container;
};

// The rows of one source: by a cursor, and where a row's expression fails, from there on in slices
// of time, of which only those with such rows are evaluated row by row.
class SourceHistory {
 public:
  SourceHistory(HistoryInput input, const Engine& engine, const Adopt& adopt);

  // The next row, nullptr at the end.
  const HistoryRow* Peek();
  void Pop() { ++next_; }

  const Source& source() const { return *input_.source; }
  // Rows that could not be read, and why the first of them could not.
  uint64_t failed() const { return failed_; }
  const std::string& problem() const { return problem_; }
  // Rows left out because nobody knows their container.
  uint64_t unknown() const { return unknown_; }
  // The error that Peek() has thrown is that of the mapping or of the table as a whole.
  bool is_broken() const { return is_broken_; }
  // It is trouble of the moment, that of somebody's lock on a table that the mapping reads, say.
  bool is_held_up() const { return is_held_up_; }

 private:
  void Open();
  void Fetch();
  void ReadSlice();
  void Add(std::span<const Sample> samples);

  const HistoryInput input_;
  const Engine& engine_;
  const Adopt& adopt_;

  std::vector<HistoryRow> rows_;
  size_t next_ = 0;      // the first row not taken yet
  size_t complete_ = 0;  // rows before this one are handed out; later ones share a time with more
  bool done_ = false;

  Portal portal_ = nullptr;
  std::vector<Sample> fetched_;      // from the cursor, with the bytes of their keys
  std::vector<ContainerRef> found_;  // of the samples that are added
  std::vector<KeyBytes> keys_;
  bool in_slices_ = false;
  Micros slice_after_ = kNoTime;
  Micros slice_length_ = kHour;
  uint64_t failed_ = 0;
  uint64_t unknown_ = 0;
  bool is_broken_ = false;
  bool is_held_up_ = false;
  std::string problem_;
};

class HistoryReader {
 public:
  // Refers to the inputs' sources and to `engine`. Without `adopt`, rows of containers that the
  // engine does not know are left out.
  HistoryReader(std::vector<HistoryInput> inputs, const Engine& engine, Adopt adopt = {});
  HistoryReader(const HistoryReader&) = delete;
  HistoryReader& operator=(const HistoryReader&) = delete;

  // Replaces the contents by the next rows. False at the end.
  bool Next(std::vector<Sample>* samples, std::vector<ContainerRef>* containers);

  const std::vector<SourceHistory>& sources() const { return sources_; }

 private:
  // The next row's time of a source, by its number.
  using Turn = std::pair<Micros, size_t>;
  void TakeTurn(size_t source);

  const Adopt adopt_;
  std::vector<SourceHistory> sources_;
  std::vector<Turn> turns_;      // a heap, the earliest at the front
  std::vector<size_t> waiting_;  // sources that are to look for their next row
};

}  // namespace alerting::ext

#endif  // ALERTING_EXT_HOST_HISTORY_READER_H_
