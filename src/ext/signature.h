// Signatures of the Standard Webhooks specification. Sender, and backends that check or test a
// webhook. Needs no transaction.
#ifndef ALERTING_EXT_SIGNATURE_H_
#define ALERTING_EXT_SIGNATURE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace alerting::ext {

// The key that a webhook's secret stands for: "whsec_" + base64 is decoded, anything else is its
// own bytes. nullopt: the base64 is malformed or empty.
std::optional<std::string> SecretKey(std::string_view secret);

// The value of webhook-signature over exactly these bytes.
std::string Sign(std::string_view key, std::string_view id, int64_t unix_seconds,
                 std::string_view body);

}  // namespace alerting::ext

#endif  // ALERTING_EXT_SIGNATURE_H_
