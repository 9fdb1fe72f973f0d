// Implements pg/key_lookup.h.
#include "pg/key_lookup.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>

namespace alerting::pg {

namespace {

// All of this is PostgreSQL code: trivial types, called within Call().

struct FoundValue {
  bool is_null;
  bool is_key;
  Datum datum;
  const char* text;
  size_t length;
};

struct FoundRow {
  FoundRow* next;
  TransactionId xmin;
  ItemPointerData place;
  FoundValue values[KeyShape::kMostColumns];
};

struct FoundRows {
  bool fits;
  FoundRow* first;
};

constexpr FoundRows kDeclined = {false, nullptr};

struct Names {
  const char* key;
  const char* flag;  // or nullptr
  const char* columns[KeyShape::kMostColumns];
  int count;
};

uint64_t relation_changes = 1;

extern "C" void CountRelationChange(Datum /*argument*/, Oid /*relation*/) { ++relation_changes; }

void HearOfRelationChanges() {
  static bool hears = false;
  if (hears) return;
  CacheRegisterRelcacheCallback(CountRelationChange, Datum{0});
  hears = true;
}

// InvalidOid: values of the type are not compared as simply as that.
RegProcedure EqualityOf(Oid type) {
  switch (type) {
    case TEXTOID:
    case VARCHAROID:
      return F_TEXTEQ;
    case UUIDOID:
      return F_UUID_EQ;
    case INT2OID:
      return F_INT2EQ;
    case INT4OID:
      return F_INT4EQ;
    case INT8OID:
      return F_INT8EQ;
    default:
      return InvalidOid;
  }
}

struct ColumnShape {
  AttrNumber number;  // or none
  Oid type;           // a domain's is its base type
  Oid collation;
};

ColumnShape FindColumn(Relation table, const char* name) {
  const AttrNumber number = get_attnum(RelationGetRelid(table), name);
  if (number <= 0) return {InvalidAttrNumber, InvalidOid, InvalidOid};
  const Form_pg_attribute column = TupleDescAttr(RelationGetDescr(table), number - 1);
  if (IsVirtual(column)) return {InvalidAttrNumber, InvalidOid, InvalidOid};
  return {number, getBaseType(column->atttypid), column->attcollation};
}

// A plan could go by this index too. (Of one that was built while rows were being changed, older
// snapshots might miss rows; from when it may be used on, it may be used for good.)
bool IsUsable(Relation index) {
  return index->rd_rel->relam == BTREE_AM_OID && index->rd_index->indisvalid &&
         heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, nullptr) &&
         (!index->rd_index->indcheckxmin ||
          TransactionIdPrecedes(HeapTupleHeaderGetXmin(index->rd_indextuple->t_data),
                                TransactionXmin));
}

// Its first column is this one, ordered and compared as the column's type and collation have it.
bool LeadsWith(Relation index, const ColumnShape& column) {
  if (index->rd_index->indkey.values[0] != column.number) return false;
  if (index->rd_indcollation[0] != column.collation) return false;
  const Oid type = index->rd_opcintype[0];
  if (type != (column.type == VARCHAROID ? TEXTOID : column.type)) return false;
  const Oid equal = get_opfamily_member(index->rd_opfamily[0], type, type, BTEqualStrategyNumber);
  return OidIsValid(equal) && get_opcode(equal) == EqualityOf(column.type);
}

// The one of fewest columns. InvalidOid: there is none, or may be one later without a change.
Oid FindIndex(Relation table, const ColumnShape& column) {
  Oid found = InvalidOid;
  int columns = 0;
  List* indexes = RelationGetIndexList(table);
  ListCell* cell;
  foreach (cell, indexes) {
    Relation index = index_open(lfirst_oid(cell), AccessShareLock);
    const int count = index->rd_index->indnkeyatts;
    if (IsUsable(index) && LeadsWith(index, column) && (!OidIsValid(found) || count < columns)) {
      found = RelationGetRelid(index);
      columns = count;
    }
    index_close(index, NoLock);
  }
  list_free(indexes);
  return found;
}

bool IsPlain(Relation table) {
  return table->rd_rel->relkind == RELKIND_RELATION && table->rd_rel->relam == HEAP_TABLE_AM_OID &&
         !table->rd_rel->relhassubclass;
}

KeyShape ShapeOf(Relation table, const Names& names) {
  KeyShape shape = {};
  shape.relation = RelationGetRelid(table);
  shape.changes = relation_changes;  // what comes meanwhile counts as later
  if (!IsPlain(table)) return shape;
  const ColumnShape key = FindColumn(table, names.key);
  shape.equal = EqualityOf(key.type);
  if (!OidIsValid(shape.equal)) return shape;
  if (OidIsValid(key.collation) && !get_collation_isdeterministic(key.collation)) return shape;
  shape.collation = key.collation;
  shape.key_type = key.type;
  if (names.flag != nullptr) {
    const ColumnShape flag = FindColumn(table, names.flag);
    if (flag.type != BOOLOID) return shape;
    shape.flag = flag.number;
  }
  for (int i = 0; i < names.count; ++i) {
    const ColumnShape column = FindColumn(table, names.columns[i]);
    if (!OidIsValid(EqualityOf(column.type)) && column.type != BOOLOID &&
        column.type != FLOAT8OID) {
      return shape;
    }
    shape.columns[i] = column.number;
    shape.types[i] = column.type;
  }
  shape.index = FindIndex(table, key);
  if (!OidIsValid(shape.index)) shape.changes = 0;  // look again
  shape.fits = OidIsValid(shape.index);
  return shape;
}

// As the statement's permissions are checked, but where columns have rights of their own.
bool MayRead(Relation table, bool lock) {
  const Oid relation = RelationGetRelid(table);
  const Oid role = GetUserId();
  return ExecutorCheckPerms_hook == nullptr && MayUseSchema(RelationGetNamespace(table), role) &&
         pg_class_aclcheck(relation, role, ACL_SELECT) == ACLCHECK_OK &&
         (!lock || pg_class_aclcheck(relation, role, ACL_UPDATE) == ACLCHECK_OK) &&
         check_enable_rls(relation, InvalidOid, true) != RLS_ENABLED;
}

enum class KeyFit { kFits, kEqualsNothing, kUnclear };

KeyFit MakeKey(Oid type, const char* text, Datum* key) {
  if (type == TEXTOID || type == VARCHAROID) {
    *key = CStringGetTextDatum(text);
    return KeyFit::kFits;
  }
  if (type == UUIDOID) {
    *key = DirectFunctionCall1(uuid_in, CStringGetDatum(text));
    return KeyFit::kFits;
  }
  char* end = nullptr;
  errno = 0;
  const int64 value = strtoll(text, &end, 10);
  if (end == text || *end != '\0' || errno != 0) return KeyFit::kUnclear;
  if (type == INT2OID) {
    *key = Int16GetDatum(static_cast<int16>(value));
    return value == static_cast<int16>(value) ? KeyFit::kFits : KeyFit::kEqualsNothing;
  }
  if (type == INT4OID) {
    *key = Int32GetDatum(static_cast<int32>(value));
    return value == static_cast<int32>(value) ? KeyFit::kFits : KeyFit::kEqualsNothing;
  }
  *key = Int64GetDatum(value);
  return KeyFit::kFits;
}

bool IsTrue(TupleTableSlot* slot, AttrNumber flag) {
  if (flag == InvalidAttrNumber) return true;
  bool is_null = false;
  const Datum value = slot_getattr(slot, flag, &is_null);
  return !is_null && DatumGetBool(value);
}

// A copy: the slot's page is not held for long.
FoundValue ReadValue(TupleTableSlot* slot, AttrNumber number, Oid type) {
  FoundValue found = {true, OidIsValid(EqualityOf(type)), Datum{0}, "", 0};
  const Datum value = slot_getattr(slot, number, &found.is_null);
  if (found.is_null) return found;
  if (type == TEXTOID || type == VARCHAROID) {
    const text* packed = DatumGetTextPP(value);
    found.length = VARSIZE_ANY_EXHDR(packed);
    found.text = pnstrdup(VARDATA_ANY(packed), found.length);
    return found;
  }
  char* text = static_cast<char*>(palloc(MAXINT8LEN + 1));
  switch (type) {
    case UUIDOID:
      text = DatumGetCString(DirectFunctionCall1(uuid_out, value));
      break;
    case INT2OID:
      pg_itoa(DatumGetInt16(value), text);
      break;
    case INT4OID:
      pg_ltoa(DatumGetInt32(value), text);
      break;
    case INT8OID:
      pg_lltoa(DatumGetInt64(value), text);
      break;
    default:
      text[0] = '\0';
  }
  found.text = text;
  found.length = strlen(text);
  const Form_pg_attribute column = TupleDescAttr(slot->tts_tupleDescriptor, number - 1);
  if (type != UUIDOID) found.datum = datumCopy(value, column->attbyval, column->attlen);
  return found;
}

FoundRow* ReadRow(TupleTableSlot* slot, const KeyShape& shape, int count) {
  FoundRow* row = static_cast<FoundRow*>(palloc0(sizeof(FoundRow)));
  bool is_null = false;
  row->xmin =
      DatumGetTransactionId(slot_getsysattr(slot, MinTransactionIdAttributeNumber, &is_null));
  row->place = slot->tts_tid;
  for (int i = 0; i < count; ++i) {
    row->values[i] = ReadValue(slot, shape.columns[i], shape.types[i]);
  }
  return row;
}

// The row that the slot holds; afterwards the slot holds the version that was locked. False: it is
// another version, or somebody else has it.
bool LockRow(Relation table, TupleTableSlot* slot) {
  ItemPointerData place = slot->tts_tid;
  TM_FailureData failure;
  const TM_Result result = table_tuple_lock(
      table, &place, GetActiveSnapshot(), slot, GetCurrentCommandId(true), LockTupleKeyShare,
      LockWaitSkip, TUPLE_LOCK_FLAG_LOCK_UPDATE_IN_PROGRESS | TUPLE_LOCK_FLAG_FIND_LAST_VERSION,
      &failure);
  return result == TM_Ok && !failure.traversed;
}

// One by one, as a statement does. In the order of the index, as a plan would give them.
FoundRows ReadRows(Relation table, const KeyShape& shape, Datum key, int count, bool lock) {
  FoundRows found = {true, nullptr};
  FoundRow** next = &found.first;
  ScanKeyData scan_key;
  ScanKeyEntryInitialize(&scan_key, 0, 1, BTEqualStrategyNumber, InvalidOid, shape.collation,
                         shape.equal, key);
  Relation index = index_open(shape.index, AccessShareLock);
  TupleTableSlot* slot = table_slot_create(table, nullptr);
  IndexScanDesc scan = BeginIndexScan(table, index, GetActiveSnapshot(), 1);
  index_rescan(scan, &scan_key, 1, nullptr, 0);
  while (found.fits && index_getnext_slot(scan, ForwardScanDirection, slot)) {
    if (!IsTrue(slot, shape.flag)) continue;
    found.fits = !lock || LockRow(table, slot);
    if (!found.fits) continue;
    *next = ReadRow(slot, shape, count);
    next = &(*next)->next;
  }
  index_endscan(scan);
  ExecDropSingleTupleTableSlot(slot);
  index_close(index, NoLock);
  return found;
}

FoundRows FindRows(Relation table, const Names& names, const char* key_text, KeyShape* shape,
                   bool lock) {
  if (shape->relation != RelationGetRelid(table) || shape->changes != relation_changes) {
    *shape = ShapeOf(table, names);
  }
  if (!shape->fits || !MayRead(table, lock)) return kDeclined;
  Datum key = 0;
  switch (MakeKey(shape->key_type, key_text, &key)) {
    case KeyFit::kFits:
      return ReadRows(table, *shape, key, names.count, lock);
    case KeyFit::kEqualsNothing:
      return {true, nullptr};
    default:
      return kDeclined;
  }
}

}  // namespace

