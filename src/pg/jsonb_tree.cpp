// Implements pg/jsonb_tree.h.
#include "pg/jsonb_tree.h"

#include <cmath>

namespace alerting::pg {

namespace {

std::string_view TextOfKey(const JsonbPair& member) {
  return {member.key.val.string.val, static_cast<size_t>(member.key.val.string.len)};
}

// The order in which jsonb keeps keys.
bool IsBefore(std::string_view a, std::string_view b) {
  return a.size() != b.size() ? a.size() < b.size() : a < b;
}

JsonbValue ArrayWith(const JsonbValue& left, const JsonbValue& last) {
  const bool is_array = left.type == jbvArray;
  const int count = is_array ? left.val.array.nElems : 1;
  JsonbValue* elements = static_cast<JsonbValue*>(palloc(sizeof(JsonbValue) * (count + 1)));
  for (int i = 0; i < count; ++i) elements[i] = is_array ? left.val.array.elems[i] : left;
  elements[count] = last;
  JsonbValue value = {};
  value.type = jbvArray;
  value.val.array.nElems = count + 1;
  value.val.array.elems = elements;
  value.val.array.rawScalar = false;
  return value;
}

}  // namespace

JsonbValue JsonNull() {
  JsonbValue value = {};
  value.type = jbvNull;
  return value;
}

JsonbValue JsonText(OptionalText text) {
  if (!text) return JsonNull();
  JsonbValue value = {};
  value.type = jbvString;
  value.val.string.val = const_cast<char*>(text->data());
  value.val.string.len = static_cast<int>(text->size());
  return value;
}

JsonbValue JsonNumber(std::optional<double> number) {
  if (!number) return JsonNull();
  char* digits = float8out_internal(*number);
  if (!std::isfinite(*number)) return JsonText(digits);
  JsonbValue value = {};
  value.type = jbvNumeric;
  value.val.numeric = DatumGetNumeric(DirectFunctionCall3(
      numeric_in, CStringGetDatum(digits), ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
  return value;
}

JsonbValue JsonNumber(std::optional<int32_t> number) {
  if (!number) return JsonNull();
  JsonbValue value = {};
  value.type = jbvNumeric;
  value.val.numeric = int64_to_numeric(*number);
  return value;
}

JsonbPair JsonMember(std::string_view key, const JsonbValue& value) {
  JsonbPair member = {};
  member.key = JsonText(key);
  member.value = value;
  return member;
}

JsonbValue TreeOf(JsonbContainer* container) {
  check_stack_depth();
  JsonbValue tree, part;
  JsonbIterator* iterator = JsonbIteratorInit(container);
  JsonbIteratorToken token = JsonbIteratorNext(&iterator, &tree, true);
  // The iterator has counted what is in it and has no place for it.
  const bool is_object = token == WJB_BEGIN_OBJECT;
  if (is_object) {
    tree.val.object.pairs = static_cast<JsonbPair*>(
        palloc0(sizeof(JsonbPair) * static_cast<size_t>(tree.val.object.nPairs)));
  } else {
    tree.val.array.elems = static_cast<JsonbValue*>(
        palloc0(sizeof(JsonbValue) * static_cast<size_t>(tree.val.array.nElems)));
  }
  int at = 0;
  while ((token = JsonbIteratorNext(&iterator, &part, true)) != WJB_DONE) {
    if (token == WJB_KEY) {
      tree.val.object.pairs[at].key = part;
    } else if (token == WJB_VALUE || token == WJB_ELEM) {
      if (part.type == jbvBinary) part = TreeOf(part.val.binary.data);
      (is_object ? tree.val.object.pairs[at].value : tree.val.array.elems[at]) = part;
      ++at;
    }
  }
  return tree;
}

const JsonbValue* Member(const JsonbValue* value, std::string_view key) {
  if (value == nullptr || value->type != jbvObject) return nullptr;
  for (int i = 0; i < value->val.object.nPairs; ++i) {
    const JsonbPair& member = value->val.object.pairs[i];
    if (TextOfKey(member) == key) return &member.value;
  }
  return nullptr;
}

OptionalText TextOf(const JsonbValue* value) {
  if (value == nullptr || value->type == jbvNull) return std::nullopt;
  switch (value->type) {
    case jbvString:
      return std::string_view(value->val.string.val, static_cast<size_t>(value->val.string.len));
    case jbvBool:
      return value->val.boolean ? "true" : "false";
    case jbvNumeric:
      return DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
    default:
      return DatumGetCString(DirectFunctionCall1(jsonb_out, JsonbOf(*value)));
  }
}

JsonbValue Joined(const JsonbValue& left, const JsonbValue& right) {
  if (left.type != jbvObject) return ArrayWith(left, right);
  const auto& old = left.val.object;
  const auto& fresh = right.val.object;
  JsonbPair* members = static_cast<JsonbPair*>(
      palloc(sizeof(JsonbPair) * static_cast<size_t>(old.nPairs + fresh.nPairs)));
  int count = 0;
  for (int a = 0, b = 0; a < old.nPairs || b < fresh.nPairs;) {
    const bool take_old =
        b == fresh.nPairs ||
        (a < old.nPairs && IsBefore(TextOfKey(old.pairs[a]), TextOfKey(fresh.pairs[b])));
    if (!take_old && a < old.nPairs && TextOfKey(old.pairs[a]) == TextOfKey(fresh.pairs[b])) ++a;
    members[count++] = take_old ? old.pairs[a++] : fresh.pairs[b++];
  }
  JsonbValue value = {};
  value.type = jbvObject;
  value.val.object.nPairs = count;
  value.val.object.pairs = members;
  return value;
}

Datum JsonbOf(JsonbValue tree) { return JsonbPGetDatum(JsonbValueToJsonb(&tree)); }

}  // namespace alerting::pg
