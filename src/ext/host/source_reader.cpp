// Implements ext/host/source_reader.h.
#include "ext/host/source_reader.h"

#include <algorithm>
#include <array>

#include "pg/spi.h"
#include "pg/transaction.h"

namespace alerting::ext {

namespace {

constexpr long kFetchRows = 5000;

// A batch of samples together with the bytes of their keys.
class Batch {
 public:
  // Takes the rows that SPI holds.
  void TakeResult(const Source& source) { SamplesFromResult(source.mapping, &keys_, &samples_); }
  std::span<const Sample> samples() const { return samples_; }

 private:
  std::vector<Sample> samples_;
  std::vector<KeyBytes> keys_;
};

// "WHERE ..." of the range; parameters: $1 after, $2 until, $3 keys as text, $4 their bounds.
std::string Where(const Source& source, const ReadRange& range, const std::string& from) {
  std::string where = " WHERE true";
  if (range.after != kNoTime) {
    where += " AND " + AtCondition(source.mapping, from, ">", "$1::pg_catalog.timestamptz");
  }
  if (range.until != kNever) {
    where += " AND " + AtCondition(source.mapping, from, "<=", "$2::pg_catalog.timestamptz");
  }
  return where;
}

// Opens a cursor and gives each fetched batch (SPI_tuptable, SPI_processed) to `take`.
template <typename F>
void ForEachBatch(const std::string& sql, const pg::Params& params, const F& take) {
  Portal portal = pg::Call([&] {
    return SPI_cursor_open_with_args(nullptr, sql.c_str(), static_cast<int>(params.types().size()),
                                     const_cast<Oid*>(params.types().data()),
                                     const_cast<Datum*>(params.values().data()),
                                     params.nulls().data(), true, 0);
  });
  for (;;) {
    pg::Call([&] {
      CHECK_FOR_INTERRUPTS();
      SPI_cursor_fetch(portal, true, kFetchRows);
    });
    if (SPI_processed == 0) break;
    SPITupleTable* fetched = SPI_tuptable;
    take();
    pg::Call([&] { SPI_freetuptable(fetched); });
  }
  pg::Call([&] { SPI_cursor_close(portal); });
}

void ReadByCursor(const Source& source, const ReadRange& range, const SampleSink& sink,
                  bool* sink_failed) {
  const pg::UserScope user(source.owner(), true);
  const pg::MappingSettings settings(source.mapping.time_zone.c_str());
  const std::string list = SelectList(source.mapping, source.name + " m");
  const std::string sql = RangeQuery(source, range, list) + RangeOrder(source);
  Batch batch;
  ForEachBatch(sql, RangeParameters(source, range), [&] {
    batch.TakeResult(source);
    *sink_failed = true;
    sink(batch.samples());
    *sink_failed = false;
  });
}

// Owns the key bytes of a sample kept for sorting.
struct KeptSample {
  std::string key;
  Sample sample;
};

class RowReader {
 public:
  RowReader(const Source& source, const ReadRange& range)
      : source_(source),
        range_(range),
        statement_("SELECT " + SelectList(source.mapping, source.name + " m") +
                   " FROM (SELECT ($1).*) m"),
        row_type_(pg::Call([&] { return get_rel_type_id(source.relation); })) {}

  // Reads the rows of the batch that SPI holds, one by one; counts those that fail.
  void Take() {
    SPITupleTable* table = SPI_tuptable;
    const uint64 count = SPI_processed;
    for (uint64 row = 0; row < count; ++row) {
      try {
        TakeRow(table, row);
      } catch (pg::Error& error) {
        if (error.IsPassing()) throw pg::Error(std::move(error));
        ++failed_;
      }
    }
    SPI_tuptable = table;
  }

  void Deliver(const SampleSink& sink) {
    std::stable_sort(kept_.begin(), kept_.end(), [](const KeptSample& a, const KeptSample& b) {
      return a.sample.at < b.sample.at;
    });
    std::vector<Sample> samples;
    samples.reserve(kept_.size());
    for (KeptSample& kept : kept_) {
      kept.sample.container = kept.key;
      samples.push_back(kept.sample);
    }
    if (!samples.empty()) sink(samples);
  }
  uint64_t failed() const { return failed_; }

 private:
  void TakeRow(SPITupleTable* table, uint64 row) {
    pg::Subtransaction savepoint;
    Sample sample;
    KeyBytes key;
    SPIPlanPtr plan = statement_.Plan({row_type_});
    const bool readable = pg::Call([&] {
      bool is_null = false;
      Datum parameters[1] = {SPI_getbinval(table->vals[row], table->tupdesc, 1, &is_null)};
      if (SPI_execute_plan(plan, parameters, nullptr, false, 1) != SPI_OK_SELECT ||
          SPI_processed != 1) {
        elog(ERROR, "SPI_execute_plan failed");
      }
      Datum values[kSampleColumns];
      bool nulls[kSampleColumns];
      heap_deform_tuple(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, values, nulls);
      return SampleFromDatums(source_.mapping.key_kind, source_.mapping.id, values, nulls, &key,
                              &sample);
    });
    if (readable && sample.at > range_.after && sample.at <= range_.until) {
      kept_.push_back({std::string(sample.container), sample});
    }
    pg::Call([&] { SPI_freetuptable(SPI_tuptable); });
    savepoint.Release();
  }

