// jsonb as a tree of JsonbValues: objects are put together, or changed, and made a jsonb once, at
// the end. (jsonb_build_object() and || make one at each step.) Any process.
//
// Trees lie in the current memory context, and their texts and keys where they came from. These
// functions may raise PostgreSQL's errors: they are called within pg::Call.
#ifndef ALERTING_PG_JSONB_TREE_H_
#define ALERTING_PG_JSONB_TREE_H_

#include <cstdint>
#include <optional>
#include <string_view>

#include "pg/guard.h"

namespace alerting::pg {

using OptionalText = std::optional<std::string_view>;  // nullopt is NULL

JsonbValue JsonNull();
JsonbValue JsonText(OptionalText text);
// As to_jsonb() makes it: a text where JSON has no number for it (NaN, Infinity).
JsonbValue JsonNumber(std::optional<double> number);
JsonbValue JsonNumber(std::optional<int32_t> number);
JsonbPair JsonMember(std::string_view key, const JsonbValue& value);

// `members` in the order in which jsonb keeps keys (shorter ones first); they stay where they are.
template <size_t N>
JsonbValue JsonObject(JsonbPair (&members)[N]) {
  JsonbValue value = {};
  value.type = jbvObject;
  value.val.object.nPairs = N;
  value.val.object.pairs = members;
  return value;
}

JsonbValue TreeOf(JsonbContainer* container);
// What an object has under a key; nullptr where it has nothing, and in what is no object.
const JsonbValue* Member(const JsonbValue* value, std::string_view key);
// As ->> gives it.
OptionalText TextOf(const JsonbValue* value);
// As left || right, where right is an object.
JsonbValue Joined(const JsonbValue& left, const JsonbValue& right);

Datum JsonbOf(JsonbValue tree);

}  // namespace alerting::pg

#endif  // ALERTING_PG_JSONB_TREE_H_
