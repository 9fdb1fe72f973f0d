// Reads samples back from the metrics tables: at start, after overruns and prepared transactions,
// for preview() and explain(). By the same mapping as capture, with the table owner's rights.
// Runs in a transaction with an SPI connection; evaluator and backends.
#ifndef ALERTING_EXT_HOST_SOURCE_READER_H_
#define ALERTING_EXT_HOST_SOURCE_READER_H_

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "ext/host/binding.h"
#include "pg/spi.h"

namespace alerting::ext {

// Rows to read: those with `at` in (after, until], of all containers or of those given.
struct ReadRange {
  Micros after = kNoTime;  // kNoTime: from the beginning
  Micros until = kNever;
  // Per container its own lower bound, for sources without max_age; empty: `after` holds for all.
  std::vector<std::string> containers;  // canonical keys
  std::vector<Micros> container_after;
  bool only_containers = false;  // read no rows of other containers
  // Read container by container, each from its own bound on: those above, and the other ones that
  // exist (keys as text) from `after` on.
  bool by_container = false;
  std::vector<std::string> other_containers;
};

// Called with batches in the order of `at`, and of one time in the order of writing where the
// source's place tells it; the views live until it returns. A batch may end between rows of one
// time: history_reader.h is for those who judge.
using SampleSink = std::function<void(std::span<const Sample>)>;

// Returns the number of rows that could not be read (their expression failed).
uint64_t ReadSource(const Source& source, const ReadRange& range, const SampleSink& sink);

// The parts of such a reading, for those who hold the cursor themselves: the query, its parameters.
// `what` is the select list over alias m.
std::string RangeQuery(const Source& source, const ReadRange& range, const std::string& what);
std::string RangeOrder(const Source& source);  // "ORDER BY ...", the second column being `at`
pg::Params RangeParameters(const Source& source, const ReadRange& range);
// Whether `at` is a plain column, so that a range of it can be read without evaluating anything.
bool HasPlainTime(const Source& source);

}  // namespace alerting::ext

#endif  // ALERTING_EXT_HOST_SOURCE_READER_H_
