#include "core/message.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace alerting {
namespace {

std::string Write(const Message& message) {
  std::string bytes(MessageSize(message), '?');
  SampleContext context;
  const size_t size = WriteMessage(message, &context, bytes.data());
  EXPECT_LE(size, bytes.size());
  bytes.resize(size);
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

const std::string kKeys[] = {"",
                             "a",
                             "12345678",
                             "123456789",
                             std::string(254, 'k'),
                             std::string(255, 'k'),
                             std::string(kMaxKeyBytes, 'k'),
                             std::string("\0\1\2\0", 4)};

TEST(Message, EverySampleComesBack) {
  for (int present = 0; present < 64; ++present) {
    for (const std::string& key : kKeys) {
      const Message expected = MakeSample(static_cast<uint8_t>(present), key);
      const std::string bytes = Write(expected);
      MessageReader reader(bytes);
      Message message;
      ASSERT_TRUE(reader.Next(&message));
      ExpectSame(message, expected);
      EXPECT_FALSE(reader.Next(&message));
      EXPECT_FALSE(reader.malformed());
    }
  }
}

// What a sample leaves out, since the one before said it, is read from that one.
TEST(Message, SamplesComeBackInARow) {
  std::mt19937 generator(5);
  const auto random = [&] { return static_cast<uint32_t>(generator()); };
  std::string all(4000 * kMaxSampleBytes, '?');
  std::vector<Message> written;
  SampleContext context;
  size_t size = 0;
  for (int i = 0; i < 4000; ++i) {
    Message message =
        MakeSample(static_cast<uint8_t>(random() % 64), kKeys[random() % std::size(kKeys)]);
    message.sample.source = random() % 3;
    message.sample.at = static_cast<Micros>(random() % 3);
    message.sample.cpu = random() % 2 == 0 ? 1e300 : 0.1 * (random() % 1000);
    message.sample.memory = random() % 2 == 0 ? 16777217 : -0.0;
    if (random() % 5 == 0) {
      message.kind = MessageKind::kContainerChanged;
      message.sample = {.container = message.sample.container};
    }
    // A writer that has cut something off does not know what stands before.
    if (random() % 5 == 0) context.known = false;
    size += WriteMessage(message, &context, all.data() + size);
    written.push_back(message);
  }
  MessageReader reader(std::string_view(all).substr(0, size));
  Message message;
  for (const Message& expected : written) {
    ASSERT_TRUE(reader.Next(&message));
    ExpectSame(message, expected);
  }
  EXPECT_FALSE(reader.Next(&message));
  EXPECT_FALSE(reader.malformed());
}

TEST(Message, RepeatedTimeAndSourceTakeNoRoom) {
  const Message message = MakeSample(kCpu | kMemory | kRestarts | kRunning, "container-1");
  std::string bytes(2 * kMaxSampleBytes, '?');
  SampleContext context;
  const size_t first = WriteMessage(message, &context, bytes.data());
  const size_t second = WriteMessage(message, &context, bytes.data() + first);
  EXPECT_EQ(first, second + sizeof(Micros) + sizeof(uint32_t));
  EXPECT_EQ(second, sizeof(MessageHeader) + 3 * sizeof(float) + std::string("container-1").size());
}

TEST(Message, OtherKindsComeBack) {
  for (const MessageKind kind :
       {MessageKind::kRulesChanged, MessageKind::kContainerChanged, MessageKind::kBindingChanged,
        MessageKind::kContainerDeleted, MessageKind::kContainersTruncated, MessageKind::kNotice}) {
    Message message;
    message.kind = kind;
    if (kind == MessageKind::kContainerChanged || kind == MessageKind::kContainerDeleted ||
        kind == MessageKind::kNotice) {
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
    ASSERT_LE(count, bytes.size() / 4);
  }
}

}  // namespace
}  // namespace alerting
