// Signatures of the Standard Webhooks specification. Sender, and backends that check or test a
// webhook. Needs no transaction.
#ifndef ALERTING_EXT_WEBHOOK_SIGNATURE_H_
#define ALERTING_EXT_WEBHOOK_SIGNATURE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace alerting::ext {

// The keys that a webhook's secret stands for: "whsec_" + base64 is decoded, and several of these
// may stand side by side, separated by spaces, while one replaces the other; anything else is one
// key, its own bytes. nullopt: the base64 is malformed or empty.
std::optional<std::vector<std::string>> SecretKeys(std::string_view secret);

// A new secret: "whsec_" and 32 random bytes.
std::string NewSecret();

// The value of webhook-signature over exactly these bytes: one signature for each key.
std::string Sign(const std::vector<std::string>& keys, std::string_view id, int64_t unix_seconds,
                 std::string_view body);

}  // namespace alerting::ext

#endif  // ALERTING_EXT_WEBHOOK_SIGNATURE_H_