  const Source& source_;
  const ReadRange& range_;
  pg::Statement statement_;
  Oid row_type_;
  std::vector<KeptSample> kept_;
  uint64_t failed_ = 0;
};

// Some row's expression fails: read whole rows and evaluate the mapping on one after the other.
uint64_t ReadRowByRow(const Source& source, const ReadRange& range, const SampleSink& sink) {
  pg::Subtransaction savepoint;
  uint64_t failed = 0;
  {
    const pg::UserScope user(source.owner(), true);
    const pg::MappingSettings settings(source.mapping.time_zone.c_str());
    RowReader reader(source, range);
    ReadRange narrowed = HasPlainTime(source) ? range : ReadRange{};
    narrowed.containers.clear();
    narrowed.container_after.clear();
    narrowed.only_containers = narrowed.by_container = false;
    narrowed.other_containers.clear();
    ForEachBatch(RangeQuery(source, narrowed, "m"), RangeParameters(source, narrowed),
                 [&] { reader.Take(); });
    reader.Deliver(sink);
    failed = reader.failed();
  }
  savepoint.Release();
  return failed;
}

}  // namespace

std::string RangeQuery(const Source& source, const ReadRange& range, const std::string& what) {
  const std::string from = source.name + " m";
  const HostKey& type = source.container_type;
  const std::string key = type.Cast(source.mapping.container);
  const std::string given = "$3::pg_catalog.text[]::" + type.ArrayType();
  std::string sql = "SELECT " + what + " FROM " + from;
  std::string where = Where(source, range, from);
  const std::string bounds = "ROWS FROM (pg_catalog.unnest(" + given +
                             "), pg_catalog.unnest($4::pg_catalog.timestamptz[]))"
                             " k (alerting_key, alerting_after)";
  if (range.by_container) {
    // An index on a smaller integer serves a comparison with the key, but not a cast.
    const std::string indexed =
        source.mapping.key_kind == KeyKind::kInt8 ? "(" + source.mapping.container + ")" : key;
    const std::string newer = AtCondition(source.mapping, from, ">", "k.alerting_after");
    sql += " JOIN " + bounds + " ON " + indexed + " " + type.equals + " k.alerting_key AND ";
    // Without a bound for all some have none of their own either.
    sql += range.after == kNoTime ? "(k.alerting_after IS NULL OR " + newer + ")" : newer;
  } else if (range.only_containers) {
    where += " AND " + key + " " + type.equals + " ANY (" + given + ")";
  } else if (!range.containers.empty()) {
    sql += " LEFT JOIN " + bounds + " ON k.alerting_key " + type.equals + " " + key;
    where += " AND (k.alerting_after IS NULL OR " +
             AtCondition(source.mapping, from, ">", "k.alerting_after") + ")";
  }
  return sql + where;
}

std::string RangeOrder(const Source& source) {
  return " ORDER BY 2" + (source.place.empty() ? "" : ", " + source.place);
}

pg::Params RangeParameters(const Source& source, const ReadRange& range) {
  std::vector<std::string> keys;
  keys.reserve(range.containers.size());
  for (const std::string& key : range.containers) {
    keys.push_back(KeyText(source.mapping.key_kind, key));
  }
  std::vector<Micros> after = range.container_after;
  keys.insert(keys.end(), range.other_containers.begin(), range.other_containers.end());
  after.resize(keys.size(), range.after);
  pg::Params params;
  params.Timestamp(range.after).Timestamp(range.until == kNever ? kNoTime : range.until);
  params.TextArray(keys).TimestampArray(after);
  return params;
}

bool HasPlainTime(const Source& source) {
  return source.mapping.at.find_first_of(" (:'") == std::string::npos;
}

uint64_t ReadSource(const Source& source, const ReadRange& range, const SampleSink& sink) {
  bool sink_failed = false;
  try {
    pg::Subtransaction savepoint;
    ReadByCursor(source, range, sink, &sink_failed);
    savepoint.Release();
    return 0;
  } catch (pg::Error& error) {
    // Row by row nothing is sorted, which needs room.
    if (sink_failed || (error.IsPassing() && !error.IsForLackOfRoom())) {
      throw pg::Error(std::move(error));
    }
  }
  return ReadRowByRow(source, range, sink);
}

}  // namespace alerting::ext
