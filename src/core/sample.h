// One decoded metric row, as capture sees it and the engine judges it.
#ifndef ALERTING_CORE_SAMPLE_H_
#define ALERTING_CORE_SAMPLE_H_

#include <array>
#include <cstdint>
#include <string_view>

#include "core/time.h"

namespace alerting {

// A limit of memory as it was said; 0: that is no limit.
constexpr double LimitOf(double said) {
  constexpr double kNoLimit = 1152921504606846976.0;  // 2^60
  return said > 0 && said < kNoLimit ? said : 0;
}

// Bits of Sample::present. A value that is NaN or infinite is no reading even if its bit is set.
enum Reading : uint8_t {
  kCpu = 1 << 0,
  kMemory = 1 << 1,
  kMemoryUsed = 1 << 2,
  kMemoryLimit = 1 << 3,
  kRunning = 1 << 4,
  kRestarts = 1 << 5,
};

inline constexpr uint8_t kAllReadings = 0x3f;
inline constexpr std::array<Reading, 6> kReadings = {kCpu,         kMemory,  kMemoryUsed,
                                                     kMemoryLimit, kRunning, kRestarts};

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

  double Value(Reading reading) const;  // running: 1 when it runs; the limit as LimitOf()
};

inline double Sample::Value(Reading reading) const {
  switch (reading) {
    case kCpu:
      return cpu;
    case kMemory:
      return memory;
    case kMemoryUsed:
      return memory_used;
    case kMemoryLimit:
      return LimitOf(memory_limit);
    case kRunning:
      return running ? 1 : 0;
    case kRestarts:
      return restarts;
  }
  return 0;
}

}  // namespace alerting

#endif  // ALERTING_CORE_SAMPLE_H_
