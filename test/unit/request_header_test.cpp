#include "core/request_header.h"

#include <gtest/gtest.h>

#include <string>

namespace alerting {
namespace {

TEST(RequestHeaderTest, TakesWhatReceiversAskFor) {
  EXPECT_EQ(HeaderProblem("Authorization", "Bearer a.b-c_d=="), "");
  EXPECT_EQ(HeaderProblem("X-Api-Key", "0123"), "");
  EXPECT_EQ(HeaderProblem("x", "!\"#~ {}"), "");
  EXPECT_EQ(HeaderProblem("Cookie", "a=b; c=d"), "");
  EXPECT_EQ(
      HeaderProblem(std::string(kMaxHeaderNameBytes, 'n'), std::string(kMaxHeaderValueBytes, 'v')),
      "");
}

TEST(RequestHeaderTest, NamesAreTokens) {
  for (const std::string& name :
       {std::string(), std::string("a b"), std::string("a:"), std::string("a\r\nb"),
        std::string("a\0b", 3), std::string(" a"), std::string("(a)"), std::string("\xc3\xa4"),
        std::string("a\x7f")}) {
    EXPECT_EQ(HeaderProblem(name, "v"), "holds a name that is no token of HTTP") << name;
  }
  EXPECT_EQ(HeaderProblem(std::string(kMaxHeaderNameBytes + 1, 'n'), "v"),
            "holds a name longer than 100 bytes");
}

TEST(RequestHeaderTest, ReservedNamesInAnyCase) {
  for (const std::string name : {"webhook-id",
                                 "Webhook-Signature",
                                 "WEBHOOK-anything",
                                 "svix-id",
                                 "Content-Type",
                                 "content-length",
                                 "Content-Encoding",
                                 "Host",
                                 "HOST",
                                 "Connection",
                                 "Transfer-Encoding",
                                 "TE",
                                 "Trailer",
                                 "Upgrade",
                                 "Keep-Alive",
                                 "Expect",
                                 "Proxy-Authorization",
                                 "User-Agent",
                                 "X-Forwarded-For",
                                 "Forwarded",
                                 "Via",
                                 "X-Real-IP",
                                 "Metadata-Flavor",
                                 "Metadata",
                                 "X-aws-ec2-metadata-token",
                                 "X-Google-Metadata-Request",
                                 "Accept-Encoding",
                                 "HTTP2-Settings",
                                 "alerting-alert-status"}) {
    EXPECT_EQ(HeaderProblem(name, "v"), "holds \"" + std::string(name) + "\", which is reserved");
  }
}

TEST(RequestHeaderTest, ValuesAreOneLineOfPrintableAscii) {
  for (const std::string& value :
       {std::string("a\r\nX-Evil: 1"), std::string("a\nb"), std::string("a\rb"),
        std::string("a\0b", 3), std::string("a\tb"), std::string("\x7f"), std::string("\x1b[0m"),
        std::string("\xc3\xa4"), std::string("\xe2\x80\xa8")}) {
    EXPECT_EQ(HeaderProblem("X", value), "holds a value that is not printable ASCII for \"X\"");
  }
  for (const char* value : {"", " a", "a ", " "}) {
    EXPECT_NE(HeaderProblem("X", value), "") << '"' << value << '"';
  }
  EXPECT_EQ(HeaderProblem("X", std::string(kMaxHeaderValueBytes + 1, 'v')),
            "holds a value longer than 4096 bytes for \"X\"");
}

TEST(RequestHeaderTest, ReasonsShowNoValue) {
  for (const char* value : {"s3cret\n", " s3cret", "s3cret\xff"}) {
    EXPECT_EQ(HeaderProblem("X", value).find("s3cret"), std::string::npos);
  }
}

}  // namespace
}  // namespace alerting
