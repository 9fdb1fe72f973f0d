#include "core/message.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace alerting {
namespace {

std::string Write(const Message& message) {
  std::string bytes(MessageSize(message), '?');
  EXPECT_EQ(bytes.size() % 8, 0u);
  EXPECT_EQ(WriteMessage(message, bytes.data()), bytes.size());
  return bytes;
}

void ExpectSame(const Message& a, const Message& b) {
  EXPECT_EQ(a.kind, b.kind);
  const Sample& x = a.sample;
  const Sample& y = b.sample;
  EXPECT_EQ(x.container, y.container);
  EXPECT_EQ(x.source, y.source);
  if (a.kind != MessageKind::kSample) return;
  EXPECT_EQ(x.at, y.at);
  ASSERT_EQ(x.present, y.present);
  if ((x.present & kRunning) != 0) {
    EXPECT_EQ(x.running, y.running);
  }
  if ((x.present & kCpu) != 0) {
    EXPECT_EQ(x.cpu, y.cpu);
  }
  if ((x.present & kMemory) != 0) {
    EXPECT_EQ(x.memory, y.memory);
  }
  if ((x.present & kMemoryUsed) != 0) {
    EXPECT_EQ(x.memory_used, y.memory_used);
  }
  if ((x.present & kMemoryLimit) != 0) {
    EXPECT_EQ(x.memory_limit, y.memory_limit);
  }
  if ((x.present & kRestarts) != 0) {
    EXPECT_EQ(x.restarts, y.restarts);
  }
}

Message MakeSample(uint8_t present, std::string_view key) {
  Message message;
  message.sample = {.container = key,
                    .at = -123456789,
                    .source = 42,
                    .present = present,
                    .running = (present & kCpu) != 0,
                    .cpu = 1.5,
                    .memory = 2.5,
                    .memory_used = 3e18,
                    .memory_limit = -4,
                    .restarts = 5};
  return message;
}

TEST(Message, EverySampleComesBack) {
  std::string all;
  std::vector<Message> written;
  const std::string keys[] = {
      "", "a", "12345678", "123456789", std::string(kMaxKeyBytes, 'k'), std::string("\0\1\2\0", 4)};
  for (int present = 0; present < 64; ++present) {
    for (const std::string& key : keys) {
      written.push_back(MakeSample(static_cast<uint8_t>(present), key));
      all += Write(written.back());
    }
  }
  MessageReader reader(all);
  Message message;
  for (const Message& expected : written) {
    ASSERT_TRUE(reader.Next(&message));
    ExpectSame(message, expected);
  }
  EXPECT_FALSE(reader.Next(&message));
  EXPECT_FALSE(reader.malformed());
}

TEST(Message, OtherKindsComeBack) {
  for (const MessageKind kind :
       {MessageKind::kRulesChanged, MessageKind::kContainerChanged, MessageKind::kBindingChanged,
        MessageKind::kContainerDeleted, MessageKind::kContainersTruncated}) {
    Message message;
    message.kind = kind;
    if (kind == MessageKind::kContainerChanged || kind == MessageKind::kContainerDeleted) {
      message.sample.container = "web-1";
    }
    const std::string bytes = Write(message);
    MessageReader reader(bytes);
    Message back;
    ASSERT_TRUE(reader.Next(&back));
    ExpectSame(back, message);
    EXPECT_FALSE(reader.Next(&back));
    EXPECT_FALSE(reader.malformed());
  }
}

TEST(Message, KeyThatIsTooLongBecomesNoContainer) {
  const std::string key(kMaxKeyBytes + 1, 'x');
  const std::string bytes = Write(MakeSample(kCpu, key));
  MessageReader reader(bytes);
  Message back;
  ASSERT_TRUE(reader.Next(&back));
  EXPECT_EQ(back.sample.container, "");
  EXPECT_EQ(back.sample.cpu, 1.5);
}

TEST(Message, AnOrdinaryRowIsSmall) {
  EXPECT_LE(Write(MakeSample(kCpu | kMemory, "clx0000000000000000000001")).size(), 64u);
}

TEST(Message, TruncationIsMalformed) {
  const std::string bytes = Write(MakeSample(63, "a key of some length"));
  for (size_t size = 1; size < bytes.size(); ++size) {
    MessageReader reader(std::string_view(bytes).substr(0, size));
    Message message;
    EXPECT_FALSE(reader.Next(&message)) << size;
    EXPECT_TRUE(reader.malformed()) << size;
    EXPECT_FALSE(reader.Next(&message)) << size;
  }
}

TEST(Message, HostileBytesEndTheReading) {
  std::mt19937 random(23);
  for (int round = 0; round < 20000; ++round) {
    std::string bytes(random() % 200, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random() % 4 == 0 ? random() : random() % 6);
    MessageReader reader(bytes);
    Message message;
    size_t count = 0;
    while (reader.Next(&message)) {
      ++count;
      if (message.sample.container.empty()) continue;
      const char* first = message.sample.container.data();
      ASSERT_GE(first, bytes.data());
      ASSERT_LE(first + message.sample.container.size(), bytes.data() + bytes.size());
    }
    ASSERT_LE(count, bytes.size() / 8);
  }
}

}  // namespace
}  // namespace alerting
