// Implements ext/host/host_key.h.
#include "ext/host/host_key.h"

#include "ext/host/binding.h"
#include "pg/spi.h"
#include "pg/transaction.h"

namespace alerting::ext {

namespace {

struct KeyColumn {
  Oid type = InvalidOid;  // of a domain the type beneath
  Oid collation = InvalidOid;
};

KeyColumn FindColumn(Oid relation, const std::string& quoted) {
  const std::string name = Unquoted(quoted);
  return pg::Call([&] {
    KeyColumn column;
    const AttrNumber number = get_attnum(relation, name.c_str());
    if (number <= 0) return column;
    int32 modifier = -1;
    get_atttypetypmodcoll(relation, number, &column.type, &modifier, &column.collation);
    column.type = getBaseType(column.type);
    return column;
  });
}

std::string Qualified(Oid schema, const char* name) {
  return pg::Call([&] {
    return psprintf("%s.%s", quote_identifier(get_namespace_name(schema)), quote_identifier(name));
  });
}

std::string OperatorName(Oid number) {
  return pg::Call([&] {
    HeapTuple tuple = SearchSysCache1(OPEROID, ObjectIdGetDatum(number));
    if (!HeapTupleIsValid(tuple)) elog(ERROR, "cache lookup failed for operator %u", number);
    const auto* form = reinterpret_cast<Form_pg_operator>(GETSTRUCT(tuple));
    const char* name =
        psprintf("OPERATOR(%s.%s)", quote_identifier(get_namespace_name(form->oprnamespace)),
                 NameStr(form->oprname));
    ReleaseSysCache(tuple);
    return name;
  });
}

std::string CollationClause(Oid collation) {
  const Oid schema = pg::Call([&] {
    HeapTuple tuple = SearchSysCache1(COLLOID, ObjectIdGetDatum(collation));
    if (!HeapTupleIsValid(tuple)) elog(ERROR, "cache lookup failed for collation %u", collation);
    const Oid found = reinterpret_cast<Form_pg_collation>(GETSTRUCT(tuple))->collnamespace;
    ReleaseSysCache(tuple);
    return found;
  });
  const char* name = pg::Call([&] { return get_collation_name(collation); });
  return " COLLATE " + Qualified(schema, name);
}

}  // namespace

KeyKind KindOfType(Oid type) {
  switch (type) {
    case UUIDOID:
      return KeyKind::kUuid;
    case INT2OID:
    case INT4OID:
    case INT8OID:
      return KeyKind::kInt8;
    default:
      return KeyKind::kText;
  }
}

KeyKind KindOfColumn(Oid relation, const std::string& column) {
  return KindOfType(FindColumn(relation, column).type);
}

HostKey DescribeKey(Oid relation, const std::string& column, KeyKind kind) {
  const KeyColumn found = FindColumn(relation, column);
  HostKey key;
  key.type = KeyTypeName(kind);
  if (kind != KeyKind::kText || !OidIsValid(found.type) || KindOfType(found.type) != kind)
    return key;
  if (found.type == TEXTOID || found.type == VARCHAROID) {
    key.varies = OidIsValid(found.collation) &&
                 !pg::Call([&] { return get_collation_isdeterministic(found.collation); });
    if (key.varies) key.collation = CollationClause(found.collation);
    return key;
  }
  const Oid equality =
      pg::Call([&] { return lookup_type_cache(found.type, TYPECACHE_EQ_OPR)->eq_opr; });
  if (!OidIsValid(equality)) return key;
  key.type = pg::Call([&] {
    // "bpchar", whose length is not 1 as that of "character" is.
    return format_type_extended(found.type, -1,
                                FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY);
  });
  key.equals = OperatorName(equality);
  key.is_foreign = found.type != BPCHAROID;
  key.varies = key.is_foreign;
  return key;
}

Datum KeyAsText(Oid type, Datum value) {
  const Oid base = getBaseType(type);
  if (base == BYTEAOID) {
    const Datum digits = DirectFunctionCall2(binary_encode, value, CStringGetTextDatum("hex"));
    return DirectFunctionCall2(textcat, CStringGetTextDatum("\\x"), digits);
  }
  Oid function = InvalidOid;
  switch (find_coercion_pathway(TEXTOID, base, COERCION_EXPLICIT, &function)) {
    case COERCION_PATH_FUNC:
      return OidFunctionCall1(function, value);
    case COERCION_PATH_RELABELTYPE:
      return value;
    default: {
      Oid output = InvalidOid;
      bool is_varlena = false;
      getTypeOutputInfo(base, &output, &is_varlena);
      return CStringGetTextDatum(OidOutputFunctionCall(output, value));
    }
  }
}

std::unordered_map<std::string, std::string> HostSpelling(
    const Binding& binding, const std::vector<std::string>& organizations) {
  std::unordered_map<std::string, std::string> spelling;
  const HostKey& key = binding.organization_type;
  if (!key.varies || organizations.empty()) return spelling;
  const std::string column = "o." + binding.organization_key;
  const pg::UserScope user(binding.organizations_owner(), true);
  const pg::MappingSettings settings("UTC");
  const pg::Rows rows = pg::Execute(
      "SELECT k.alerting_ordinal::pg_catalog.int4, " + column +
          "::pg_catalog.text FROM pg_catalog.unnest($1::pg_catalog.text[]::" + key.ArrayType() +
          ") WITH ORDINALITY AS k (alerting_key, alerting_ordinal) JOIN " +
          binding.organizations_rows + " o ON " + column + " " + key.equals + " k.alerting_key",
      pg::Params().TextArray(organizations));
  for (uint64_t row = 0; row < rows.size(); ++row) {
    const std::string& here = organizations[static_cast<size_t>(rows.Int(row, 0)) - 1];
    std::string there = rows.Text(row, 1);
    if (here != there) spelling.emplace(here, std::move(there));
  }
  return spelling;
}

}  // namespace alerting::ext
