// Implements ext/cuid.h and alerting.cuid().
#include "ext/cuid.h"

#include <cstdint>
#include <iterator>

#include "pg/guard.h"

extern "C" {
PG_FUNCTION_INFO_V1(alerting_cuid);
PGDLLEXPORT Datum alerting_cuid(PG_FUNCTION_ARGS);
}

namespace alerting::ext {

namespace {

constexpr int kTimeDigits = 8;
constexpr int kCounterDigits = 4;
constexpr int kRandomDigits = 12;
constexpr uint64_t kCounterLimit = 36ULL * 36 * 36 * 36;

void AppendBase36(uint64_t value, int digits, std::string* out) {
  const size_t start = out->size();
  out->append(static_cast<size_t>(digits), '0');
  for (int i = digits - 1; i >= 0; --i) {
    (*out)[start + static_cast<size_t>(i)] = "0123456789abcdefghijklmnopqrstuvwxyz"[value % 36];
    value /= 36;
  }
}

// Random bytes, taken from a store that is filled now and then: a call into the crypto library for
// each id would cost more than all else about it. A forked process begins with an empty one.
uint64_t NextNoise() {
  static constinit uint64_t store[64] = {};
  static constinit size_t left = 0;
  static constinit pid_t owner = 0;
  if (left == 0 || owner != MyProcPid) {
    if (!pg_strong_random(store, sizeof(store))) {
      pg::Throw([] {
        ereport(ERROR,
                (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate random bytes")));
      });
    }
    left = std::size(store);
    owner = MyProcPid;
  }
  return store[--left];
}

}  // namespace

std::string NewCuid() {
  // Ids of one process and millisecond are told apart, and ordered, by the counter.
  static constinit uint64_t counter = 0;
  const TimestampTz now = GetCurrentTimestamp();
  constexpr int64 kEpochOffsetMs =
      int64{POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE} * SECS_PER_DAY * 1000;
  std::string id = "c";
  AppendBase36(static_cast<uint64_t>(now / 1000 + kEpochOffsetMs), kTimeDigits, &id);
  AppendBase36(counter++ % kCounterLimit, kCounterDigits, &id);
  AppendBase36(NextNoise(), kRandomDigits / 2, &id);
  AppendBase36(NextNoise(), kRandomDigits / 2, &id);
  return id;
}

}  // namespace alerting::ext

Datum alerting_cuid(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  return alerting::pg::Entry([] {
    const std::string id = alerting::ext::NewCuid();
    return alerting::pg::Call([&] { return PointerGetDatum(cstring_to_text(id.c_str())); });
  });
}
