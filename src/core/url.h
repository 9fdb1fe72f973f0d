// The part of a webhook's URL that decides where a request goes. Used by backends (check_webhook)
// and by the sender; pure.
//
// Invariant: what ParseUrl accepts, libcurl reads the same way: no userinfo, no byte outside
// printable ASCII, no percent-encoded host. Errors never quote the path, the query or userinfo.
#ifndef ALERTING_CORE_URL_H_
#define ALERTING_CORE_URL_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/address_policy.h"

namespace alerting {

inline constexpr size_t kMaxUrlBytes = 4096;

struct Url {
  bool https = false;
  std::string host;  // lower case, IPv6 without brackets
  uint16_t port = 0;
  std::optional<IpAddress> address;  // when the host is a literal address in any spelling

  // The host is "localhost" or below it, which resolvers answer without asking anybody.
  bool IsLocalhost() const;
  // "scheme://host:port": all of a URL that may appear in a log.
  std::string Origin() const;
};

// Takes an absolute http or https URL. nullopt: `error` says what is wrong with it.
std::optional<Url> ParseUrl(std::string_view text, std::string* error);

}  // namespace alerting

#endif  // ALERTING_CORE_URL_H_
