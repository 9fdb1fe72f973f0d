// What goes over the wire for one delivery, and what an answer means: the same for the sender and
// for alerting.test_webhook().
#ifndef ALERTING_EXT_WEBHOOK_WEBHOOK_REQUEST_H_
#define ALERTING_EXT_WEBHOOK_WEBHOOK_REQUEST_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/address_policy.h"
#include "core/time.h"
#include "net/webhook_client.h"

namespace alerting::ext {

int64_t UnixSeconds(Micros time);

// `keys`: SecretKeys of the webhook; none when it has no secret: then nothing is signed.
// `headers`: HeaderLines of the webhook.
// `answered`: a request that is done, whose memory is used again: each takes a dozen pieces.
net::Request MakeWebhookRequest(const std::string& url, const std::vector<std::string>& keys,
                                const std::vector<std::string>& headers,
                                const std::string& delivery_id, std::string body, Micros now,
                                net::Request answered = {});

// One "name: value" a line; nullopt when a request must not have one of them.
std::optional<std::vector<std::string>> HeaderLines(std::string_view text);

// Milliseconds of an attempt's phases; none: it was not reached, or not needed on a kept
// connection.
struct Phases {
  std::optional<float> dns;
  std::optional<float> connect;
  std::optional<float> tls;
  std::optional<float> wait;
};
Phases PhasesOf(const net::Timings& timings);

// alerting.allowed_networks, as a policy.
AddressPolicy AllowedNetworks();
// alerting.ca_file, client_certificate_file, client_key_file.
net::TlsFiles TlsSettings();

bool IsSuccess(const net::Response& response);
// Why the delivery did not succeed, in words; empty when it did.
std::string FailureText(const net::Response& response);

}  // namespace alerting::ext

#endif  // ALERTING_EXT_WEBHOOK_WEBHOOK_REQUEST_H_
