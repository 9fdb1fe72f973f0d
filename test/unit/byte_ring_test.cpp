#include "core/byte_ring.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

namespace alerting {
namespace {

class ByteRingTest : public testing::Test {
 protected:
  std::string Drain() {
    std::string bytes;
    ring_->Drain(&bytes);
    return bytes;
  }

  std::vector<uint64_t> memory_ = std::vector<uint64_t>(ByteRing::MemoryFor(8) / 8);
  ByteRing* ring_ = ByteRing::Create(memory_.data(), 8);
};

TEST_F(ByteRingTest, KeepsOrderRoundItsEnd) {
  for (int round = 0; round < 20; ++round) {
    EXPECT_TRUE(ring_->Append("ab", "c"));
    EXPECT_TRUE(ring_->Append("de", "fg"));
    EXPECT_EQ(Drain(), "abcdefg");
  }
}

TEST_F(ByteRingTest, APartMayBeEmpty) {
  EXPECT_TRUE(ring_->Append("ab", {}));
  EXPECT_TRUE(ring_->Append({}, "c"));
  EXPECT_TRUE(ring_->Append({}, {}));
  EXPECT_EQ(Drain(), "abc");
}

TEST_F(ByteRingTest, TellsAndGivesAPart) {
  for (int round = 0; round < 20; ++round) {
    EXPECT_TRUE(ring_->Append("abc", "defg"));
    char bytes[3];
    ring_->Peek(2, bytes, sizeof(bytes));
    EXPECT_EQ(std::string_view(bytes, sizeof(bytes)), "cde");
    EXPECT_EQ(ring_->size(), 7);
    std::string part;
    ring_->Drain(&part, 4);
    EXPECT_EQ(part, "abcd");
    EXPECT_EQ(Drain(), "efg");
  }
}

TEST_F(ByteRingTest, TakesAllOrNothing) {
  EXPECT_TRUE(ring_->Append("12345", "67"));
  EXPECT_FALSE(ring_->Append("8", "9"));
  EXPECT_EQ(ring_->size(), 7);
  EXPECT_TRUE(ring_->Append("8", {}));
  EXPECT_EQ(ring_->free(), 0);
  EXPECT_EQ(Drain(), "12345678");
}

}  // namespace
}  // namespace alerting
