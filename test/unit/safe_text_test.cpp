#include "core/safe_text.h"

#include <gtest/gtest.h>

namespace alerting {
namespace {

#define REPLACED "\xef\xbf\xbd"

TEST(SafeTextTest, KeepsText) {
  EXPECT_EQ(SafeText("a\tb\r\nc", false), "a\tb\r\nc");
  EXPECT_EQ(SafeText("Gr\xc3\xb6\xc3\x9f"
                     "e \xf0\x9f\x9a\xa8 \xe2\x80\xa8",
                     false),
            "Gr\xc3\xb6\xc3\x9f"
            "e \xf0\x9f\x9a\xa8 \xe2\x80\xa8");
  EXPECT_EQ(SafeText("", false), "");
}

TEST(SafeTextTest, ReplacesWhatIsNone) {
  using namespace std::string_view_literals;
  EXPECT_EQ(SafeText("a\0b"sv, false), "a" REPLACED "b");
  EXPECT_EQ(SafeText("\x1b[31m\x7f", false), REPLACED "[31m" REPLACED);
  EXPECT_EQ(SafeText("\xff\xfe!", false), REPLACED REPLACED "!");
  EXPECT_EQ(SafeText("\xc0\x80!", false), REPLACED REPLACED "!");               // overlong
  EXPECT_EQ(SafeText("\xed\xa0\x80!", false), REPLACED REPLACED REPLACED "!");  // surrogate
  EXPECT_EQ(SafeText("\xf4\x90\x80\x80!", false), REPLACED REPLACED REPLACED REPLACED "!");
  EXPECT_EQ(SafeText("\xc2\x85!", false), REPLACED "!");  // U+0085
  EXPECT_EQ(SafeText("\xe2\x82!", false), REPLACED REPLACED "!");
}

TEST(SafeTextTest, LeavesOutWhatWasCutOff) {
  EXPECT_EQ(SafeText("ab\xe2\x82", false), "ab");
  EXPECT_EQ(SafeText("ab\xf0\x9f\x9a", false), "ab");
  EXPECT_EQ(SafeText("ab\xc3", false), "ab");
}

TEST(SafeTextTest, AsciiOnly) {
  EXPECT_EQ(SafeText("Gr\xc3\xb6\xc3\x9f"
                     "e\xff",
                     true),
            "Gr??e?");
}

}  // namespace
}  // namespace alerting
