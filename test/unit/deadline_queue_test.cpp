#include "core/deadline_queue.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace alerting {
namespace {

TEST(DeadlineQueue, EmptyHasNoWall) {
  DeadlineQueue queue;
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.nearest_wall(), kNever);
  queue.Remove(5);
  EXPECT_TRUE(queue.empty());
}

TEST(DeadlineQueue, AgreesWithAMap) {
  DeadlineQueue queue;
  std::map<uint32_t, Micros> model;
  std::mt19937 random(5);
  for (int i = 0; i < 50000; ++i) {
    const auto container = static_cast<uint32_t>(random() % 300);
    if (random() % 3 == 0) {
      queue.Remove(container);
      model.erase(container);
    } else {
      const auto wall = static_cast<Micros>(random() % 1000);
      queue.Set(container, wall);
      model[container] = wall;
    }
    Micros nearest = kNever;
    for (const auto& [key, wall] : model) nearest = std::min(nearest, wall);
    ASSERT_EQ(queue.nearest_wall(), nearest);
    if (!queue.empty()) {
      ASSERT_EQ(model.at(queue.nearest()), nearest);
    }
    ASSERT_EQ(queue.empty(), model.empty());
  }
}

}  // namespace
}  // namespace alerting
