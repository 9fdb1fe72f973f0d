#include "core/saved_state.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>

namespace alerting {
namespace {

SavedContainer Full() {
  SavedContainer saved;
  saved.has = 0b1111;
  saved.readings[kCpuStream] = {800'000'000 * kSecond, 800'000'001 * kSecond, 1, 95.125};
  saved.readings[kMemoryStream] = {-5, 5, UINT32_MAX, 1.0 / 3};
  saved.readings[kRunningStream] = {kNoTime + 1, kNever, 7, 1};
  saved.readings[kRestartsStream] = {kNever - 1, kNoTime, 0, 1e300};
  saved.has_previous = true;
  saved.previous = -0.0;
  saved.has_memory = true;
  saved.memory.has_used = true;
  saved.memory.used = -1;
  saved.memory.used_at = 3;
  saved.memory.has_limit = true;
  saved.memory.limit = 0;
  saved.memory.limit_at = 4;
  saved.memory_given = true;
  saved.gains = {{-100, 1}, {0, -2.5}, {kHour, std::numeric_limits<double>::infinity()}};
  saved.judged.ahead = {{-7, 0}, {-7, UINT32_MAX}, {kHour, 5}};
  saved.judged.superseded = {{kNever, kCpu, 1.5}, {3, kMemoryLimit, 0}, {kNoTime, kRestarts, -1}};
  SavedRuleState& firing = saved.states.emplace_back();
  firing.rule_id = "firing";
  firing.phase = Phase::kFiring;
  firing.by_silence = true;
  firing.from_alert = true;
  firing.since = 1;
  firing.turned_at = 2;
  firing.peak = 99.9;
  firing.condition = Condition::kRestartLoop;
  firing.no_data = NoData::kFire;
  firing.threshold = std::numeric_limits<double>::infinity();
  firing.duration = kNever;
  SavedRuleState& again = saved.states.emplace_back();
  again.rule_id = std::string("pending\0again", 13);
  again.turned_at = 9;
  SavedRuleState& ok = saved.states.emplace_back();
  ok.rule_id = "";
  ok.phase = Phase::kOk;
  ok.turned_at = kNoTime;
  saved.states.emplace_back().rule_id = "pending";
  return saved;
}

TEST(SavedState, ComesBackAsItWas) {
  const SavedContainer saved = Full();
  const std::string bytes = EncodeContainer(saved);
  SavedContainer back;
  ASSERT_TRUE(DecodeContainer(bytes, &back));
  EXPECT_EQ(EncodeContainer(back), bytes);
  EXPECT_EQ(back.has, saved.has);
  for (size_t s = 0; s < kStreams; ++s) {
    EXPECT_EQ(back.readings[s].at, saved.readings[s].at);
    EXPECT_EQ(back.readings[s].arrival, saved.readings[s].arrival);
    EXPECT_EQ(back.readings[s].source, saved.readings[s].source);
    EXPECT_EQ(back.readings[s].value, saved.readings[s].value);
  }
  EXPECT_EQ(back.memory.limit_at, 4);
  EXPECT_TRUE(back.memory_given);
  ASSERT_EQ(back.gains.size(), 3u);
  EXPECT_EQ(back.gains[1].restarts, -2.5);
  EXPECT_EQ(back.judged.ahead, saved.judged.ahead);
  EXPECT_EQ(back.judged.superseded, saved.judged.superseded);
  ASSERT_EQ(back.states.size(), 4u);
  EXPECT_EQ(back.states[0].duration, kNever);
  EXPECT_TRUE(back.states[0].by_silence && back.states[0].from_alert);
  EXPECT_EQ(back.states[1].phase, Phase::kPending);
  EXPECT_EQ(back.states[1].turned_at, 9);
  EXPECT_EQ(back.states[1].rule_id.size(), 13u);
  EXPECT_EQ(back.states[2].phase, Phase::kOk);
  EXPECT_EQ(back.states[3].turned_at, kNoTime);
}

TEST(SavedState, OrdinaryContainerTakesFewBytes) {
  SavedContainer saved;
  saved.has = 0b1111;
  for (SavedReading& reading : saved.readings) {
    reading = {800'000'000 * kSecond, 800'000'000 * kSecond + 3000, 1, 0};
  }
  saved.readings[kCpuStream].value = 12.34;
  saved.readings[kMemoryStream].value = 56.78;
  EXPECT_LE(EncodeContainer(saved).size(), 60u);
  EXPECT_LE(EncodeContainer(SavedContainer{}).size(), 6u);
}

TEST(SavedState, EveryTruncationAndFlippedBitIsHandled) {
  const std::string bytes = EncodeContainer(Full());
  SavedContainer back;
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(DecodeContainer(std::string_view(bytes).substr(0, size), &back)) << size;
  }
  EXPECT_FALSE(DecodeContainer(bytes + '\0', &back));
  for (size_t i = 0; i < bytes.size() * 8; ++i) {
    std::string flipped = bytes;
    flipped[i / 8] = static_cast<char>(flipped[i / 8] ^ (1 << (i % 8)));
    if (DecodeContainer(flipped, &back)) EncodeContainer(back);
  }
}

TEST(SavedState, RefusesWhatCannotHaveBeenSaved) {
  const auto refused = [](auto spoil) {
    SavedContainer saved = Full();
    spoil(saved);
    SavedContainer back;
    return !DecodeContainer(EncodeContainer(saved), &back);
  };
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_FALSE(refused([](SavedContainer&) {}));
  EXPECT_TRUE(refused([](SavedContainer& s) { s.readings[kCpuStream].value = kNan; }));
  EXPECT_TRUE(refused([](SavedContainer& s) { s.readings[kRunningStream].value = 2; }));
  EXPECT_TRUE(refused([](SavedContainer& s) { s.memory.limit = -1; }));
  EXPECT_TRUE(refused([](SavedContainer& s) { s.gains[1].at = s.gains[0].at; }));
  EXPECT_TRUE(refused([](SavedContainer& s) { s.gains[1].restarts = 0; }));
  EXPECT_TRUE(refused([](SavedContainer& s) { s.has_previous = false; }));
  EXPECT_TRUE(refused([](SavedContainer& s) { s.states[1].rule_id = s.states[0].rule_id; }));
  EXPECT_TRUE(refused([](SavedContainer& s) { s.states[0].peak = kNan; }));
  EXPECT_TRUE(refused([](SavedContainer& s) { s.states[0].duration = -1; }));
  EXPECT_TRUE(refused([](SavedContainer& s) { std::swap(s.judged.ahead[0], s.judged.ahead[2]); }));
  EXPECT_TRUE(refused([](SavedContainer& s) { s.judged.superseded[0].value = kNan; }));
  EXPECT_TRUE(
      refused([](SavedContainer& s) { s.judged.superseded[0].reading = Reading{kCpu | kMemory}; }));
}

TEST(SavedState, RandomBytesAreRefusedOrTaken) {
  std::mt19937 random(3);
  SavedContainer back;
  for (int i = 0; i < 20000; ++i) {
    std::string bytes(random() % 60, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    if (!bytes.empty()) bytes[0] = 1;
    if (DecodeContainer(bytes, &back)) EncodeContainer(back);
  }
}

}  // namespace
}  // namespace alerting
