// One capture trigger of this backend: how its relation's rows are read. Cached by trigger and
// made anew when the relation's definition changes. Any backend.
#ifndef ALERTING_EXT_CAPTURE_CAPTURE_SOURCE_H_
#define ALERTING_EXT_CAPTURE_CAPTURE_SOURCE_H_

#include <memory>
#include <optional>
#include <string>

#include "ext/capture/row_writer.h"
#include "ext/host/row_projection.h"
#include "ext/host/source_mapping.h"
#include "pg/spi.h"

namespace alerting::ext {

// The row of a row trigger.
inline TupleTableSlot* NewRow(const TriggerData* trigger_data) {
  return TRIGGER_FIRED_BY_UPDATE(trigger_data->tg_event) ? trigger_data->tg_newslot
                                                         : trigger_data->tg_trigslot;
}

class CaptureSource {
 public:
  // Keeps the source as it is while its expressions are planned or evaluated: they may run
  // functions that insert into the same table, after it has become stale.
  class Use {
   public:
    explicit Use(CaptureSource* source) : source_(source) { ++source_->uses_; }
    ~Use() { --source_->uses_; }
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

   private:
    CaptureSource* const source_;
  };

  // The source of the trigger that fires; remade when it is stale and not in use. nullptr when its
  // mapping does not fit the table any more (warned of once per change), or cannot be seen to at
  // the moment (its rows are left to a replay).
  static CaptureSource* For(const TriggerData* trigger_data) {
    // Mostly the same trigger again.
    CaptureSource* source = last_;
    if (source == nullptr || source->trigger_ != trigger_data->tg_trigger->tgoid ||
        !source->valid_) {
      source = Find(trigger_data);
    }
    return source->broken_ ? nullptr : source;
  }

  uint32_t id() const { return id_; }
  Oid owner() const { return owner_; }
  KeyKind key_kind() const { return key_kind_; }
  const char* time_zone() const { return time_zone_.c_str(); }
  bool is_direct() const { return is_direct_; }
  // Direct sources: how a row is written as a sample.
  const RowWriter& writer() const { return writer_; }
  // Whether the statement may have changed what is read. Does not raise errors.
  bool IsConcernedBy(const TriggerData* trigger_data) const {
    return !TRIGGER_FIRED_BY_UPDATE(trigger_data->tg_event) || MayHaveChanged(trigger_data);
  }
  // Other sources: how a row's expressions are evaluated, where that needs no query.
  const RowProjection& projection() const { return projection_; }
  // A slot for the rows of a transition table, empty; OpenSlot ... CloseSlot. PostgreSQL code. Of
  // sources that need no query.
  TupleTableSlot* OpenSlot();
  void CloseSlot();

  // The rest: plans over the transition table, and over one row given as $1.
  SPIPlanPtr TransitionPlan();
  SPIPlanPtr RowPlan();
  Oid row_type() const { return row_type_; }

  // True at most once a minute: whether to warn of rows that cannot be read.
  bool MayWarn();

 private:
  explicit CaptureSource(Oid trigger) : trigger_(trigger) {}
  static CaptureSource* Find(const TriggerData* trigger_data);
  bool MayHaveChanged(const TriggerData* trigger_data) const;
  void Build(const TriggerData* trigger_data);
  void BuildExpressions(const SourceMapping& mapping, Relation relation);
  void MakeSlot(TupleDesc descriptor);
  friend void InvalidateCaptureSources(Oid relation);

  static constinit CaptureSource* last_;

  const Oid trigger_;
  Oid relation_ = InvalidOid;
  bool valid_ = false;
  bool is_stale_ = false;  // changed since it was begun to be made
  bool broken_ = false;
  int uses_ = 0;
  uint32_t id_ = 0;
  Oid owner_ = InvalidOid;
  KeyKind key_kind_ = KeyKind::kText;
  std::string time_zone_;
  bool is_direct_ = false;
  RowWriter writer_;
  RowProjection projection_;
  MemoryContext slot_context_ = nullptr;  // of the slot and the columns
  TupleTableSlot* slot_ = nullptr;
  bool slot_is_open_ = false;
  const Bitmapset* columns_ = nullptr;  // what is read; nullptr: not known
  std::optional<pg::Statement> transition_;
  std::optional<pg::Statement> row_;
  Oid row_type_ = InvalidOid;
  TimestampTz warned_at_ = 0;
};

}  // namespace alerting::ext

#endif  // ALERTING_EXT_CAPTURE_CAPTURE_SOURCE_H_
