#include "core/chunk.h"

#include <gtest/gtest.h>

#include <deque>
#include <random>
#include <string>
#include <vector>

namespace alerting {
namespace {

constexpr size_t kCapacity = 4096;
constexpr size_t kEnough = 300;

class ChunkTest : public testing::Test {
 protected:
  bool Append(const std::string& messages) {
    ChunkHeader header;
    header.bytes = static_cast<uint32_t>(messages.size());
    header.committed_at = static_cast<Micros>(messages.size());
    return ring_->Append({reinterpret_cast<const char*>(&header), sizeof(header)}, messages);
  }

  // The messages of the chunks that are taken at once.
  std::vector<std::string> Take() {
    std::string bytes;
    DrainChunks(ring_, kEnough, &bytes);
    std::vector<std::string> taken;
    std::string_view rest = bytes;
    ChunkHeader header;
    std::string_view messages;
    while (NextChunk(&rest, &header, &messages)) {
      EXPECT_EQ(header.committed_at, static_cast<Micros>(messages.size()));
      taken.emplace_back(messages);
    }
    EXPECT_EQ(rest, "");
    return taken;
  }

  std::vector<uint64_t> memory_ = std::vector<uint64_t>(ByteRing::MemoryFor(kCapacity) / 8);
  ByteRing* ring_ = ByteRing::Create(memory_.data(), kCapacity);
};

TEST_F(ChunkTest, NothingWaits) { EXPECT_TRUE(Take().empty()); }

TEST_F(ChunkTest, OneLargerThanEnoughIsTakenAlone) {
  EXPECT_TRUE(Append(std::string(2 * kEnough, 'a')));
  EXPECT_TRUE(Append("b"));
  EXPECT_EQ(Take(), std::vector<std::string>{std::string(2 * kEnough, 'a')});
  EXPECT_EQ(Take(), std::vector<std::string>{"b"});
}

TEST_F(ChunkTest, AllComeOnceInOrderAndNoneInParts) {
  std::mt19937 random(7);
  std::deque<std::string> waiting;
  for (int step = 0; step < 20'000; ++step) {
    if (random() % 4 != 0) {
      const size_t size = random() % 8 == 0 ? random() % (2 * kEnough) : random() % 40;
      std::string messages(size, static_cast<char>('a' + step % 26));
      if (Append(messages)) waiting.push_back(std::move(messages));
      continue;
    }
    size_t bytes = 0;
    for (const std::string& messages : Take()) {
      EXPECT_LT(bytes, kEnough);  // without this one it was not enough
      bytes += sizeof(ChunkHeader) + messages.size();
      ASSERT_FALSE(waiting.empty());
      EXPECT_EQ(messages, waiting.front());
      waiting.pop_front();
    }
    EXPECT_TRUE(bytes >= kEnough || waiting.empty());
  }
}

}  // namespace
}  // namespace alerting
