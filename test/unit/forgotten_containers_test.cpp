#include "core/forgotten_containers.h"

#include <gtest/gtest.h>

#include <map>

namespace alerting {
namespace {

using Keys = std::unordered_map<std::string, Micros>;

// What a restart reads of the chunks that were saved.
Keys Saved(ForgottenContainers* forgotten, std::map<uint32_t, Keys>* chunks) {
  for (const uint32_t chunk : forgotten->changed().Numbers()) {
    Keys& saved = (*chunks)[chunk];
    saved.clear();
    for (const auto& [key, state] : forgotten->EncodeChunk(chunk)) {
      RowsRead rows;
      EXPECT_TRUE(IsRowsRead(state) && DecodeRowsRead(state, &rows));
      for (const auto& [source, time] : rows) {
        if (source == 1) saved.emplace(key, time);
      }
    }
    forgotten->MarkSaved(chunk);
  }
  Keys all;
  for (const auto& [chunk, saved] : *chunks) all.insert(saved.begin(), saved.end());
  return all;
}

TEST(ForgottenContainersTest, KeepsUntilWhenRowsWereTheirs) {
  ForgottenContainers forgotten;
  forgotten.Add("web", {{1, 50}, {2, 70}});
  forgotten.Add("never read", {});
  EXPECT_EQ(forgotten.RowsOf(1), (Keys{{"web", 50}}));
  EXPECT_EQ(forgotten.RowsOf(2), (Keys{{"web", 70}}));
  EXPECT_EQ(forgotten.RowsOf(3), Keys());
}

TEST(ForgottenContainersTest, OfSeveralUnderOneKeyTheOneThatWentLastCounts) {
  ForgottenContainers forgotten;
  forgotten.Add("web", {{1, 50}, {2, 70}});
  forgotten.Add("web", {{1, 40}});
  EXPECT_EQ(forgotten.RowsOf(1), (Keys{{"web", 40}}));
  EXPECT_EQ(forgotten.RowsOf(2), (Keys{{"web", 70}}));
}

TEST(ForgottenContainersTest, EachChangeIsInTheChunksThatAreSaved) {
  ForgottenContainers forgotten;
  std::map<uint32_t, Keys> chunks;
  for (int i = 0; i < 1000; ++i) {
    forgotten.Add("c" + std::to_string(i % 300), {{1, i}});
    if (i % 7 == 0) {
      forgotten.Drop([&](const std::string&, uint32_t, Micros read) { return read > i - 200; });
    }
    ASSERT_LE(forgotten.changed().size(), 300U);
    ASSERT_EQ(Saved(&forgotten, &chunks), forgotten.RowsOf(1)) << i;
    for (const auto& [chunk, saved] : chunks) ASSERT_LE(saved.size(), 32U);
  }
  EXPECT_LE(chunks.size(), 10U);  // places are used again
}

TEST(ForgottenContainersTest, AnAdditionChangesOneChunk) {
  ForgottenContainers forgotten;
  std::map<uint32_t, Keys> chunks;
  for (int i = 0; i < 100; ++i) {
    forgotten.Add("c" + std::to_string(i), {{1, i}});
    EXPECT_EQ(forgotten.changed().size(), 1U);
    (void)Saved(&forgotten, &chunks);
  }
  forgotten.MarkAllChanged();
  EXPECT_EQ(forgotten.changed().size(), 4U);
}

TEST(ForgottenContainersTest, ThereIsAMost) {
  ForgottenContainers forgotten;
  for (int i = 0; i < 100'010; ++i) forgotten.Add(std::to_string(i), {{1, i}});
  EXPECT_EQ(forgotten.size(), 100'000U);
  EXPECT_TRUE(forgotten.RowsOf(1).contains("100009"));
}

TEST(ForgottenContainersTest, DamagedBytesAreTold) {
  RowsRead rows;
  EXPECT_FALSE(IsRowsRead(""));
  EXPECT_FALSE(DecodeRowsRead(EncodeRowsRead({{1, 2}}).substr(0, 5), &rows));
  EXPECT_FALSE(DecodeRowsRead("\x01", &rows));
}

}  // namespace
}  // namespace alerting
