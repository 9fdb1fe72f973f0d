// Containers that move between organizations, and that go.
#include <gtest/gtest.h>

#include "engine_story.h"

namespace alerting::test {
namespace {

TEST(EngineContainers, ContainerMoves) {
  Story story({Cpu(80, 0), Cpu(70, 0), Cpu(80, 600)});
  story.rule(1).id = "other";
  story.rule(1).organization = "p";
  story.rule(2).id = "pending";
  story.EditRules(-5);
  story.Send(0, {.cpu = 95});
  EXPECT_EQ(story.Take(), Lines({"fire 0 0 value 95 peak 95"}));
  story.engine().SetOrganization(story.Ref("c"), "p", At(30));
  EXPECT_EQ(story.Take(),
            Lines({"resolve 30 CONTAINER_MOVED peak 95", "other@c fire 0 0 value 95 peak 95"}));
  EXPECT_EQ(story.State("pending"), '-');
  EXPECT_EQ(story.engine().Organization(story.Ref("c")), "p");
  story.engine().SetOrganization(story.Ref("c"), "p", At(40));  // nowhere new
  EXPECT_EQ(story.Take(), Lines{});
  story.Send(60, {.cpu = 5});
  EXPECT_EQ(story.Take(), Lines({"other@c resolve 60 RECOVERED value 5 peak 95"}));
  story.engine().SetOrganization(story.Ref("c"), "", At(70));  // to nobody
  story.Send(80, {.cpu = 99});
  EXPECT_EQ(story.Take(), Lines{});
}

TEST(EngineContainers, KeyWrittenInSeveralWays) {
  Engine engine(0);
  const ContainerRef web = engine.Add("Web", "o");
  engine.AddSpelling("WEB", "Web");
  engine.AddSpelling("DB", "Db");
  EXPECT_EQ(engine.Find("WEB"), web);
  EXPECT_EQ(engine.Find("DB"), kNoContainer);
  EXPECT_EQ(engine.Find("web"), kNoContainer);
  std::vector<Sample> samples(3);
  samples[0].container = "WEB";
  samples[1].container = "nobody";
  samples[2].container = "Web";
  std::vector<ContainerRef> found(samples.size());
  engine.FindAll(samples, found);
  EXPECT_EQ(found, (std::vector<ContainerRef>{web, kNoContainer, web}));
  engine.Remove(web);
  EXPECT_EQ(engine.Find("WEB"), kNoContainer);
  const ContainerRef again = engine.Add("WEB", "o");
  EXPECT_EQ(engine.Find("WEB"), again);
  EXPECT_EQ(engine.container_count(), 1u);
}

TEST(EngineContainers, RemovedContainerIsForgotten) {
  Story story({Cpu(80, 0, NoData::kFire)});
  story.Send(0, {.cpu = 95});
  story.Take();
  story.engine().Remove(story.Ref("c"));
  EXPECT_EQ(story.engine().container_count(), 0u);
  story.Advance(1e6);
  EXPECT_EQ(story.Take(), Lines{});
  EXPECT_EQ(story.NextDeadline(), std::nullopt);
  story.Ref("c");  // the same key again is a new container
  story.rule().threshold = 90;
  story.EditRules(1e6);
  EXPECT_EQ(story.Take(), Lines{});
  story.Send(1e6, {.cpu = 95});
  EXPECT_EQ(story.Take(), Lines({"fire 1000000 1000000 value 95 peak 95"}));
}

}  // namespace
}  // namespace alerting::test
