// Between the database's encoding and UTF-8, which webhooks speak. Inside a transaction.
#ifndef ALERTING_EXT_WEBHOOK_TEXT_ENCODING_H_
#define ALERTING_EXT_WEBHOOK_TEXT_ENCODING_H_

#include <optional>
#include <string>
#include <string_view>

namespace alerting::ext {

// nullopt: a character has no UTF-8 form, or the bytes are not text in the database's encoding.
std::optional<std::string> ToUtf8(std::string text);

// What strangers sent, as text of this database.
std::string ResponseText(std::string_view bytes);

}  // namespace alerting::ext

#endif  // ALERTING_EXT_WEBHOOK_TEXT_ENCODING_H_
