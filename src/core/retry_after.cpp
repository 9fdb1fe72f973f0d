#include "core/retry_after.h"

#include <algorithm>
#include <array>

namespace alerting {
namespace {

constexpr Micros kDay = 24 * kHour;

// Days from 2000-01-01 to a date of the proleptic Gregorian calendar.
int64_t DaysFromEpoch(int64_t year, int month, int day) {
  const int64_t y = month <= 2 ? year - 1 : year;
  const int64_t era = y / 400;
  const int64_t year_of_era = y % 400;
  const int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  const int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146097 + day_of_era - 730425;
}

int DaysInMonth(int64_t year, int month) {
  constexpr std::array<int, 12> kDays = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  const bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
  return kDays[static_cast<size_t>(month - 1)] + (leap && month == 2 ? 1 : 0);
}

// Takes tokens off the front of a text; once one is missing, everything after fails too.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  bool Literal(std::string_view expected) {
    if (!text_.starts_with(expected)) return false;
    text_.remove_prefix(expected.size());
    return true;
  }
  bool Digits(size_t count, int* value) {
    if (text_.size() < count) return false;
    int sum = 0;
    for (const char c : text_.substr(0, count)) {
      if (c < '0' || c > '9') return false;
      sum = sum * 10 + (c - '0');
    }
    text_.remove_prefix(count);
    *value = sum;
    return true;
  }
  bool Month(int* month) {
    constexpr std::string_view kNames = "JanFebMarAprMayJunJulAugSepOctNovDec";
    if (text_.size() < 3) return false;
    const size_t at = kNames.find(text_.substr(0, 3));
    if (at == std::string_view::npos || at % 3 != 0) return false;
    text_.remove_prefix(3);
    *month = static_cast<int>(at / 3) + 1;
    return true;
  }
  bool Clock(int* hour, int* minute, int* second) {
    return Digits(2, hour) && Literal(":") && Digits(2, minute) && Literal(":") &&
           Digits(2, second);
  }
  bool AtEnd() const { return text_.empty(); }

 private:
  std::string_view text_;
};

struct DateTime {
  int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0;
};

std::optional<Micros> ToMicros(const DateTime& t) {
  if (t.month < 1 || t.day < 1 || t.day > DaysInMonth(t.year, t.month)) return std::nullopt;
  if (t.hour > 23 || t.minute > 59 || t.second > 60) return std::nullopt;  // 60: a leap second
  return DaysFromEpoch(t.year, t.month, t.day) * kDay + t.hour * kHour + t.minute * kMinute +
         t.second * kSecond;
}

bool ScanFixdate(std::string_view text, DateTime* t) {  // 06 Nov 1994 08:49:37 GMT
  Scanner in(text);
  return in.Digits(2, &t->day) && in.Literal(" ") && in.Month(&t->month) && in.Literal(" ") &&
         in.Digits(4, &t->year) && in.Literal(" ") && in.Clock(&t->hour, &t->minute, &t->second) &&
         in.Literal(" GMT") && in.AtEnd();
}

bool ScanRfc850(std::string_view text, DateTime* t) {  // 06-Nov-94 08:49:37 GMT
  Scanner in(text);
  return in.Digits(2, &t->day) && in.Literal("-") && in.Month(&t->month) && in.Literal("-") &&
         in.Digits(2, &t->year) && in.Literal(" ") && in.Clock(&t->hour, &t->minute, &t->second) &&
         in.Literal(" GMT") && in.AtEnd();
}

bool ScanAsctime(std::string_view text, DateTime* t) {  // Nov  6 08:49:37 1994
  Scanner in(text);
  if (!in.Month(&t->month) || !in.Literal(" ")) return false;
  const bool day = in.Literal(" ") ? in.Digits(1, &t->day) : in.Digits(2, &t->day);
  return day && in.Literal(" ") && in.Clock(&t->hour, &t->minute, &t->second) && in.Literal(" ") &&
         in.Digits(4, &t->year) && in.AtEnd();
}

std::string_view Trim(std::string_view text) {
  const auto space = [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; };
  while (!text.empty() && space(text.front())) text.remove_prefix(1);
  while (!text.empty() && space(text.back())) text.remove_suffix(1);
  return text;
}

}  // namespace

std::optional<Micros> ParseHttpDate(std::string_view text, Micros now) {
  DateTime t;
  const size_t comma = text.find(", ");
  if (comma != std::string_view::npos && ScanFixdate(text.substr(comma + 2), &t)) {
    return ToMicros(t);
  }
  if (comma != std::string_view::npos && ScanRfc850(text.substr(comma + 2), &t)) {
    // Two digits mean the year that lies less than 50 years ahead (RFC 9110).
    const int64_t this_year = 2000 + now / (kDay * 365);
    t.year += static_cast<int>(this_year / 100 * 100);
    if (t.year >= this_year + 50) t.year -= 100;
    return ToMicros(t);
  }
  const size_t space = text.find(' ');
  if (comma == std::string_view::npos && space == 3 && ScanAsctime(text.substr(4), &t)) {
    return ToMicros(t);
  }
  return std::nullopt;
}

std::optional<Micros> ParseRetryAfter(std::string_view value, Micros now) {
  value = Trim(value);
  if (value.empty()) return std::nullopt;
  const bool number =
      std::all_of(value.begin(), value.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (number) {
    Micros seconds = 0;
    for (const char c : value) {
      seconds = std::min(seconds * 10 + (c - '0'), kMaxRetryAfter / kSecond);
    }
    return seconds * kSecond;
  }
  const std::optional<Micros> date = ParseHttpDate(value, now);
  if (!date) return std::nullopt;
  return std::clamp<Micros>(SubtractTime(*date, now), 0, kMaxRetryAfter);
}

}  // namespace alerting
