// Containers that are gone, and up to which time their tables' rows were theirs: another container
// under such a key has no past, though a restart reads those rows again. Runs in the evaluator.
//
// Each is saved where it was saved as a container, so that no moment knows neither.
#ifndef ALERTING_EXT_EVALUATOR_FORGOTTEN_CONTAINERS_H_
#define ALERTING_EXT_EVALUATOR_FORGOTTEN_CONTAINERS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "core/time.h"

namespace alerting::ext {

using RowsRead = std::vector<std::pair<uint32_t, Micros>>;  // by source, the time of its last row

class ForgottenContainers {
 public:
  // Returns the chunks that have changed.
  std::vector<uint32_t> Add(const std::string& key, const RowsRead& rows, uint32_t chunk);
  // Those for which none of their sources matters any more. Returns the chunks that have changed.
  std::vector<uint32_t> Drop(
      const std::function<bool(const std::string& key, uint32_t source, Micros read)>& matters);

  size_t size() const { return forgotten_.size(); }
  // Of one source: keys, and until when rows are not those of another container.
  std::unordered_map<std::string, Micros> RowsOf(uint32_t source) const;
  std::vector<std::pair<std::string_view, std::string>> EncodeChunk(uint32_t chunk) const;
  std::vector<uint32_t> Chunks() const;

 private:
  struct Forgotten {
    uint32_t chunk;
    RowsRead rows;
  };
  std::unordered_map<std::string, Forgotten> forgotten_;
  std::unordered_map<uint32_t, std::unordered_set<std::string>> of_chunk_;
};

// The saved form, which is none of a container's.
std::string EncodeRowsRead(const RowsRead& rows);
bool IsRowsRead(std::string_view state);
// False when the bytes are malformed.
bool DecodeRowsRead(std::string_view state, RowsRead* rows);

}  // namespace alerting::ext

#endif  // ALERTING_EXT_EVALUATOR_FORGOTTEN_CONTAINERS_H_
