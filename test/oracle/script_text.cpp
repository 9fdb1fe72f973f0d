// Scripts as text for people who look at a failure. See script.h.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "oracle/script.h"

namespace alerting::oracle {
namespace {

std::string Time(Micros at) {
  if (at == kNoTime) return "own-time";
  if (at == kNever) return "never";
  const Micros offset = at - kEpoch;
  char text[48];
  std::snprintf(text, sizeof text, "%s%lld", offset < 0 ? "-" : "+",
                static_cast<long long>(std::abs(offset) / kSecond));
  std::string result = text;
  if (offset % kSecond != 0) {
    std::snprintf(text, sizeof text, ".%06lld", static_cast<long long>(std::abs(offset) % kSecond));
    result += text;
  }
  return result;
}

std::string Span(Micros span) { return span == kNever ? "never" : Time(kEpoch + span).substr(1); }

std::string Number(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.12g", value);
  return text;
}

std::string DescribeRule(const Rule& rule) {
  constexpr const char* kNames[] = {"cpu>", "memory>", "down", "restarts>"};
  constexpr const char* kNoData[] = {"keep", "resolve", "fire"};
  std::string text = " [" + rule.id + " of " + rule.organization + ": ";
  text += kNames[static_cast<size_t>(rule.condition)];
  if (rule.condition != Condition::kContainerDown) text += Number(rule.threshold);
  text += " for " + Span(rule.duration) + "s " + kNoData[static_cast<size_t>(rule.no_data)];
  return text + (rule.enabled ? "]" : " off]");
}

std::string DescribeRow(const Row& row) {
  std::string text =
      "\n      " + row.container + " at " + Time(row.at) + " source " + std::to_string(row.source);
  if (row.cpu) text += " cpu=" + Number(*row.cpu);
  if (row.memory) text += " memory=" + Number(*row.memory);
  if (row.memory_used) text += " used=" + Number(*row.memory_used);
  if (row.memory_limit) text += " limit=" + Number(*row.memory_limit);
  if (row.running) text += std::string(" running=") + (*row.running ? "true" : "false");
  if (row.restarts) text += " restarts=" + Number(*row.restarts);
  return text;
}

}  // namespace

std::string Describe(const Step& step) {
  std::string text = "now " + Time(step.now) + ": ";
  switch (step.kind) {
    case Step::Kind::kRules:
      text += "rules";
      for (const Rule& rule : step.rules) text += DescribeRule(rule);
      return text;
    case Step::Kind::kAdd:
      return text + "add " + step.container + " to \"" + step.organization + '"';
    case Step::Kind::kMove:
      return text + "move " + step.container + " to \"" + step.organization + '"';
    case Step::Kind::kRemove:
      return text + "remove " + step.container;
    case Step::Kind::kJudge:
      text += step.nothing_new ? "rows judged before" : "rows";
      for (const Row& row : step.rows) text += DescribeRow(row);
      return text;
    case Step::Kind::kAdvance:
      return text + "advance";
    case Step::Kind::kSave:
      return text + "save";
    case Step::Kind::kSource:
      return text + "source " + std::to_string(step.source_id) + " max_age " +
             Span(step.source.max_age) + "s stale_after " + Span(step.source.stale_after) + "s";
    case Step::Kind::kRestart:
      text += "restart with rules";
      for (const Rule& rule : step.rules) text += DescribeRule(rule);
      if (!step.container.empty()) {
        text += ", " + step.container + " moved to \"" + step.organization + '"';
      }
      return text;
  }
  return text;
}

std::string Describe(const Script& script) {
  std::string text;
  for (const auto& [id, source] : script.sources) {
    text += "  source " + std::to_string(id) + " max_age " + Span(source.max_age) +
            "s stale_after " + Span(source.stale_after) + "s\n";
  }
  if (script.lazy_saves) text += "  lazy saves\n";
  for (size_t i = 0; i < script.steps.size(); ++i) {
    text += "  " + std::to_string(i) + " " + Describe(script.steps[i]) + "\n";
  }
  return text;
}

}  // namespace alerting::oracle
