// One capture trigger of this backend: how its relation's rows are read. Cached by trigger and
// made anew when the relation's definition changes. Any backend.
#ifndef ALERTING_EXT_CAPTURE_SOURCE_H_
#define ALERTING_EXT_CAPTURE_SOURCE_H_

#include <array>
#include <memory>
#include <optional>
#include <string>

#include "ext/source_mapping.h"
#include "pg/spi.h"

namespace alerting::ext {

// Reads one mapped column straight from a tuple.
struct ColumnReader {
  enum class Form : uint8_t {
    kNone,
    kFloat8,
    kFloat4,
    kInt2,
    kInt4,
    kInt8,
    kNumeric,
    kBool,  // figures
    kTimestamp,
    kEpochInt4,
    kEpochInt8,  // times
    kKeyInt2,
    kKeyInt4,
    kKeyInt8,
    kKeyUuid,
    kKeyText  // containers
  };
  Form form = Form::kNone;
  AttrNumber column = 0;
};

class CaptureSource {
 public:
  // The source of the trigger that fires; remade when it is stale. nullptr when its mapping does
  // not fit the table any more (warned of once per change).
  static CaptureSource* For(const TriggerData* trigger_data);

  uint32_t id() const { return id_; }
  Oid owner() const { return owner_; }
  KeyKind key_kind() const { return key_kind_; }
  bool is_direct() const { return is_direct_; }
  bool has_numeric() const { return has_numeric_; }
  AttrNumber last_column() const { return last_column_; }

  // Direct sources: reads the sample of a slot whose columns up to last_column() are deformed.
  // PostgreSQL code without nontrivial locals.
  bool ReadSlot(const TupleTableSlot* slot, KeyBytes* key, Sample* sample) const;

  // Other sources: plans over the transition table, and over one row given as $1.
  SPIPlanPtr TransitionPlan(const TriggerData* trigger_data);
  SPIPlanPtr RowPlan();

  // True at most once a minute: whether to warn of rows that cannot be read.
  bool MayWarn();

 private:
  CaptureSource() = default;
  void Build(const TriggerData* trigger_data);
  bool BuildDirect(const SourceMapping& mapping, TupleDesc descriptor);
  ColumnReader Figure(const std::string& expression, TupleDesc descriptor, bool* direct);
  ColumnReader Time(const SourceMapping& mapping, TupleDesc descriptor, bool* direct);
  ColumnReader Key(const SourceMapping& mapping, TupleDesc descriptor, bool* direct);
  friend void InvalidateCaptureSources(Oid relation);

  Oid relation_ = InvalidOid;
  bool valid_ = false;
  bool broken_ = false;
  uint32_t id_ = 0;
  Oid owner_ = InvalidOid;
  KeyKind key_kind_ = KeyKind::kText;
  bool is_direct_ = false;
  bool has_numeric_ = false;
  AttrNumber last_column_ = 0;
  std::array<ColumnReader, kSampleColumns> readers_;
  int64_t epoch_unit_ = 1;  // microseconds per unit of an integer time
  std::optional<pg::Statement> transition_;
  std::optional<pg::Statement> row_;
  Oid row_type_ = InvalidOid;
  TimestampTz warned_at_ = 0;
};

}  // namespace alerting::ext

#endif  // ALERTING_EXT_CAPTURE_SOURCE_H_
