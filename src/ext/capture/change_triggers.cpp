// Triggers and functions that tell the workers, after COMMIT, what a user has changed: rules,
// bindings, containers, deliveries, the extension itself. Any backend.
#include "ext/capture/transaction_buffer.h"
#include "ext/host/binding.h"
#include "ext/host/source_mapping.h"
#include "pg/guc.h"
#include "pg/shared_state.h"
#include "pg/spi.h"
#include "pg/transaction.h"

extern "C" {
PG_FUNCTION_INFO_V1(alerting_rule_changed);
PGDLLEXPORT Datum alerting_rule_changed(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(alerting_binding_changed);
PGDLLEXPORT Datum alerting_binding_changed(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(alerting_container_changed);
PGDLLEXPORT Datum alerting_container_changed(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(alerting_delivery_changed);
PGDLLEXPORT Datum alerting_delivery_changed(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(alerting_on_drop_extension);
PGDLLEXPORT Datum alerting_on_drop_extension(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(alerting_on_alter_table);
PGDLLEXPORT Datum alerting_on_alter_table(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(alerting_exclude_workers);
PGDLLEXPORT Datum alerting_exclude_workers(PG_FUNCTION_ARGS);
}

namespace alerting::ext {

namespace {

void RequireTrigger(const FunctionCallInfo fcinfo, const char* name) {
  if (CALLED_AS_TRIGGER(fcinfo)) return;
  pg::Throw([&] {
    ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
                    errmsg("alerting.%s() must be called as a trigger", name)));
  });
}

void Tell(MessageKind kind) {
  if (!OpenTransactionBuffer()) return;
  Message message;
  message.kind = kind;
  AddMessage(message);
}

Datum RuleChanged(FunctionCallInfo fcinfo) {
  RequireTrigger(fcinfo, "rule_changed");
  Tell(MessageKind::kRulesChanged);
  return PointerGetDatum(nullptr);
}

Datum BindingChanged(FunctionCallInfo fcinfo) {
  RequireTrigger(fcinfo, "binding_changed");
  Tell(MessageKind::kBindingChanged);
  StartWorkersAtCommit();
  return PointerGetDatum(nullptr);
}

// The key of a containers row in canonical bytes. PostgreSQL code; false when it is NULL, or of
// another kind since the column has another type.
bool ContainerKey(const TriggerData* data, HeapTuple row, KeyBytes* key) {
  TupleDesc descriptor = RelationGetDescr(data->tg_relation);
  List* names = pg::SplitQualifiedName(data->tg_trigger->tgargs[0]);
  const int column = SPI_fnumber(descriptor, strVal(linitial(names)));
  if (column <= 0) return false;
  bool is_null = false;
  Datum value = heap_getattr(row, column, descriptor, &is_null);
  if (is_null) return false;
  const KeyKind kind = ParseKeyKind(data->tg_trigger->tgargs[1]);
  const Oid type = getBaseType(TupleDescAttr(descriptor, column - 1)->atttypid);
  if (KindOfType(type) != kind) return false;
  if (type == INT2OID) {
    value = Int64GetDatum(DatumGetInt16(value));
  } else if (type == INT4OID) {
    value = Int64GetDatum(DatumGetInt32(value));
  } else if (kind == KeyKind::kText) {
    value = KeyAsText(type, value);
  }
  KeyFromDatum(kind, value, key);
  return true;
}

// Whether an update has changed one of the columns that the trigger's further arguments name. One
// that is not there any more, or that no tuple holds, may have changed.
bool HasNewPlace(const TriggerData* data) {
  return pg::Call([&] {
    TupleDesc descriptor = RelationGetDescr(data->tg_relation);
    for (int i = 2; i < data->tg_trigger->tgnargs; ++i) {
      const int column = SPI_fnumber(descriptor, data->tg_trigger->tgargs[i]);
      if (column <= 0) return true;
      const FormData_pg_attribute* attribute = TupleDescAttr(descriptor, column - 1);
      if (pg::IsVirtual(attribute)) return true;
      bool was_null = false;
      bool is_null = false;
      const Datum before = heap_getattr(data->tg_trigtuple, column, descriptor, &was_null);
      const Datum after = heap_getattr(data->tg_newtuple, column, descriptor, &is_null);
      if (was_null != is_null) return true;
      if (!is_null && !datum_image_eq(before, after, attribute->attbyval, attribute->attlen)) {
        return true;
      }
    }
    return false;
  });
}

bool HasNewKey(const TriggerData* data) {
  return pg::Call([&] {
    KeyBytes before;
    KeyBytes after;
    return !ContainerKey(data, data->tg_trigtuple, &before) ||
           !ContainerKey(data, data->tg_newtuple, &after) || before.view != after.view;
  });
}

void TellContainer(const TriggerData* data, HeapTuple row, MessageKind kind) {
  pg::Call([&] {
    KeyBytes key;
    if (!ContainerKey(data, row, &key) || key.view.size() > kMaxKeyBytes) return;
    Message message;
    message.kind = kind;
    message.sample.container = key.view;
    AddMessage(message);
  });
}

Datum ContainerChanged(FunctionCallInfo fcinfo) {
  RequireTrigger(fcinfo, "container_changed");
  const auto* data = reinterpret_cast<TriggerData*>(fcinfo->context);
  const bool is_row = TRIGGER_FIRED_FOR_ROW(data->tg_event) != 0;
  const bool is_update = is_row && TRIGGER_FIRED_BY_UPDATE(data->tg_event);
  if (is_update && !HasNewPlace(data)) return PointerGetDatum(nullptr);
  if (!OpenTransactionBuffer()) return PointerGetDatum(nullptr);
  if (!is_row) {
    Tell(MessageKind::kContainersTruncated);
  } else if (data->tg_trigger->tgnargs >= 2) {
    if (!is_update) {
      TellContainer(data, data->tg_trigtuple, MessageKind::kContainerDeleted);
    } else if (HasNewKey(data)) {
      // Its FIRING alerts have followed it by the foreign key: they are loaded again, and all rows
      // with them, for which messages name it; one of its keys may be ''.
      Tell(MessageKind::kBindingChanged);
      TellContainer(data, data->tg_trigtuple, MessageKind::kBindingChanged);
      TellContainer(data, data->tg_newtuple, MessageKind::kBindingChanged);
    } else {
      TellContainer(data, data->tg_trigtuple, MessageKind::kContainerChanged);
    }
  }
  return PointerGetDatum(nullptr);
}

Datum DeliveryChanged(FunctionCallInfo fcinfo) {
  RequireTrigger(fcinfo, "delivery_changed");
  // The sender's own writes tell it nothing new.
  const bool is_sender =
      MyBgworkerEntry != nullptr && strcmp(MyBgworkerEntry->bgw_type, "alerting sender") == 0;
  if (!is_sender) WakeSenderAtCommit();
  return PointerGetDatum(nullptr);
}

bool NamesThisExtension(const DropStmt* drop) {
  ListCell* cell;
  foreach (cell, drop->objects) {
    if (strcmp(strVal(lfirst(cell)), "alerting") == 0) return true;
  }
  return false;
}

// DROP EXTENSION ... CASCADE drops triggers in an order of its own. An insert of metrics locks that
// table and then, for its foreign key, the containers table: without the same order here, one of
// the two would end in a deadlock. The extension comes first, as in the workers' transactions.
void LockHostTables() {
  const Oid extension = pg::Call([] { return get_extension_oid("alerting", true); });
  if (!OidIsValid(extension) || !pg::Call([&] { return pg::OwnsExtension(extension); })) return;
  pg::Call([&] { LockDatabaseObject(ExtensionRelationId, extension, 0, AccessExclusiveLock); });
  const pg::SafeSearchPath path;
  const pg::SpiConnection connection;
  const std::optional<Binding> binding = LoadBinding();
  if (!binding) return;
  pg::Call([&] {
    for (const Source& source : binding->sources) {
      LockRelationOid(source.relation, AccessExclusiveLock);
      (void)find_all_inheritors(source.relation, AccessExclusiveLock, nullptr);
    }
    LockRelationOid(binding->containers_oid, AccessExclusiveLock);
  });
}

// For ALTER EXTENSION ... UPDATE, which takes no lock on the extension: the workers' transactions
// begin with a shared one.
Datum ExcludeWorkers() {
  const Oid extension = pg::Call([] { return get_extension_oid("alerting", false); });
  if (!pg::Call([&] { return pg::OwnsExtension(extension); })) {
    pg::Throw([] {
      ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
                      errmsg("must be owner of extension %s", "alerting")));
    });
  }
  pg::Call([&] { LockDatabaseObject(ExtensionRelationId, extension, 0, AccessExclusiveLock); });
  return Datum{0};
}

EventTriggerData* RequireEventTrigger(FunctionCallInfo fcinfo, const char* name) {
  if (!CALLED_AS_EVENT_TRIGGER(fcinfo)) {
    pg::Throw([&] {
      ereport(ERROR, (errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
                      errmsg("alerting.%s() must be called as an event trigger", name)));
    });
  }
  return reinterpret_cast<EventTriggerData*>(fcinfo->context);
}

Datum OnDropExtension(FunctionCallInfo fcinfo) {
  const auto* data = RequireEventTrigger(fcinfo, "on_drop_extension");
  if (!IsA(data->parsetree, DropStmt)) return PointerGetDatum(nullptr);
  const auto* drop = reinterpret_cast<DropStmt*>(data->parsetree);
  if (!NamesThisExtension(drop)) return PointerGetDatum(nullptr);
  if (drop->behavior == DROP_CASCADE) LockHostTables();
  // The workers look whether the extension is still there.
  Tell(MessageKind::kBindingChanged);
  WakeSenderAtCommit();
  ForgetStopAtCommit();
  return PointerGetDatum(nullptr);
}

bool HasCommand(const AlterTableStmt* statement, AlterTableType type) {
  ListCell* cell;
  foreach (cell, statement->cmds) {
    if (static_cast<AlterTableCmd*>(lfirst(cell))->subtype == type) return true;
  }
  return false;
}

struct AttachedSources {
  uint32_t ids[4];
  int count;
};

// By the capture triggers of the table. PostgreSQL code.
AttachedSources SourcesOf(const RangeVar* name) {
  constexpr char kCapture[] = "alerting_capture";
  AttachedSources sources = {};
  const Oid table = RangeVarGetRelid(name, NoLock, true);
  if (!OidIsValid(table)) return sources;
  Relation relation = relation_open(table, AccessShareLock);
  const TriggerDesc* triggers = relation->trigdesc;
  for (int i = 0; triggers != nullptr && i < triggers->numtriggers; ++i) {
    const Trigger& trigger = triggers->triggers[i];
    if (strncmp(trigger.tgname, kCapture, strlen(kCapture)) != 0 || trigger.tgnargs == 0) continue;
    if (sources.count == static_cast<int>(lengthof(sources.ids))) break;
    sources.ids[sources.count++] = SourceOfTrigger(&trigger);
  }
  relation_close(relation, AccessShareLock);
  return sources;
}

bool EvaluatorRuns() {
  pg::DatabaseSlot* slot = pg::Call([] { return pg::FindSlot(MyDatabaseId); });
  return slot != nullptr && pg::WorkerRuns(slot, pg::kEvaluator);
}

// PostgreSQL code.
bool IsOwnTable(const RangeVar* name) {
  const Oid table = RangeVarGetRelid(name, NoLock, true);
  return OidIsValid(table) && get_rel_namespace(table) == get_namespace_oid("alerting", true);
}

// The rows that a partition brings with it were inserted into another table, and no trigger of ours
// saw them. A new owner has to be let make partitions, which the evaluator does when it loads all.
// pg_restore --clean makes our tables anew and fills them before they have a trigger; their keys
// come after that. An evaluator that does not run yet shall not start in the middle of it.
Datum OnAlterTable(FunctionCallInfo fcinfo) {
  const auto* data = RequireEventTrigger(fcinfo, "on_alter_table");
  if (!IsA(data->parsetree, AlterTableStmt)) return PointerGetDatum(nullptr);
  const auto* statement = reinterpret_cast<AlterTableStmt*>(data->parsetree);
  const bool changes_owner = HasCommand(statement, AT_ChangeOwner);
  if (HasCommand(statement, AT_AddConstraint) &&
      pg::Call([&] { return IsOwnTable(statement->relation); })) {
    if (EvaluatorRuns() && OpenTransactionBuffer()) Tell(MessageKind::kBindingChanged);
    return PointerGetDatum(nullptr);
  }
  if (!changes_owner && !HasCommand(statement, AT_AttachPartition)) return PointerGetDatum(nullptr);
  const AttachedSources sources = pg::Call([&] { return SourcesOf(statement->relation); });
  if (sources.count == 0 || !OpenTransactionBuffer()) return PointerGetDatum(nullptr);
  if (changes_owner) {
    Tell(MessageKind::kBindingChanged);
  } else {
    for (int i = 0; i < sources.count; ++i) MarkSource(sources.ids[i]);
  }
  return PointerGetDatum(nullptr);
}

}  // namespace

}  // namespace alerting::ext

Datum alerting_rule_changed(PG_FUNCTION_ARGS) {
  return alerting::pg::Entry([&] { return alerting::ext::RuleChanged(fcinfo); });
}
Datum alerting_binding_changed(PG_FUNCTION_ARGS) {
  return alerting::pg::Entry([&] { return alerting::ext::BindingChanged(fcinfo); });
}
Datum alerting_container_changed(PG_FUNCTION_ARGS) {
  return alerting::pg::Entry([&] { return alerting::ext::ContainerChanged(fcinfo); });
}
Datum alerting_delivery_changed(PG_FUNCTION_ARGS) {
  return alerting::pg::Entry([&] { return alerting::ext::DeliveryChanged(fcinfo); });
}
Datum alerting_on_drop_extension(PG_FUNCTION_ARGS) {
  return alerting::pg::Entry([&] { return alerting::ext::OnDropExtension(fcinfo); });
}
Datum alerting_on_alter_table(PG_FUNCTION_ARGS) {
  return alerting::pg::Entry([&] { return alerting::ext::OnAlterTable(fcinfo); });
}
Datum alerting_exclude_workers(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  return alerting::pg::Entry([] { return alerting::ext::ExcludeWorkers(); });
}
