// oracle: reads what happened on stdin, prints the alerts that must exist at the end. For tests
// that come through SQL. No PostgreSQL, no engine: only test/oracle/oracle.h.
//
//   oracle [--own-times] [--reason] < steps > alerts.tsv
//
// One step a line; fields are separated by blanks or tabs, a field in "double quotes" may hold
// blanks; # begins a comment.
//
//   source ID [max_age=SPAN] [stale_after=SPAN]
//   container KEY ORGANIZATION
//   move KEY ORGANIZATION
//   remove KEY                       its alerts go with it
//   rule ID ORGANIZATION CONDITION THRESHOLD DURATION [keep|resolve|fire] [off]
//                                    new, or changed when ID is known. THRESHOLD may be -; DURATION
//                                    is in minutes when it has no unit; without no_data the
//                                    condition's default
//   delete_rule ID                   its alerts go with it
//   begin TIME                       a transaction that arrives (commits) at TIME
//   sample KEY TIME [source=ID] [cpu=N] [memory=N] [memory_used=N] [memory_limit=N] [running=B]
//   [restarts=N] commit advance TIME                     the wall clock is TIME now restart TIME
//   the server starts again
//
// Changes of rules and containers happen at the latest of the times given so far. A sample outside
// begin and commit is a transaction of its own that arrives at the sample's own time.
//
// TIME: 2026-03-02T10:00:00[.ffffff]Z, with an offset (+01:00) instead of Z, or @SECONDS of the
// Unix epoch. SPAN: 90s, 5m, 1h, 250ms or never. N: a number, nan, inf or -inf. B: t[rue] or
// f[alse].
//
// --own-times: for tests that cannot know when rows arrived (crashes): all rows are judged in the
// order of their times, each as if it had arrived then, under the rules and containers that stand
// at the end; `begin` and `commit` mean nothing, the last `advance` counts.
//
// Output, tab separated, by rule, container and started_at: rule, container, status, started_at,
// fired_at, resolved_at (empty while FIRING) as 2026-03-02T10:00:00.000000Z; --reason adds
// resolve_reason.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "oracle/oracle.h"

