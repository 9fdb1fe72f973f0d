// The version of the extension's SQL that this library serves. Any process.
#ifndef ALERTING_EXT_VERSION_H_
#define ALERTING_EXT_VERSION_H_

namespace alerting::ext {

inline constexpr char kServedVersion[] = "1.1";

}  // namespace alerting::ext

#endif  // ALERTING_EXT_VERSION_H_
