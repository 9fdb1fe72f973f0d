// Statements through SPI: parameters from C++ values, results to C++ values. Any process, inside a
// transaction with an SPI connection (pg::Transaction or pg::SpiConnection).
#ifndef ALERTING_PG_SPI_H_
#define ALERTING_PG_SPI_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pg/guard.h"

namespace alerting::pg {

// Where a row version lies in its table (ctid): to find it again without an index, as long as
// nobody updates it and no VACUUM FULL moves it.
using RowPlace = ItemPointerData;
inline constexpr RowPlace kNoPlace{{0xffff, 0xffff}, 0};

// One statement's parameters. Values are copied into the current memory context (the
// transaction's).
class Params {
 public:
  Params& Text(std::string_view value);
  Params& Int(int32_t value);
  Params& BigInt(int64_t value);
  Params& Bool(bool value);
  Params& Timestamp(int64_t value);  // timestamptz; kNoTime is NULL
  Params& Bytes(std::string_view value);
  Params& OidValue(Oid value);
  Params& Value(Datum value, Oid type);
  Params& Null(Oid type);

  Params& TextArray(const std::vector<std::string>& values);
  Params& TextArray(const std::vector<std::optional<std::string>>& values);
  Params& IntArray(const std::vector<int32_t>& values);
  Params& BigIntArray(const std::vector<int64_t>& values);
  Params& FloatArray(const std::vector<double>& values);  // NaN is kept
  Params& RealArray(const std::vector<std::optional<float>>& values);
  Params& TimestampArray(const std::vector<int64_t>& values);  // kNoTime is NULL
  Params& BytesArray(const std::vector<std::string>& values);
  Params& JsonbArray(std::vector<Datum> values);

  const std::vector<Oid>& types() const { return types_; }
  const std::vector<Datum>& values() const { return values_; }
  const std::vector<char>& nulls() const { return nulls_; }

 private:
  Params& Add(Datum value, Oid type, bool is_null);
  Params& AddArray(std::vector<Datum>& elements, const std::vector<char>& nulls, Oid element_type,
                   Oid array_type);

  std::vector<Oid> types_;
  std::vector<Datum> values_;
  std::vector<char> nulls_;  // ' ' or 'n', as SPI takes them
};

// The rows of the statement executed last on this connection; valid until the next one.
class Rows {
 public:
  uint64_t size() const { return count_; }
  bool IsNull(uint64_t row, int column) const;       // columns count from 0
  std::string Text(uint64_t row, int column) const;  // by the type's output; NULL is ""
  std::optional<std::string> OptionalText(uint64_t row, int column) const;
  std::string Bytes(uint64_t row, int column) const;  // bytea
  Datum Value(uint64_t row, int column, bool* is_null) const;
  // What follows is an error where the column has another type, for others may alter our tables.
  int32_t Int(uint64_t row, int column) const;
  int64_t BigInt(uint64_t row, int column) const;
  double Float(uint64_t row, int column) const;
  bool Bool(uint64_t row, int column) const;
  int64_t Timestamp(uint64_t row, int column) const;  // NULL is kNoTime
  Oid OidValue(uint64_t row, int column) const;
  RowPlace Place(uint64_t row, int column) const;
  std::vector<std::string> FirstColumn() const;  // by the type's output

 private:
  Datum ValueOf(Oid type, uint64_t row, int column, bool* is_null) const;

  friend Rows Execute(const std::string& sql, const Params& params);
  friend Rows ReadOnly(const std::string& sql, const Params& params);
  friend class Statement;
  SPITupleTable* table_ = nullptr;
  uint64_t count_ = 0;
};

// Plans and runs a statement once. `size()` of the result is the rows returned or touched.
Rows Execute(const std::string& sql, const Params& params = {});
// The same by the snapshot of the statement that called us, as a STABLE function must read.
Rows ReadOnly(const std::string& sql, const Params& params = {});

// A statement whose plan is kept over transactions; made when first run, for any parameters.
class Statement {
 public:
  explicit Statement(std::string sql) : sql_(std::move(sql)) {}
  ~Statement();
  Statement(Statement&& other) noexcept
      : sql_(std::move(other.sql_)),
        plan_(std::exchange(other.plan_, nullptr)),
        long_plan_(std::exchange(other.long_plan_, nullptr)) {}
  Statement& operator=(Statement&&) = delete;
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  Rows Run(const Params& params = {});
  // By the snapshot of the statement that called us, in any session: the plan, which may have been
  // made while the tables were small, goes by index wherever one is there.
  Rows RunReadOnly(const Params& params);
  // For parameters that are lists of `size` entries: for long ones a plan is made each time, which
  // may hash and sort them.
  Rows RunLists(size_t size, const Params& params);
  const std::string& sql() const { return sql_; }
  // The kept plan, for cursors and executions that need SPI itself.
  SPIPlanPtr Plan(const std::vector<Oid>& types);

 private:
  SPIPlanPtr Prepare(const std::vector<Oid>& types, int options) const;
  static Rows Execute(SPIPlanPtr plan, const Params& params, bool read_only = false);

  std::string sql_;
  SPIPlanPtr plan_ = nullptr;
  SPIPlanPtr long_plan_ = nullptr;
};

// Quoted as PostgreSQL quotes identifiers; `QualifiedName` is "" when the relation is gone.
std::string QuoteIdentifier(std::string_view name);
std::string QualifiedName(Oid relation);

}  // namespace alerting::pg

#endif  // ALERTING_PG_SPI_H_