KeyLookup::KeyLookup(std::string key, std::string flag, std::vector<std::string> columns)
    : key_(std::move(key)), flag_(std::move(flag)), columns_(std::move(columns)) {
  columns_.resize(std::min(columns_.size(), KeyShape::kMostColumns));
}

std::optional<std::vector<KeyedRow>> KeyLookup::Find(Oid relation, const std::string& key) {
  return Run(relation, key, false);
}

std::optional<std::vector<KeyedRow>> KeyLookup::Lock(Oid relation, const std::string& key) {
  return Run(relation, key, true);
}

std::optional<std::vector<KeyedRow>> KeyLookup::Run(Oid relation, const std::string& key,
                                                    bool lock) {
  if (!OidIsValid(relation)) return std::nullopt;
  Names names = {key_.c_str(), flag_.empty() ? nullptr : flag_.c_str(), {}, 0};
  for (const std::string& column : columns_) names.columns[names.count++] = column.c_str();
  const FoundRows found = Call([&] {
    HearOfRelationChanges();
    Relation table = table_open(relation, lock ? RowShareLock : AccessShareLock);
    PushActiveSnapshot(GetTransactionSnapshot());  // of now, as a statement's
    const FoundRows result = FindRows(table, names, key.c_str(), &shape_, lock);
    PopActiveSnapshot();
    table_close(table, NoLock);
    return result;
  });
  if (!found.fits) return std::nullopt;
  std::vector<KeyedRow> rows;
  for (const FoundRow* one = found.first; one != nullptr; one = one->next) {
    KeyedRow& row = rows.emplace_back();
    row.place = one->place;
    row.version = std::to_string(one->xmin) + "(" +
                  std::to_string(ItemPointerGetBlockNumberNoCheck(&one->place)) + "," +
                  std::to_string(ItemPointerGetOffsetNumberNoCheck(&one->place)) + ")";
    for (int i = 0; i < names.count; ++i) {
      const FoundValue& value = one->values[i];
      row.values.push_back(
          {value.is_null, value.is_key, std::string(value.text, value.length), value.datum});
    }
  }
  return rows;
}

}  // namespace alerting::pg
