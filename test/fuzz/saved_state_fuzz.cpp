// A saved container as it comes out of the database: any bytes. What is taken lives in an engine,
// which goes on with it.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "core/engine.h"
#include "core/saved_state.h"

namespace {

std::vector<alerting::Rule> Rules() {
  std::vector<alerting::Rule> rules;
  for (int i = 0; i < 12; ++i) {
    alerting::Rule& rule = rules.emplace_back();
    rule.id = std::string(1, static_cast<char>('a' + i));
    rule.organization = "o";
    rule.condition = static_cast<alerting::Condition>(i % 4);
    rule.threshold = 50;
    rule.duration = i * alerting::kMinute;
    rule.no_data = static_cast<alerting::NoData>(i / 4);
    rule.enabled = i != 7;
  }
  return rules;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  alerting::SavedContainer saved;
  if (!DecodeContainer(bytes, &saved)) return 0;
  alerting::SavedContainer again;
  const std::string encoded = EncodeContainer(saved);
  if (!DecodeContainer(encoded, &again) || EncodeContainer(again) != encoded) std::abort();

  constexpr alerting::Micros kStart = 800'000'000 * alerting::kSecond;
  alerting::Engine engine(kStart);
  engine.SetRules(Rules(), kStart);
  const alerting::ContainerRef container = engine.Add("c", "o");
  if (!engine.Restore(container, bytes)) std::abort();
  engine.RestoreAlert(container, "a", kStart - 5, kStart, 51);
  engine.FinishRestore();
  for (int i = 0; i < 4; ++i) {
    alerting::Sample sample;
    sample.at = kStart + i * 7 * alerting::kMinute;
    sample.present = static_cast<uint8_t>(i == 1 ? 0 : 63);
    sample.running = i == 2;
    sample.cpu = sample.memory = i * 30;
    sample.restarts = i * 100;
    engine.Judge({&sample, 1}, {&container, 1}, sample.at);
    engine.Advance(sample.at + 6 * alerting::kMinute);
  }
  engine.Save(container);
  engine.SetOrganization(container, "p", kStart);
  engine.Remove(container);
  return 0;
}
