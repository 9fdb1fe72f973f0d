// Implements ext/capture/capture_source.h.
#include "ext/capture/capture_source.h"

#include <unordered_map>

#include "ext/capture/transaction_buffer.h"
#include "pg/lock_waits.h"
#include "pg/transaction.h"

namespace alerting::ext {

namespace {

using Cache = std::unordered_map<Oid, std::unique_ptr<CaptureSource>>;

// Never destroyed: the process may exit while PostgreSQL still calls back.
constinit Cache* cache = nullptr;

}  // namespace

void InvalidateCaptureSources(Oid relation) {
  if (cache == nullptr) return;
  for (auto& [trigger, source] : *cache) {
    if (relation != InvalidOid && source->relation_ != relation) continue;
    source->valid_ = false;
    source->is_stale_ = true;
  }
}

extern "C" void OnRelcacheInvalidation(Datum /*argument*/, Oid relation) {
  InvalidateCaptureSources(relation);
}

constinit CaptureSource* CaptureSource::last_ = nullptr;

CaptureSource* CaptureSource::Find(const TriggerData* trigger_data) {
  if (cache == nullptr) {
    cache = new Cache;
    pg::Call([&] { CacheRegisterRelcacheCallback(OnRelcacheInvalidation, Datum{0}); });
  }
  const Oid trigger = trigger_data->tg_trigger->tgoid;
  auto entry = cache->find(trigger);
  if (entry == cache->end()) {
    // Made first: what is in the cache is there, should memory run out.
    std::unique_ptr<CaptureSource> made(new CaptureSource(trigger));
    entry = cache->emplace(trigger, std::move(made)).first;
  }
  last_ = entry->second.get();
  CaptureSource* source = last_;
  if (source->valid_) return source;
  if (source->uses_ > 0) {
    // Being made: planning, too, may run functions that insert.
    if (source->broken_) LeaveSourceToReplay(source->id_);
    return source;
  }
  const Use use(source);
  source->Build(trigger_data);
  return source;
}

// What is valid in the end was made whole, and of what has not changed meanwhile.
void CaptureSource::Build(const TriggerData* trigger_data) {
  const Relation relation = trigger_data->tg_relation;
  transition_.reset();
  row_.reset();
  relation_ = RelationGetRelid(relation);
  owner_ = RelationGetForm(relation)->relowner;
  row_type_ = RelationGetForm(relation)->reltype;
  is_stale_ = false;
  broken_ = true;
  const SourceMapping mapping = MappingFromTrigger(trigger_data->tg_trigger);
  id_ = mapping.id;
  key_kind_ = mapping.key_kind;
  time_zone_ = mapping.time_zone;
  projection_.Clear();
  columns_ = nullptr;
  is_direct_ = writer_.Build(mapping, RelationGetDescr(relation));
  if (!is_direct_ && IsSourceLeftToReplay(id_)) return;
  if (is_direct_) {
    pg::Call([&] {
      MakeSlot(RelationGetDescr(relation));
      MemoryContext outer = MemoryContextSwitchTo(slot_context_);
      columns_ = writer_.Columns();
      MemoryContextSwitchTo(outer);
    });
    broken_ = false;
    valid_ = !is_stale_;
    return;
  }
  try {
    const pg::UserScope user(owner_, true);
    pg::Subtransaction savepoint;
    BuildExpressions(mapping, relation);
    savepoint.Release();
    broken_ = false;
  } catch (const pg::Error& error) {
    if (error.sqlstate() == ERRCODE_QUERY_CANCELED) throw;
    if (error.IsPassing()) {
      // The next transaction tries again.
      LeaveSourceToReplay(id_);
      return;
    }
    const std::string table = RelationGetRelationName(relation);
    const std::string problem = error.what();
    pg::Call([&] {
      ereport(WARNING,
              (errcode(ERRCODE_UNDEFINED_COLUMN),
               errmsg("alerting: the mapping of table \"%s\" no longer fits it; its rows "
                      "are not evaluated",
                      table.c_str()),
               errdetail("%s", problem.c_str()),
               errhint("Call alerting.attach_metrics() again for this table, with all of its "
                       "mappings: alerting.doctor() shows the call.")));
    });
  }
  valid_ = !is_stale_;
}

namespace {

// PostgreSQL code.
void AppendColumn(Relation relation, const FormData_pg_attribute* column, StringInfo list) {
  if (column->attisdropped) return;
  const char* name = quote_identifier(NameStr(column->attname));
  if (list->len > 0) appendStringInfoString(list, ", ");
  if (!pg::IsVirtual(column)) {
    appendStringInfo(list, "m.%s", name);
    return;
  }
  List* context = deparse_context_for("m", RelationGetRelid(relation));
  const char* expression =
      deparse_expression(pg::GenerationExpression(relation, column->attnum), context, true, false);
  appendStringInfo(list, "(%s) AS %s", expression, name);
}

// A trigger's rows lack what virtual columns give. All columns of a row m, those computed; empty
// where the table has no such column.
std::string ColumnsWithVirtual(Relation relation) {
  TupleDesc descriptor = RelationGetDescr(relation);
  bool has_virtual = false;
  for (int i = 0; i < descriptor->natts; ++i) {
    has_virtual = has_virtual || pg::IsVirtual(TupleDescAttr(descriptor, i));
  }
  if (!has_virtual) return {};
  const char* list = pg::Call([&] {
    StringInfoData text;
    initStringInfo(&text);
    for (int i = 0; i < descriptor->natts; ++i) {
      AppendColumn(relation, TupleDescAttr(descriptor, i), &text);
    }
    return static_cast<const char*>(text.data);
  });
  return list;
}

}  // namespace

// As the table's owner.
void CaptureSource::BuildExpressions(const SourceMapping& mapping, Relation relation) {
  const pg::MappingSettings settings(mapping.time_zone.c_str());
  const pg::ShortLockWaits lock_waits;
  const pg::SpiConnection connection;
  const std::string table = pg::QualifiedName(relation_) + " m";
  const std::string list = SelectList(mapping, table);
  const std::string computed = ColumnsWithVirtual(relation);
  const std::string rows = "SELECT " + list + " FROM ";
  if (computed.empty()) {
    transition_.emplace(rows + "alerting_new m");
    row_.emplace(rows + "(SELECT ($1).*) m");
  } else {
    transition_.emplace(rows + "(SELECT " + computed + " FROM alerting_new m) m");
    row_.emplace(rows + "(SELECT " + computed + " FROM (SELECT ($1).*) m) m");
  }
  // Planned here, so that a mapping that no longer fits its table is noticed here.
  (void)RowPlan();
  if (!computed.empty()) return;
  const std::string sql = rows + table;
  pg::Call([&] {
    MakeSlot(RelationGetDescr(relation));
    projection_.Build(sql.c_str(), slot_->tts_tupleDescriptor, slot_context_);
  });
  if (projection_.exists()) columns_ = projection_.columns();
}

// A slot of our own with a copy of the descriptor: making one for each statement would cost more
// than all else that a statement of one row needs.
void CaptureSource::MakeSlot(TupleDesc descriptor) {
  slot_ = nullptr;
  slot_is_open_ = false;
  if (slot_context_ != nullptr) MemoryContextDelete(slot_context_);
  slot_context_ = nullptr;
  slot_context_ =
      AllocSetContextCreate(CacheMemoryContext, "alerting capture slot", ALLOCSET_SMALL_SIZES);
  MemoryContext outer = MemoryContextSwitchTo(slot_context_);
  slot_ = MakeSingleTupleTableSlot(CreateTupleDescCopy(descriptor), &TTSOpsMinimalTuple);
  MemoryContextSwitchTo(outer);
}

// An UPDATE that sets none of the columns leaves them as they are, unless a trigger that fires
// before it sets them.
bool CaptureSource::MayHaveChanged(const TriggerData* trigger_data) const {
  return columns_ == nullptr || trigger_data->tg_updatedcols == nullptr ||
         trigger_data->tg_relation->trigdesc->trig_update_before_row ||
         bms_overlap(columns_, trigger_data->tg_updatedcols);
}

TupleTableSlot* CaptureSource::OpenSlot() {
  // An error has ended the statement that opened it: its row is gone with that statement's memory.
  if (slot_is_open_) slot_->tts_flags &= static_cast<uint16>(~TTS_FLAG_SHOULDFREE);
  ExecClearTuple(slot_);
  slot_is_open_ = true;
  return slot_;
}

void CaptureSource::CloseSlot() {
  ExecClearTuple(slot_);
  slot_is_open_ = false;
}

SPIPlanPtr CaptureSource::TransitionPlan() { return transition_->Plan({}); }
SPIPlanPtr CaptureSource::RowPlan() { return row_->Plan({row_type_}); }

bool CaptureSource::MayWarn() {
  const TimestampTz now = GetCurrentTimestamp();
  if (now < AddTime(warned_at_, kMinute)) return false;
  warned_at_ = now;
  return true;
}

}  // namespace alerting::ext
