// Makes text of bytes that a stranger sent: the start of a webhook's response, for the delivery
// log.
#ifndef ALERTING_CORE_SAFE_TEXT_H_
#define ALERTING_CORE_SAFE_TEXT_H_

#include <string>
#include <string_view>

namespace alerting {

// Valid UTF-8 without control characters but tab and line breaks; each other byte becomes U+FFFD.
// A sequence cut off at the end is left out. `ascii_only`: every other character becomes '?', for
// databases whose encoding is not UTF-8.
std::string SafeText(std::string_view bytes, bool ascii_only);

}  // namespace alerting

#endif  // ALERTING_CORE_SAFE_TEXT_H_
