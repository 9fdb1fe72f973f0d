// Implements ext/webhook/webhook_request.h.
#include "ext/webhook/webhook_request.h"

#include <algorithm>

#include "core/request_header.h"
#include "ext/webhook/signature.h"
#include "pg/guc.h"
#include "pg/pg_headers.h"

namespace alerting::ext {

namespace {

constexpr long kLongestConnectMs = 10'000;
constexpr int64_t kUnixEpochOffset =
    int64_t{POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE} * SECS_PER_DAY;

}  // namespace

int64_t UnixSeconds(Micros time) { return time / kSecond + kUnixEpochOffset; }

std::optional<std::vector<std::string>> HeaderLines(std::string_view text) {
  constexpr std::string_view kSeparator = ": ";
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    const size_t colon = line.find(kSeparator);
    if (colon == std::string_view::npos) return std::nullopt;
    const std::string_view value = line.substr(colon + kSeparator.size());
    if (!HeaderProblem(line.substr(0, colon), value).empty()) return std::nullopt;
    lines.emplace_back(line);
  }
  return lines;
}

Phases PhasesOf(const net::Timings& timings) {
  const auto phase = [](double milliseconds) {
    return milliseconds > 0 ? std::optional(static_cast<float>(milliseconds)) : std::nullopt;
  };
  return {phase(timings.dns), phase(timings.connect), phase(timings.tls), phase(timings.wait)};
}

net::Request MakeWebhookRequest(const std::string& url, const std::vector<std::string>& keys,
                                const std::vector<std::string>& headers,
                                const std::string& delivery_id, std::string body, Micros now,
                                net::Request answered) {
  const int64_t unix_seconds = UnixSeconds(now);
  net::Request request = std::move(answered);
  request.url = url;
  size_t count = 0;
  const auto add = [&](std::string_view name, std::string_view value) {
    if (count == request.headers.size()) request.headers.emplace_back();
    request.headers[count++].assign(name).append(value);
  };
  add("Content-Type: ", "application/json");
  add("webhook-id: ", delivery_id);
  add("webhook-timestamp: ", std::to_string(unix_seconds));
  if (!keys.empty()) add("webhook-signature: ", Sign(keys, delivery_id, unix_seconds, body));
  for (const std::string& header : headers) add(header, {});
  request.headers.resize(count);
  request.body = std::move(body);
  request.total_timeout_ms = pg::guc_delivery_timeout_ms;
  request.connect_timeout_ms = std::min(request.total_timeout_ms, kLongestConnectMs);
  return request;
}

AddressPolicy AllowedNetworks() {
  std::string ignored;  // the setting's check hook refuses what does not parse
  const char* networks = pg::guc_allowed_networks;
  return AddressPolicy::Parse(networks == nullptr ? "" : networks, &ignored)
      .value_or(AddressPolicy());
}

net::TlsFiles TlsSettings() {
  const auto text = [](const char* value) { return std::string(value == nullptr ? "" : value); };
  return {text(pg::guc_ca_file), text(pg::guc_client_certificate_file),
          text(pg::guc_client_key_file)};
}

bool IsSuccess(const net::Response& response) {
  return response.status >= 200 && response.status < 300;
}

std::string FailureText(const net::Response& response) {
  if (IsSuccess(response)) return {};
  if (response.status == 0) return response.error;
  std::string text = "HTTP " + std::to_string(response.status);
  constexpr int kNotModified = 304;
  if (response.status >= 300 && response.status < 400 && response.status != kNotModified)
    text += " (redirects are not followed)";
  return text;
}

}  // namespace alerting::ext
