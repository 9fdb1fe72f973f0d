#include "core/container_index.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>

namespace alerting {
namespace {

TEST(ContainerIndex, AgreesWithAMapUnderChurn) {
  ContainerIndex index(99);
  std::map<std::string, uint32_t> model;
  std::mt19937 random(17);
  for (int i = 0; i < 200000; ++i) {
    std::string key(random() % 40, 'k');
    for (char& byte : key) byte = static_cast<char>('a' + random() % 2);
    const auto known = model.find(key);
    ASSERT_EQ(index.Find(key), known == model.end() ? kNil : known->second);
    if (known == model.end()) {
      model[key] = index.Insert(key);
      ASSERT_EQ(index.Key(model[key]), key);
    } else if (random() % 2 == 0) {
      index.Erase(known->second);
      ASSERT_FALSE(index.IsLive(known->second));
      model.erase(known);
    }
    ASSERT_EQ(index.count(), model.size());
  }
  for (const auto& [key, number] : model) {
    EXPECT_EQ(index.Find(key), number);
    EXPECT_EQ(index.Key(number), key);
  }
}

TEST(ContainerIndex, KeysOfAnyLength) {
  ContainerIndex index(1);
  std::map<std::string, uint32_t> model;
  for (const size_t length : {0u, 1u, 7u, 8u, 9u, 16u, 17u, 33u, 1024u, 1088u, 5000u, 100000u}) {
    const std::string key(length, 'x');
    model[key] = index.Insert(key);
  }
  for (const auto& [key, number] : model) EXPECT_EQ(index.Find(key), number) << key.size();
  for (const auto& [key, number] : model) index.Erase(number);
  for (const auto& [key, number] : model) EXPECT_EQ(index.Find(key), kNil) << key.size();
  EXPECT_EQ(index.count(), 0u);
}

TEST(ContainerIndex, NumbersStayDense) {
  ContainerIndex index(1);
  for (int round = 0; round < 100; ++round) {
    for (int i = 0; i < 10; ++i) index.Insert(std::to_string(i));
    for (int i = 0; i < 10; ++i) index.Erase(index.Find(std::to_string(i)));
  }
  EXPECT_EQ(index.limit(), 10u);
}

TEST(ContainerIndex, SeedsHashDifferently) {
  const ContainerIndex a(1);
  const ContainerIndex b(2);
  int same = 0;
  for (int i = 0; i < 1000; ++i) {
    const std::string key = "container-" + std::to_string(i);
    same += (a.Hash(key) & 1023) == (b.Hash(key) & 1023) ? 1 : 0;
  }
  EXPECT_LT(same, 20);
}

}  // namespace
}  // namespace alerting
