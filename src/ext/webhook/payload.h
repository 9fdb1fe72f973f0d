// What a webhook receives, as jsonb, and the words in it. The evaluator, and any backend through
// the SQL functions of the same names.
//
// All of it is made in the current memory context, and none of it is a C++ object that has to be
// destroyed: these functions may raise PostgreSQL's errors, so they are called within pg::Call.
#ifndef ALERTING_EXT_WEBHOOK_PAYLOAD_H_
#define ALERTING_EXT_WEBHOOK_PAYLOAD_H_

#include <cstdint>
#include <optional>
#include <string_view>

#include "pg/jsonb_tree.h"

namespace alerting::ext {

using pg::OptionalText;

// What fired, and where.
struct FiringAlert {
  OptionalText alert_id;
  OptionalText rule_id;
  OptionalText rule_name;
  OptionalText condition;
  std::optional<double> threshold;
  std::optional<int32_t> duration;  // minutes
  OptionalText container_id;
  OptionalText container_name;
  OptionalText organization_id;
  OptionalText organization_name;
  std::optional<TimestampTz> started_at;
  std::optional<TimestampTz> fired_at;
  std::optional<double> value;
};

// The body of an alert's beginning.
Datum FiringPayload(const FiringAlert& alert);

// The body of its end, told with the words of its beginning: who got no FIRING gets no RESOLVED.
Datum ResolvedPayload(Jsonb* firing, std::optional<TimestampTz> resolved_at, OptionalText reason);

// "CPU usage 97.2 % is above 80 %": the line a person reads first.
OptionalText ConditionSummary(OptionalText condition, std::optional<double> threshold,
                              std::optional<int32_t> duration, std::optional<double> value);

// In UTC with milliseconds; nullopt for what is no moment (infinity).
OptionalText Rfc3339(std::optional<TimestampTz> moment);

}  // namespace alerting::ext

#endif  // ALERTING_EXT_WEBHOOK_PAYLOAD_H_
