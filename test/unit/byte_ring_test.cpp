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
  EXPECT_TRUE(ring_->Append("f", {}));  // one waits always
  for (int round = 0; round < 20; ++round) {
    EXPECT_TRUE(ring_->Append("ab", "c"));
    EXPECT_TRUE(ring_->Append("de", "f"));
    std::string bytes;
    ring_->Drain(&bytes, 6);
    EXPECT_EQ(bytes, "fabcde");
  }
  EXPECT_EQ(Drain(), "f");
}

TEST_F(ByteRingTest, BeginsItsMemoryAnewWhereNothingWaits) {
  EXPECT_TRUE(ring_->Append("abc", "de"));
  EXPECT_EQ(Drain(), "abcde");
  EXPECT_TRUE(ring_->Append("fg", {}));
  EXPECT_TRUE(ring_->Append("h", {}));
  const char* bytes = reinterpret_cast<const char*>(memory_.data()) + ByteRing::MemoryFor(0);
  EXPECT_EQ(std::string_view(bytes, 5), "fghde");
  EXPECT_EQ(ring_->head(), 8);
  EXPECT_EQ(Drain(), "fgh");
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
