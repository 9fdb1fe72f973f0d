// What strangers write and webhooks depend on: URLs, addresses, lists of networks, Retry-After,
// responses. Whatever the bytes are, answers keep their promises.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "core/address_policy.h"
#include "core/retry_after.h"
#include "core/safe_text.h"
#include "core/url.h"

namespace {

using namespace alerting;

void Require(bool promise) {
  if (!promise) std::abort();
}

void CheckUrl(std::string_view text) {
  std::string error;
  const auto url = ParseUrl(text, &error);
  if (!url) {
    Require(!error.empty());
    return;
  }
  Require(url->port != 0 && !url->host.empty());
  // What is logged of a URL is a URL of the same place, and holds nothing else.
  const auto again = ParseUrl(url->Origin(), &error);
  Require(again && again->host == url->host && again->port == url->port &&
          again->https == url->https && again->address == url->address);
  Require(url->Origin().find('@') == std::string::npos);
}

void CheckAddress(std::string_view text) {
  const auto address = ParseIpAddress(text);
  if (address) Require(ParseIpAddress(FormatIpAddress(*address)) == address);
  const auto loose = ParseLooseIpv4(text);
  if (loose) Require(ParseIpAddress(FormatIpAddress(*loose)) == loose);
  std::string error;
  const auto policy = AddressPolicy::Parse(text, &error);
  Require(policy.has_value() || !error.empty());
  for (const auto& judged : {address, loose}) {
    if (!judged) continue;
    Require(AddressPolicy().Refusal(*judged) == AddressPolicy::SpecialKind(*judged));
    if (policy && policy->IsListed(*judged)) Require(policy->Refusal(*judged).empty());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  CheckUrl(text);
  CheckAddress(text);
  if (const auto pause = ParseRetryAfter(text, 0)) Require(*pause >= 0 && *pause <= kMaxRetryAfter);
  for (const bool ascii_only : {false, true}) {
    const std::string safe = SafeText(text, ascii_only);
    Require(SafeText(safe, ascii_only) == safe);
  }
  return 0;
}
