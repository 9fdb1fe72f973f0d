// Containers that are gone, and up to which time their tables' rows were theirs: another container
// under such a key has no past, though a restart reads those rows again. Used by the evaluator.
//
// They are saved in chunks of their own, each with few of them, so that what is written with an
// alert does not grow by all that have gone from its container's place.
#ifndef ALERTING_CORE_FORGOTTEN_CONTAINERS_H_
#define ALERTING_CORE_FORGOTTEN_CONTAINERS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "core/number_set.h"
#include "core/time.h"

namespace alerting {

using RowsRead = std::vector<std::pair<uint32_t, Micros>>;  // by source, the time of its last row

class ForgottenContainers {
 public:
  void Add(const std::string& key, const RowsRead& rows);
  // Those for which none of their sources matters any more.
  void Drop(
      const std::function<bool(const std::string& key, uint32_t source, Micros read)>& matters);

  size_t size() const { return forgotten_.size(); }
  // Of one source: keys, and until when rows are not those of another container.
  std::unordered_map<std::string, Micros> RowsOf(uint32_t source) const;
  std::vector<std::pair<std::string_view, std::string>> EncodeChunk(uint32_t chunk) const;

  // Chunks whose saved form is out of date.
  const NumberSet& changed() const { return changed_; }
  void MarkAllChanged();
  void MarkSaved(uint32_t chunk) { changed_.Erase(chunk); }

 private:
  struct Forgotten {
    uint32_t chunk;
    RowsRead rows;
  };
  uint32_t ChunkWithRoom();
  void Leave(uint32_t chunk, const std::string& key);

  std::unordered_map<std::string, Forgotten> forgotten_;
  std::vector<std::unordered_set<std::string>> of_chunk_;
  uint32_t first_room_ = 0;  // no chunk before it has any
  NumberSet changed_;
};

// The saved form, which is none of a container's.
std::string EncodeRowsRead(const RowsRead& rows);
bool IsRowsRead(std::string_view state);
// False when the bytes are malformed.
bool DecodeRowsRead(std::string_view state, RowsRead* rows);

}  // namespace alerting

#endif  // ALERTING_CORE_FORGOTTEN_CONTAINERS_H_
