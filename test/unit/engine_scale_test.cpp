// Many containers, rules and organizations: the engine at scale means the same as one at a time.
#include <gtest/gtest.h>
#include <malloc.h>

#include <algorithm>
#include <random>
#include <set>

#include "engine_story.h"

namespace alerting::test {
namespace {

TEST(EngineScale, ChurnOfContainersReusesNumbers) {
  Story story({Cpu(80, 0, NoData::kFire)});
  for (int round = 0; round < 50; ++round) {
    std::vector<Row> rows;
    for (int i = 0; i < 200; ++i) {
      rows.push_back({round * 10.0,
                      {.cpu = i % 7 == 0 ? 95.0 : 5.0},
                      1,
                      "container-" + std::to_string(round) + "-" + std::to_string(i)});
    }
    story.Send(rows, round * 10.0);
    EXPECT_EQ(story.Take().size(), 29u);
    for (const Row& row : rows) story.engine().Remove(story.Ref(row.container));
  }
  EXPECT_EQ(story.engine().container_count(), 0u);
  EXPECT_LE(story.engine().ref_limit(), 201u);
  EXPECT_EQ(story.NextDeadline(), std::nullopt);
}

TEST(EngineScale, KeysAndOrganizationsAreFoundAgain) {
  Engine engine(0);
  std::set<ContainerRef> refs;
  for (int i = 0; i < 5000; ++i) {
    refs.insert(engine.Add("key" + std::to_string(i), "o" + std::to_string(i % 13)));
  }
  EXPECT_EQ(refs.size(), 5000u);
  EXPECT_EQ(engine.Add("key17", "elsewhere"), engine.Find("key17"));
  EXPECT_EQ(engine.container_count(), 5000u);
  for (int i = 0; i < 5000; i += 2) engine.Remove(engine.Find("key" + std::to_string(i)));
  EXPECT_EQ(engine.container_count(), 2500u);
  for (int i = 0; i < 5000; ++i) {
    const ContainerRef ref = engine.Find("key" + std::to_string(i));
    ASSERT_EQ(ref == kNoContainer, i % 2 == 0) << i;
    if (ref == kNoContainer) continue;
    EXPECT_EQ(engine.Key(ref), "key" + std::to_string(i));
    EXPECT_EQ(engine.Organization(ref), "o" + std::to_string(i % 13));
  }
  EXPECT_EQ(engine.Key(kNoContainer), "");
  EXPECT_EQ(engine.Organization(kNoContainer), "");
  const std::string binary("\0\1\0\0\0\0\0\0", 8);  // an int8 key
  const ContainerRef ref = engine.Add(binary, "o");
  EXPECT_EQ(engine.Find(binary), ref);
  EXPECT_EQ(engine.Find(std::string("\0\2\0\0\0\0\0\0", 8)), kNoContainer);
  EXPECT_EQ(engine.Key(ref), binary);
}

TEST(EngineScale, AnEmptyKeyIsAKey) {
  Engine engine(0);
  const ContainerRef ref = engine.Add("", "o");
  EXPECT_TRUE(engine.Has(ref));
  EXPECT_EQ(engine.Find(""), ref);
  engine.Remove(ref);
  EXPECT_FALSE(engine.Has(ref));
  EXPECT_FALSE(engine.Has(kNoContainer));
  EXPECT_EQ(engine.Find(""), kNoContainer);
}

TEST(EngineScale, FindAllFindsWhatFindFinds) {
  Engine engine(0);
  std::vector<std::string> keys;
  for (int i = 0; i < 3000; ++i) keys.push_back("key" + std::to_string(i));
  for (int i = 0; i < 3000; i += 3) engine.Add(keys[static_cast<size_t>(i)], "o");
  for (const size_t count : {0u, 1u, 15u, 16u, 17u, 3000u}) {
    std::vector<Sample> samples(count);
    for (size_t i = 0; i < count; ++i) samples[i].container = keys[keys.size() - 1 - i];
    std::vector<ContainerRef> refs(count, 77);
    engine.FindAll(samples, refs);
    for (size_t i = 0; i < count; ++i) EXPECT_EQ(refs[i], engine.Find(samples[i].container)) << i;
  }
}

// What the engine allocates for a container whose four rules are OK: 200 bytes and its key.
TEST(EngineScale, AContainerIsSmall) {
  const auto allocated = [] {
    const struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
  };
  constexpr size_t kKeySize = 25;
  for (const size_t count : {10'000u, 100'000u}) {
    Engine engine(0);
    engine.SetSource(1, SourceSettings{});
    std::vector<Rule> rules = {Cpu(90, 0), Memory(90, 300), Down(60, NoData::kFire),
                               Restarts(3, 600)};
    for (Rule& rule : rules) {
      rule.id = ConditionName(rule.condition);
      rule.organization = "org";
    }
    engine.SetRules(rules, 0);
    const size_t before = allocated();
    std::vector<Sample> samples(count);
    std::vector<ContainerRef> refs(count);
    const size_t own = allocated() - before;
    for (size_t i = 0; i < count; ++i) {
      const std::string number = std::to_string(i);
      const std::string key = std::string(kKeySize - number.size(), 'k') + number;
      refs[i] = engine.Add(key, "org");
      samples[i].at = kSecond;
      samples[i].source = 1;
      samples[i].running = true;
      samples[i].cpu = 5;
      samples[i].present = kCpu | kMemory | kRunning | kRestarts;
    }
    constexpr size_t kBatch = 500;
    for (size_t i = 0; i < count; i += kBatch) {
      engine.Judge(std::span(samples).subspan(i, kBatch), std::span(refs).subspan(i, kBatch),
                   kSecond);
    }
    engine.TakeChanged();
    EXPECT_LE((allocated() - before - own) / count, 200 + kKeySize) << count;
  }
}

TEST(EngineScale, ManyRulesOnOneOrganization) {
  std::vector<Rule> rules;
  for (int i = 0; i < 1000; ++i) {
    rules.push_back(
        MakeRule(Condition::kCpuUsage, i / 10.0, 0, NoData::kKeep, "rule" + std::to_string(i)));
  }
  std::mt19937 random(7);
  std::shuffle(rules.begin(), rules.end(), random);
  Story story(rules);
  int firing = 0;
  int at = 0;
  for (const double cpu : {50.0, 0.0, 99.95, 25.05, 25.05, 100.0, -1.0}) {
    story.Send(at += 60, {.cpu = cpu});
    int breached = 0;
    for (int i = 0; i < 1000; ++i) breached += cpu > i / 10.0 ? 1 : 0;
    EXPECT_EQ(static_cast<int>(story.Take().size()), std::abs(breached - firing)) << cpu;
    firing = breached;
  }
}

TEST(EngineScale, BatchesOfAnySizeMeanTheSame) {
  std::mt19937 random(11);
  std::vector<Row> rows;
  for (int i = 0; i < 3000; ++i) {
    rows.push_back({(i / 20) * 30.0,
                    {.cpu = static_cast<double>(random() % 100), .running = random() % 4 != 0},
                    1,
                    "c" + std::to_string(i % 20)});
  }
  const std::vector<Rule> rules = {Cpu(80, 0), Down(60)};
  const auto play = [&](size_t batch) {
    Story story(rules);
    story.rule(1).id = "d";
    story.EditRules(0);
    for (size_t i = 0; i < rows.size(); i += batch) {
      const size_t end = std::min(rows.size(), i + batch);
      story.Send(
          {rows.begin() + static_cast<ptrdiff_t>(i), rows.begin() + static_cast<ptrdiff_t>(end)},
          4500);
    }
    Lines lines = story.Take();
    std::stable_sort(lines.begin(), lines.end(), [](const std::string& a, const std::string& b) {
      return a.substr(0, a.find(' ')) < b.substr(0, b.find(' '));
    });
    return lines;
  };
  const Lines one_by_one = play(1);
  EXPECT_GT(one_by_one.size(), 500u);
  for (const size_t batch : {2u, 19u, 20u, 21u, 400u, 3000u}) EXPECT_EQ(play(batch), one_by_one);
}

TEST(EngineScale, ShuffledBatchMeansTheSame) {
  std::mt19937 random(13);
  std::vector<Row> rows;
  for (int i = 0; i < 400; ++i) {
    rows.push_back({i * 10.0, {.cpu = static_cast<double>(random() % 100)}});
  }
  Story in_order({Cpu(50, 20)});
  in_order.Send(rows, 4000);
  std::shuffle(rows.begin(), rows.end(), random);
  Story shuffled({Cpu(50, 20)});
  shuffled.Send(rows, 4000);
  EXPECT_EQ(shuffled.Take(), in_order.Take());
}

TEST(EngineScale, OrganizationsComeAndGo) {
  Story story;
  for (int round = 0; round < 100; ++round) {
    const std::string organization = "org" + std::to_string(round);
    story.rules() = {Cpu(80, 0)};
    story.rule().organization = organization;
    story.EditRules(round * 10.0);
    story.engine().SetOrganization(story.Ref("c"), organization, At(round * 10.0));
    story.Send(round * 10.0, {.cpu = 95});
    EXPECT_GE(story.Take().size(), 1u);
  }
}

}  // namespace
}  // namespace alerting::test
