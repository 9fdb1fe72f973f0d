// Implements ext/webhook_request.h.
#include "ext/webhook_request.h"

#include <algorithm>

#include "ext/signature.h"
#include "pg/guc.h"
#include "pg/pg_headers.h"

namespace alerting::ext {

namespace {

constexpr long kLongestConnectMs = 10'000;
constexpr int64_t kUnixEpochOffset =
    int64_t{POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE} * SECS_PER_DAY;

}  // namespace

net::Request MakeWebhookRequest(const std::string& url, const std::vector<std::string>& keys,
                                const std::string& delivery_id, std::string body, Micros now) {
  const int64_t unix_seconds = now / kSecond + kUnixEpochOffset;
  net::Request request;
  request.url = url;
  request.headers = {"Content-Type: application/json", "webhook-id: " + delivery_id,
                     "webhook-timestamp: " + std::to_string(unix_seconds)};
  if (!keys.empty()) {
    request.headers.push_back("webhook-signature: " + Sign(keys, delivery_id, unix_seconds, body));
  }
  request.body = std::move(body);
  request.total_timeout_ms = pg::guc_delivery_timeout_ms;
  request.connect_timeout_ms = std::min(request.total_timeout_ms, kLongestConnectMs);
  return request;
}

bool IsSuccess(const net::Response& response) {
  return response.status >= 200 && response.status < 300;
}

std::string FailureText(const net::Response& response) {
  if (IsSuccess(response)) return {};
  if (response.status == 0) return response.error;
  std::string text = "HTTP " + std::to_string(response.status);
  if (response.status >= 300 && response.status < 400) text += " (redirects are not followed)";
  return text;
}

}  // namespace alerting::ext
