// Reads the stored rows of all metric sources as one stream in order of time, in bounded memory,
// for preview(). Any backend, in a transaction with an SPI connection.
//
// Invariant: all rows of one time leave in the same batch, so that what one container said at one
// time in several rows or tables is judged together, as in the evaluator.
#ifndef ALERTING_EXT_HISTORY_READER_H_
#define ALERTING_EXT_HISTORY_READER_H_

#include <string>
#include <vector>

#include "core/engine.h"
#include "ext/source_reader.h"

namespace alerting::ext {

// A row whose container the engine knows. The sample's `container` views nothing any more.
struct HistoryRow {
  Sample sample;
  ContainerRef container;
};

// The rows of one source: by a cursor, and where a row's expression fails, from there on in slices
// of time, of which only those with such rows are evaluated row by row.
class SourceHistory {
 public:
  SourceHistory(const Source& source, const ReadRange& range, const Engine& engine);

  // The next row, nullptr at the end.
  const HistoryRow* Peek();
  void Pop() { ++next_; }

  const Source& source() const { return source_; }
  // Rows that could not be read, and why the first of them could not.
  uint64_t failed() const { return failed_; }
  const std::string& problem() const { return problem_; }

 private:
  void Open();
  void Fetch();
  void TakeFetched();
  void ReadSlice();
  void Add(const Sample& sample);

  const Source& source_;
  const ReadRange range_;
  const Engine& engine_;

  std::vector<HistoryRow> rows_;
  size_t next_ = 0;      // the first row not taken yet
  size_t complete_ = 0;  // rows before this one are handed out; later ones share a time with more
  bool done_ = false;

  Portal portal_ = nullptr;
  bool in_slices_ = false;
  Micros slice_after_ = kNoTime;
  Micros slice_length_ = kHour;
  uint64_t failed_ = 0;
  std::string problem_;
};

class HistoryReader {
 public:
  // Refers to `sources` and `engine`; rows of containers that the engine does not know are left
  // out.
  HistoryReader(const std::vector<Source>& sources, const ReadRange& range, const Engine& engine);

  // Replaces the contents by the next rows. False at the end.
  bool Next(std::vector<Sample>* samples, std::vector<ContainerRef>* containers);

  const std::vector<SourceHistory>& sources() const { return sources_; }

 private:
  std::vector<SourceHistory> sources_;
};

}  // namespace alerting::ext

#endif  // ALERTING_EXT_HISTORY_READER_H_
