// The headers that a webhook's owner may add to its requests. Used by backends (check_webhook) and
// by the sender; pure.
//
// Invariant: what is accepted is one line of printable ASCII, and takes no part in how a request is
// framed, routed, signed or trusted. Reasons never quote a value: it may be a secret.
#ifndef ALERTING_CORE_REQUEST_HEADER_H_
#define ALERTING_CORE_REQUEST_HEADER_H_

#include <cstddef>
#include <string>
#include <string_view>

namespace alerting {

inline constexpr size_t kMaxHeaders = 20;
inline constexpr size_t kMaxHeaderNameBytes = 100;
inline constexpr size_t kMaxHeaderValueBytes = 4096;
inline constexpr size_t kMaxHeadersBytes = 16 * 1024;

// Why a request must not have this header, as what follows `headers`: "holds ..."; "": it may.
std::string HeaderProblem(std::string_view name, std::string_view value);

// ASCII letters in lower case: names are compared so.
std::string LowerHeaderName(std::string_view name);

}  // namespace alerting

#endif  // ALERTING_CORE_REQUEST_HEADER_H_
