// What stands before the messages of each transaction in the queue.
#ifndef ALERTING_CORE_CHUNK_H_
#define ALERTING_CORE_CHUNK_H_

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "core/byte_ring.h"
#include "core/time.h"

namespace alerting {

struct ChunkHeader {
  uint32_t bytes = 0;         // of the messages that follow
  uint32_t prepared_xid = 0;  // of a prepared transaction, which is yet to be decided, else 0
  Micros committed_at = 0;    // wall-clock time of the commit, or of PREPARE TRANSACTION
};

// Splits the first chunk off `bytes`. False when none is whole.
inline bool NextChunk(std::string_view* bytes, ChunkHeader* header, std::string_view* messages) {
  if (bytes->size() < sizeof(ChunkHeader)) return false;
  std::memcpy(header, bytes->data(), sizeof(ChunkHeader));
  bytes->remove_prefix(sizeof(ChunkHeader));
  if (header->bytes > bytes->size()) return false;
  *messages = bytes->substr(0, header->bytes);
  bytes->remove_prefix(header->bytes);
  return true;
}

// Takes whole chunks from the queue until `out` has some `enough` bytes, at least one if any waits:
// a backlog is taken in parts that fit into the CPU's caches, and needs no memory of its size.
inline void DrainChunks(ByteRing* ring, size_t enough, std::string* out) {
  const size_t waiting = ring->size();
  size_t bytes = 0;
  while (bytes < waiting && bytes < enough) {
    ChunkHeader header;
    ring->Peek(bytes, &header, sizeof(header));
    bytes += sizeof(header) + header.bytes;
  }
  ring->Drain(out, bytes);
}

}  // namespace alerting

#endif  // ALERTING_CORE_CHUNK_H_
