// The queue's bytes as the evaluator reads them: anything may stand there. What is read is written
// again and must read the same.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "core/message.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using alerting::Message;
  using alerting::MessageReader;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  MessageReader reader(bytes);
  Message message;
  while (reader.Next(&message)) {
    std::string again(MessageSize(message), '\0');
    alerting::SampleContext context;
    const size_t written = WriteMessage(message, &context, again.data());
    if (written > again.size()) std::abort();
    again.resize(written);
    MessageReader second(again);
    Message back;
    if (!second.Next(&back) || second.malformed()) std::abort();
    if (back.kind != message.kind || back.sample.container != message.sample.container ||
        back.sample.present != message.sample.present || back.sample.at != message.sample.at) {
      std::abort();
    }
  }
  return 0;
}
