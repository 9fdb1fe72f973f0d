// Where the chunks of prepared transactions come among the others once it is known that they have
// been committed, but not when. Used by the evaluator; pure.
//
// Each comes right before the first chunk that has a row of the same container and time, or of a
// later time, so that neither its rows nor those that were committed before it are late. It never
// comes before where it was added, nor do two change their order.
#ifndef ALERTING_CORE_CHUNK_ORDER_H_
#define ALERTING_CORE_CHUNK_ORDER_H_

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/chunk.h"

namespace alerting {

class ChunkOrder {
 public:
  // How a container's key is written among those that mean the same.
  using Spelling = std::function<std::string_view(std::string_view)>;

  // `arrival`: of what nothing else comes before.
  ChunkOrder(Micros arrival, Spelling spelling)
      : last_at_(arrival), spelling_(std::move(spelling)) {}

  // In the order of the queue. `messages` stay where they are until Take().
  void Add(const ChunkHeader& header, std::string_view messages);
  void AddPrepared(Micros prepared_at, std::string_view messages);
  std::string Take();

 private:
  // Rows of one container in a chunk that waits for its place.
  struct Rows {
    size_t chunk;
    Micros from;
  };
  size_t CountOvertaken(std::string_view messages);
  void PlaceWaiting(size_t end, Micros at);

  Micros last_at_;
  Spelling spelling_;
  std::vector<std::string_view> waiting_;
  size_t placed_ = 0;  // of waiting_
  std::unordered_map<std::string_view, std::vector<Rows>> rows_;
  std::string chunks_;
};

}  // namespace alerting

#endif  // ALERTING_CORE_CHUNK_ORDER_H_