namespace alerting::oracle {
namespace {

constexpr int64_t kUnixEpochBefore2000 = 946'684'800;  // seconds

[[noreturn]] void Bad(const std::string& what) { throw std::runtime_error(what); }

double ParseNumber(const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0') Bad("not a number: " + text);
  return value;
}

// Exact to the microsecond, which a double of seconds is not.
Micros ParseSeconds(const std::string& text) {
  size_t used = 0;
  const Micros whole = std::stoll(text, &used);
  if (used == text.size()) return whole * kSecond;
  if (text[used] != '.') Bad("not a number of seconds: " + text);
  std::string fraction = text.substr(used + 1);
  fraction.resize(6, '0');
  const Micros part = std::stoll(fraction);
  return whole * kSecond + (text[0] == '-' ? -part : part);
}

Micros ParseTime(const std::string& text) {
  if (text.starts_with('@')) {
    return ParseSeconds(text.substr(1)) - kUnixEpochBefore2000 * kSecond;
  }
  int year = 0, hour = 0, minute = 0, used = 0;
  unsigned month = 0, day = 0;
  if (std::sscanf(text.c_str(), "%d-%u-%uT%d:%d:%n", &year, &month, &day, &hour, &minute, &used) <
          5 ||
      used == 0) {
    Bad("not a time: " + text);
  }
  const size_t zone = text.find_first_of("Zz+-", static_cast<size_t>(used));
  if (zone == std::string::npos) Bad("a time without a zone: " + text);
  const Micros seconds =
      ParseSeconds(text.substr(static_cast<size_t>(used), zone - static_cast<size_t>(used)));
  Micros offset = 0;
  if (text[zone] == '+' || text[zone] == '-') {
    int offset_hours = 0, offset_minutes = 0;
    std::sscanf(text.c_str() + zone + 1, "%d:%d", &offset_hours, &offset_minutes);
    offset = (offset_hours * 60 + offset_minutes) * kMinute;
    if (text[zone] == '-') offset = -offset;
  }
  const auto date = std::chrono::year(year) / std::chrono::month(month) / std::chrono::day(day);
  const auto days = std::chrono::sys_days(date).time_since_epoch().count();
  return (days * 86'400 - kUnixEpochBefore2000) * kSecond + hour * kHour + minute * kMinute +
         seconds - offset;
}

std::string FormatTime(Micros at) {
  if (at == kNoTime) return "";
  const std::chrono::sys_time<std::chrono::microseconds> time(
      std::chrono::microseconds(at + kUnixEpochBefore2000 * kSecond));
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const Micros rest = (time - day).count();
  char text[64];
  std::snprintf(text, sizeof text, "%04d-%02u-%02uT%02d:%02d:%02d.%06dZ",
                static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                static_cast<unsigned>(date.day()), static_cast<int>(rest / kHour),
                static_cast<int>(rest / kMinute % 60), static_cast<int>(rest / kSecond % 60),
                static_cast<int>(rest % kSecond));
  return text;
}

Micros ParseSpan(const std::string& text, Micros unit) {
  if (text == "never") return kNever;
  size_t used = 0;
  const double count = std::stod(text, &used);
  const std::string suffix = text.substr(used);
  if (suffix == "ms") unit = kMillisecond;
  if (suffix == "s") unit = kSecond;
  if (suffix == "m" || suffix == "min") unit = kMinute;
  if (suffix == "h") unit = kHour;
  if (suffix.empty() && unit == 0) Bad("a span without a unit: " + text);
  return static_cast<Micros>(count * static_cast<double>(unit) + 0.5);
}

std::vector<std::string> Split(const std::string& line) {
  std::vector<std::string> fields;
  std::string field;
  bool quoted = false, open = false;
  for (const char c : line + " ") {
    if (c == '"') {
      quoted = !quoted;
      open = true;
    } else if (!quoted && c == '#') {
      break;
    } else if (!quoted && (c == ' ' || c == '\t' || c == '\r')) {
      if (open) fields.push_back(field);
      field.clear();
      open = false;
    } else {
      field += c;
      open = true;
    }
  }
  if (quoted) Bad("a quote is left open");
  if (open) fields.push_back(field);
  return fields;
}

class Reader {
 public:
  explicit Reader(bool own_times) : own_times_(own_times), oracle_(kNoTime) {}

  void Read(const std::vector<std::string>& fields);
  void Finish();
  void Print(bool with_reason) const;

 private:
  void ReadSource(const std::vector<std::string>& fields);
  void ReadRule(const std::vector<std::string>& fields);
  void ReadSample(const std::vector<std::string>& fields);
  void Judge(const std::vector<Row>& rows, Micros arrival);
  void Collect();
  void Seen(Micros time) { now_ = std::max(now_, time); }

  const bool own_times_;
  Oracle oracle_;
  Micros now_ = kNoTime;
  bool in_transaction_ = false;
  Micros arrival_ = kNoTime;
  std::vector<Row> rows_;
  Micros last_advance_ = kNoTime;
  std::vector<Rule> rules_;
  std::vector<Event> alerts_;  // resolved_at kNoTime: FIRING
};

std::pair<std::string, std::string> KeyAndValue(const std::string& field) {
  const size_t equals = field.find('=');
  if (equals == std::string::npos) Bad("expected name=value: " + field);
  return {field.substr(0, equals), field.substr(equals + 1)};
}

void Reader::ReadSource(const std::vector<std::string>& fields) {
  Source source;
  for (size_t i = 2; i < fields.size(); ++i) {
    const auto [name, value] = KeyAndValue(fields[i]);
    if (name == "max_age") {
      source.max_age = ParseSpan(value, 0);
    } else if (name == "stale_after") {
      source.stale_after = ParseSpan(value, 0);
    } else {
      Bad("unknown setting: " + name);
    }
  }
  oracle_.SetSource(static_cast<uint32_t>(std::stoul(fields.at(1))), source);
}

void Reader::ReadRule(const std::vector<std::string>& fields) {
  Rule rule;
  rule.id = fields.at(1);
  rule.organization = fields.at(2);
  const std::vector<std::string> conditions = {"CPU_USAGE", "MEMORY_USAGE", "CONTAINER_DOWN",
                                               "RESTART_LOOP"};
  const auto condition = std::find(conditions.begin(), conditions.end(), fields.at(3));
  if (condition == conditions.end()) Bad("unknown condition: " + fields.at(3));
  rule.condition = static_cast<Condition>(condition - conditions.begin());
  rule.threshold = fields.at(4) == "-" ? 0 : ParseNumber(fields.at(4));
  rule.duration = ParseSpan(fields.at(5), kMinute);
  rule.no_data = rule.condition == Condition::kContainerDown ? NoData::kFire : NoData::kKeep;
  for (size_t i = 6; i < fields.size(); ++i) {
    if (fields[i] == "keep") {
      rule.no_data = NoData::kKeep;
    } else if (fields[i] == "resolve") {
      rule.no_data = NoData::kResolve;
    } else if (fields[i] == "fire") {
      rule.no_data = NoData::kFire;
    } else if (fields[i] == "off") {
      rule.enabled = false;
    } else {
      Bad("unknown word: " + fields[i]);
    }
  }
  std::erase_if(rules_, [&](const Rule& old) { return old.id == rule.id; });
  rules_.push_back(rule);
}

void Reader::ReadSample(const std::vector<std::string>& fields) {
  Row row;
  row.container = fields.at(1);
  row.at = ParseTime(fields.at(2));
  for (size_t i = 3; i < fields.size(); ++i) {
    const auto [name, value] = KeyAndValue(fields[i]);
    if (name == "source") {
      row.source = static_cast<uint32_t>(std::stoul(value));
    } else if (name == "cpu") {
      row.cpu = ParseNumber(value);
    } else if (name == "memory") {
      row.memory = ParseNumber(value);
    } else if (name == "memory_used") {
      row.memory_used = ParseNumber(value);
    } else if (name == "memory_limit") {
      row.memory_limit = ParseNumber(value);
    } else if (name == "running") {
      row.running = value.starts_with('t');
    } else if (name == "restarts") {
      row.restarts = ParseNumber(value);
    } else {
      Bad("unknown reading: " + name);
    }
  }
  if (in_transaction_ || own_times_) {
    rows_.push_back(row);
  } else {
    Judge({row}, kNoTime);
    Seen(row.at);
  }
}

void Reader::Judge(const std::vector<Row>& rows, Micros arrival) {
  oracle_.Judge(rows, arrival);
  Collect();
}

void Reader::Read(const std::vector<std::string>& fields) {
  const std::string& command = fields.at(0);
  if (command == "source") {
    ReadSource(fields);
  } else if (command == "container") {
    oracle_.AddContainer(fields.at(1), fields.at(2));
  } else if (command == "move") {
    oracle_.SetOrganization(fields.at(1), fields.at(2), now_);
  } else if (command == "remove") {
    oracle_.Remove(fields.at(1));
    std::erase_if(alerts_, [&](const Event& alert) { return alert.container == fields.at(1); });
  } else if (command == "rule" || command == "delete_rule") {
    if (command == "rule") {
      ReadRule(fields);
    } else {
      std::erase_if(rules_, [&](const Rule& rule) { return rule.id == fields.at(1); });
      std::erase_if(alerts_, [&](const Event& alert) { return alert.rule == fields.at(1); });
    }
    if (!own_times_) oracle_.SetRules(rules_, now_);
  } else if (command == "begin") {
    in_transaction_ = true;
    arrival_ = ParseTime(fields.at(1));
    Seen(arrival_);
  } else if (command == "sample") {
    ReadSample(fields);
  } else if (command == "commit") {
    in_transaction_ = false;
    if (!own_times_) Judge(std::exchange(rows_, {}), arrival_);
  } else if (command == "advance") {
    last_advance_ = ParseTime(fields.at(1));
    Seen(last_advance_);
    if (!own_times_) oracle_.Advance(last_advance_);
  } else if (command == "restart") {
    Seen(ParseTime(fields.at(1)));
    if (!own_times_) oracle_.Restart(ParseTime(fields.at(1)));
  } else {
    Bad("unknown step: " + command);
  }
  Collect();
}

void Reader::Finish() {
  if (!own_times_) return;
  oracle_.SetRules(rules_, now_);
  std::stable_sort(rows_.begin(), rows_.end(),
                   [](const Row& a, const Row& b) { return a.at < b.at; });
  Judge(rows_, kNoTime);
  if (last_advance_ != kNoTime) oracle_.Advance(last_advance_);
  Collect();
}

void Reader::Collect() {
  for (const Event& event : oracle_.TakeEvents()) {
    if (event.fire) {
      alerts_.push_back(event);
      continue;
    }
    for (Event& alert : alerts_) {
      if (alert.fire && alert.rule == event.rule && alert.container == event.container)
        alert = event;
    }
  }
}

void Reader::Print(bool with_reason) const {
  constexpr const char* kReasons[] = {"RECOVERED", "NO_DATA", "RULE_DISABLED", "RULE_CHANGED",
                                      "CONTAINER_MOVED"};
  std::vector<Event> alerts = alerts_;
  std::stable_sort(alerts.begin(), alerts.end(), [](const Event& a, const Event& b) {
    return std::tie(a.rule, a.container, a.started_at, a.fired_at) <
           std::tie(b.rule, b.container, b.started_at, b.fired_at);
  });
  for (const Event& alert : alerts) {
    std::string line = alert.rule + "\t" + alert.container + "\t" +
                       (alert.fire ? "FIRING" : "RESOLVED") + "\t" + FormatTime(alert.started_at) +
                       "\t" + FormatTime(alert.fired_at) + "\t" + FormatTime(alert.resolved_at);
    if (with_reason) {
      line += "\t";
      if (!alert.fire) line += kReasons[static_cast<size_t>(alert.reason)];
    }
    std::puts(line.c_str());
  }
}

}  // namespace
}  // namespace alerting::oracle

int main(int argc, char** argv) {
  bool own_times = false, with_reason = false;
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    if (option == "--own-times") {
      own_times = true;
    } else if (option == "--reason") {
      with_reason = true;
    } else {
      std::fprintf(stderr, "usage: oracle [--own-times] [--reason] < steps\n");
      return 2;
    }
  }
  alerting::oracle::Reader reader(own_times);
  std::string line;
  for (int number = 1; std::getline(std::cin, line); ++number) {
    try {
      const auto fields = alerting::oracle::Split(line);
      if (!fields.empty()) reader.Read(fields);
    } catch (const std::exception& error) {
      std::fprintf(stderr, "line %d: %s\n", number, error.what());
      return 1;
    }
  }
  reader.Finish();
  reader.Print(with_reason);
  return 0;
}
