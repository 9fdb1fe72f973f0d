#include "core/number_set.h"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <vector>

namespace alerting {
namespace {

TEST(NumberSetTest, IsEmptyAtFirst) {
  NumberSet set;
  EXPECT_TRUE(set.empty());
  EXPECT_EQ(set.Numbers(), std::vector<uint32_t>());
  set.Erase(3);
  EXPECT_TRUE(set.empty());
}

TEST(NumberSetTest, HoldsWhatAnotherSetHolds) {
  std::mt19937 random(5);
  NumberSet set;
  std::set<uint32_t> other;
  for (int step = 0; step < 5000; ++step) {
    const auto number = static_cast<uint32_t>(random() % 300);
    if (random() % 3 == 0) {
      set.Erase(number);
      other.erase(number);
    } else {
      set.Insert(number);
      other.insert(number);
    }
    ASSERT_EQ(set.size(), other.size());
    ASSERT_EQ(set.empty(), other.empty());
    if (step % 50 != 0) continue;
    ASSERT_EQ(set.Numbers(), std::vector<uint32_t>(other.begin(), other.end()));
  }
}

}  // namespace
}  // namespace alerting
