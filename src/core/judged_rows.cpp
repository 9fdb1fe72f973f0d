// Implements core/judged_rows.h. Runs in the evaluator.
#include "core/judged_rows.h"

#include <algorithm>
#include <array>
#include <bit>

namespace alerting {
namespace {

constexpr size_t kMostAhead = 1000;  // a row each 10 seconds from a clock that is hours ahead
constexpr size_t kMostSuperseded = 100;

}  // namespace

// FNV-1a.
uint32_t DigestOf(const Sample& sample) {
  uint32_t digest = 2166136261;
  const auto take = [&](uint64_t bits) {
    for (int i = 0; i < 8; ++i, bits >>= 8) {
      digest = (digest ^ static_cast<uint8_t>(bits)) * 16777619;
    }
  };
  take(uint64_t{sample.source} << 8 | sample.present);
  for (const Reading reading : kReadings) {
    if ((sample.present & reading) != 0) take(std::bit_cast<uint64_t>(sample.Value(reading)));
  }
  return digest;
}

bool JudgedRows::AddAhead(const RowAhead& row) {
  const auto same_time = std::ranges::equal_range(ahead, row.at, {}, &RowAhead::at);
  if (std::ranges::find(same_time, row) != same_time.end()) return false;
  // Those of before are reached first.
  if (ahead.size() >= kMostAhead && same_time.end() == ahead.end()) return false;
  ahead.insert(same_time.end(), row);
  if (ahead.size() > kMostAhead) ahead.pop_back();
  return true;
}

bool JudgedRows::AddSuperseded(const Superseded& said) {
  std::erase_if(superseded, [&](const Superseded& other) {
    return other.reading == said.reading && other.at != said.at;
  });
  if (std::find(superseded.begin(), superseded.end(), said) != superseded.end()) return false;
  if (superseded.size() == kMostSuperseded) superseded.erase(superseded.begin());
  superseded.push_back(said);
  return true;
}

void JudgedRows::DropAheadBefore(Micros time) {
  ahead.erase(ahead.begin(), std::ranges::lower_bound(ahead, time, {}, &RowAhead::at));
}

uint8_t JudgedRows::Judged(const Sample& sample) const {
  const auto same_time = std::ranges::equal_range(ahead, sample.at, {}, &RowAhead::at);
  if (!same_time.empty() &&
      std::ranges::find(same_time, RowAhead{sample.at, DigestOf(sample)}) != same_time.end()) {
    return sample.present;
  }
  // Beyond those that there was room for nobody knows.
  if (ahead.size() >= kMostAhead && sample.at > ahead.back().at) return sample.present;
  uint8_t judged = 0;
  for (const Superseded& said : superseded) {
    if (said.at == sample.at && (sample.present & said.reading) != 0 &&
        said.value == sample.Value(said.reading)) {
      judged |= said.reading;
    }
  }
  return judged;
}

}  // namespace alerting
