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
  if (std::find(ahead.begin(), ahead.end(), row) != ahead.end()) return false;
  const auto place =
      std::upper_bound(ahead.begin(), ahead.end(), row.at,
                       [](Micros at, const RowAhead& other) { return at < other.at; });
  ahead.insert(place, row);
  if (ahead.size() > kMostAhead) ahead.pop_back();  // those of before are reached first
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
  std::erase_if(ahead, [&](const RowAhead& row) { return row.at < time; });
}

uint8_t JudgedRows::Judged(const Sample& sample) const {
  const RowAhead row = {sample.at, ahead.empty() ? 0 : DigestOf(sample)};
  if (std::find(ahead.begin(), ahead.end(), row) != ahead.end()) return sample.present;
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
