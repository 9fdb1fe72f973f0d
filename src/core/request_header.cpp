#include "core/request_header.h"

#include <algorithm>

namespace alerting {
namespace {

bool IsAlphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// RFC 9110, 5.6.2.
bool IsToken(std::string_view name) {
  constexpr std::string_view kOthers = "!#$%&'*+-.^_`|~";
  return !name.empty() && std::all_of(name.begin(), name.end(), [&](char c) {
    return IsAlphanumeric(c) || kOthers.find(c) != std::string_view::npos;
  });
}

bool IsPrintable(std::string_view value) {
  return std::all_of(value.begin(), value.end(), [](char c) { return c >= 0x20 && c <= 0x7e; });
}

// What libcurl and the sender write themselves, what frames a message or concerns one connection,
// what a proxy in front of the endpoint vouches for, and what cloud providers ask of whoever wants
// an instance's credentials.
bool IsReserved(std::string_view lower) {
  constexpr std::string_view kPrefixes[] = {"webhook-",     "svix-",      "alerting-",
                                            "content-",     "proxy-",     "sec-",
                                            "x-forwarded-", "x-aws-ec2-", "x-google-metadata"};
  constexpr std::string_view kNames[] = {"accept-encoding",
                                         "connection",
                                         "date",
                                         "expect",
                                         "forwarded",
                                         "host",
                                         "http2-settings",
                                         "keep-alive",
                                         "metadata",
                                         "metadata-flavor",
                                         "te",
                                         "trailer",
                                         "transfer-encoding",
                                         "upgrade",
                                         "user-agent",
                                         "via",
                                         "x-http-method-override",
                                         "x-real-ip"};
  return std::any_of(std::begin(kPrefixes), std::end(kPrefixes),
                     [&](std::string_view prefix) { return lower.starts_with(prefix); }) ||
         std::find(std::begin(kNames), std::end(kNames), lower) != std::end(kNames);
}

}  // namespace

std::string LowerHeaderName(std::string_view name) {
  std::string lower(name);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  return lower;
}

std::string HeaderProblem(std::string_view name, std::string_view value) {
  if (name.size() > kMaxHeaderNameBytes) {
    return "holds a name longer than " + std::to_string(kMaxHeaderNameBytes) + " bytes";
  }
  if (!IsToken(name)) return "holds a name that is no token of HTTP";
  const std::string quoted = "\"" + std::string(name) + "\"";
  if (IsReserved(LowerHeaderName(name))) return "holds " + quoted + ", which is reserved";
  if (value.size() > kMaxHeaderValueBytes) {
    return "holds a value longer than " + std::to_string(kMaxHeaderValueBytes) + " bytes for " +
           quoted;
  }
  if (!IsPrintable(value)) return "holds a value that is not printable ASCII for " + quoted;
  if (value.empty() || value.front() == ' ' || value.back() == ' ') {
    return "holds a value that is empty, or begins or ends with a space, for " + quoted;
  }
  return {};
}

}  // namespace alerting
