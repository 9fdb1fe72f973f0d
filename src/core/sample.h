// One decoded metric row, as capture sees it and the engine judges it.
#ifndef ALERTING_CORE_SAMPLE_H_
#define ALERTING_CORE_SAMPLE_H_

#include <cstdint>
#include <string_view>

#include "core/time.h"

namespace alerting {

// Bits of Sample::present. A value that is NaN or infinite is no reading even if its bit is set.
enum Reading : uint8_t {
  kCpu = 1 << 0,
  kMemory = 1 << 1,
  kMemoryUsed = 1 << 2,
  kMemoryLimit = 1 << 3,
  kRunning = 1 << 4,
  kRestarts = 1 << 5,
};

struct Sample {
  std::string_view container;  // canonical key bytes of the container
  Micros at = kNoTime;         // the sample's own time
  uint32_t source = 0;         // metric_source.id
  uint8_t present = 0;         // Reading bits
  bool running = false;
  double cpu = 0;           // percent
  double memory = 0;        // percent
  double memory_used = 0;   // any unit, the same as memory_limit's
  double memory_limit = 0;  // 0, negative or absurdly large: no limit
  double restarts = 0;      // counter
};

}  // namespace alerting

#endif  // ALERTING_CORE_SAMPLE_H_
