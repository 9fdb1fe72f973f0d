// Implements core/plain_words.h.
#include "core/plain_words.h"

#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>

namespace alerting {
namespace {

using State = Explanation::State;

// Six digits, or all of them where six would hide on which side of the threshold it lies.
std::string Number(double value, double threshold) {
  char text[32];
  const bool is_whole = value == std::floor(value) && std::fabs(value) < 1e15;
  (void)std::snprintf(text, sizeof(text), is_whole ? "%.0f" : "%.6g", value);
  if ((std::strtod(text, nullptr) > threshold) == (value > threshold)) return text;
  const std::to_chars_result end = std::to_chars(text, text + sizeof(text), value);
  return std::string(text, end.ptr);
}

std::string Count(double number, const char* noun) {
  return Number(number, number) + " " + noun + (number == 1 ? "" : "s");
}

// How a FIRING alert that a reading raised stands: "; FIRING since ..., resolves with ...".
std::string Firing(const Explanation& seen, const std::string& end) {
  return "; FIRING since " + TimeInWords(seen.fired_at) + ", resolves with " + end;
}

std::string SilenceFired(const Rule& rule, const Explanation& seen) {
  std::string end = "the first sample not above " + Number(rule.threshold, rule.threshold);
  if (rule.condition == Condition::kContainerDown) {
    end = std::isnan(seen.last_value) ? "its next sample" : "the first sample that says it runs";
  }
  return "no sample since " + TimeInWords(seen.last_at) +
         ": that silence fired it (no_data = 'fire')" + Firing(seen, end);
}

std::string Usage(const Rule& rule, const Explanation& seen) {
  const std::string limit = Number(rule.threshold, rule.threshold);
  std::string text = std::string(ConditionName(rule.condition)) + " " +
                     Number(seen.last_value, rule.threshold) + " at " + TimeInWords(seen.last_at) +
                     (seen.breaching ? " is above " : " is not above ") + limit;
  switch (seen.state) {
    case State::kPending:
      return text + " since " + TimeInWords(seen.since) +
             "; fires with the first breaching sample at or after " + TimeInWords(seen.fires_at);
    case State::kFiring:
      return text + " since " + TimeInWords(seen.since) +
             Firing(seen, "the first sample not above " + limit);
    case State::kOk:
      break;
  }
  if (seen.breaching) return text + ", but silence ended the run; the next sample begins another";
  if (rule.duration == 0) return text + "; fires with the first sample above it";
  return text + "; fires once it has been above it for " + DurationInWords(rule.duration);
}

std::string Down(const Rule& rule, const Explanation& seen) {
  const std::string at = TimeInWords(seen.last_at);
  if (std::isnan(seen.last_value)) {
    std::string text = "no sample of this container carried running, the newest is of " + at;
    return rule.no_data == NoData::kFire ? text : text + "; so nothing can fire";
  }
  if (!seen.breaching) {
    std::string text = "running at " + at + "; fires ";
    if (rule.duration > 0) text += DurationInWords(rule.duration) + " after ";
    return text + (rule.duration > 0 ? "the" : "with the") +
           " first sample that says it does not run";
  }
  if (seen.state == State::kOk) {
    return "not running at " + at + ", but silence ended the run; the next sample begins another";
  }
  std::string text = "not running since " + TimeInWords(seen.since) + ", last sample at " + at;
  if (seen.state == State::kFiring) {
    return text + Firing(seen, "the first sample that says it runs");
  }
  return text + "; fires at " + TimeInWords(seen.fires_at) +
         " unless a sample says before that it runs";
}

std::string Restarts(const Rule& rule, const Explanation& seen) {
  const std::string limit = Number(rule.threshold, rule.threshold);
  std::string text = Count(seen.last_value, "restart") + " in the " +
                     DurationInWords(rule.duration) + " up to " + TimeInWords(seen.last_at) +
                     (seen.last_value == 1 ? " is" : " are") +
                     (seen.breaching ? " above " : " not above ") + limit;
  if (seen.state != State::kFiring) {
    return seen.breaching ? text + ", but their window has passed"
                          : text + "; fires with the sample that brings them above it";
  }
  text += Firing(seen, "a sample");
  if (seen.resolves_at == kNever) return text;
  return text + ", or by the clock at " + TimeInWords(seen.resolves_at) +
         " when enough of them have left the window";
}

std::string Silence(const Rule& rule, const Explanation& seen) {
  const std::string from = TimeInWords(seen.stale_at);
  const std::string length = DurationInWords(SubtractTime(seen.stale_at, seen.last_at));
  if (seen.silent) {
    std::string text = "; silent since " + from + ", " + length + " after its last sample";
    switch (rule.no_data) {
      case NoData::kKeep:
        text += ": no_data = 'keep' leaves it as it is";
        if (seen.state != State::kPending || rule.condition == Condition::kContainerDown)
          return text;
        return text + ", but the next sample begins another run";
      case NoData::kResolve:
        return text + ": no_data = 'resolve' has ended what there was";
      case NoData::kFire:
        return text;
    }
  }
  if (rule.no_data == NoData::kFire && seen.state != State::kFiring) {
    return "; without a sample before " + from + " silence fires it (no_data = 'fire')";
  }
  if (rule.no_data == NoData::kResolve && seen.state != State::kOk) {
    return "; without a sample before " + from + " silence ends it (no_data = 'resolve')";
  }
  return "";
}

}  // namespace

std::string TimeInWords(Micros time) {
  using std::chrono::days;
  using std::chrono::year_month_day;
  constexpr Micros kDay = 24 * kHour;
  constexpr Micros kEpochDays = 10'957;  // from 1970-01-01 to 2000-01-01
  constexpr Micros kFarAway = kDay * 365 * 10'000;
  if (time > kFarAway) return "infinity";
  if (time < -kFarAway) return "-infinity";
  const Micros day = time >= 0 ? time / kDay : -((kDay - 1 - time) / kDay);
  const Micros rest = time - day * kDay;
  const year_month_day date{std::chrono::sys_days(days(day + kEpochDays))};
  char text[64];
  (void)std::snprintf(text, sizeof(text), "%04d-%02u-%02u %02d:%02d:%02d", int{date.year()},
                      unsigned{date.month()}, unsigned{date.day()}, static_cast<int>(rest / kHour),
                      static_cast<int>(rest % kHour / kMinute),
                      static_cast<int>(rest % kMinute / kSecond));
  std::string words = text;
  const auto milliseconds = static_cast<int>(rest % kSecond / kMillisecond);
  if (milliseconds != 0) {
    (void)std::snprintf(text, sizeof(text), ".%03d", milliseconds);
    words += text;
    words.erase(words.find_last_not_of('0') + 1);
  }
  return words + "Z";
}

std::string DurationInWords(Micros duration) {
  if (duration % kHour == 0 && duration > kHour) {
    return Count(static_cast<double>(duration / kHour), "hour");
  }
  if (duration % kMinute == 0 && duration != 0) {
    return Count(static_cast<double>(duration / kMinute), "minute");
  }
  return Count(static_cast<double>(duration) / static_cast<double>(kSecond), "second");
}

std::string ExplainInWords(const Rule& rule, const Explanation& seen) {
  std::string text;
  if (seen.state == State::kFiring && seen.by_silence) return SilenceFired(rule, seen);
  switch (rule.condition) {
    case Condition::kCpuUsage:
    case Condition::kMemoryUsage:
      text = Usage(rule, seen);
      break;
    case Condition::kContainerDown:
      text = Down(rule, seen);
      break;
    case Condition::kRestartLoop:
      text = Restarts(rule, seen);
      break;
  }
  return text + Silence(rule, seen);
}

}  // namespace alerting
