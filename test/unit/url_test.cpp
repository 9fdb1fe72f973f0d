#include "core/url.h"

#include <gtest/gtest.h>

#include <string>

namespace alerting {
namespace {

TEST(UrlTest, TakesAbsoluteHttpUrls) {
  struct Case {
    const char* text;
    const char* origin;
  };
  for (const Case& c : {
           Case{"https://hooks.example.com/a?b=c#d", "https://hooks.example.com:443"},
           Case{"HTTP://Hooks.Example.COM", "http://hooks.example.com:80"},
           Case{"https://h:8443/x", "https://h:8443"},
           Case{"https://h?x", "https://h:443"},
           Case{"https://h#x@127.0.0.1", "https://h:443"},
           Case{"http://[::1]:8080/", "http://[::1]:8080"},
           Case{"http://[2001:DB8::1]/", "http://[2001:db8::1]:80"},
           Case{"http://a_b-c.example.:80/", "http://a_b-c.example.:80"},
           Case{"https://xn--bcher-kva.example/%20", "https://xn--bcher-kva.example:443"},
           Case{"https://h/a@b:c", "https://h:443"},
       }) {
    std::string error;
    const auto url = ParseUrl(c.text, &error);
    ASSERT_TRUE(url.has_value()) << c.text << ": " << error;
    EXPECT_EQ(url->Origin(), c.origin);
  }
}

TEST(UrlTest, SeesAddressesInEverySpelling) {
  struct Case {
    const char* text;
    const char* address;
  };
  for (const Case& c : {
           Case{"http://127.0.0.1/", "127.0.0.1"},
           Case{"http://2130706433/", "127.0.0.1"},
           Case{"http://0x7f.1/", "127.0.0.1"},
           Case{"http://0177.0.0.1:80/", "127.0.0.1"},
           Case{"http://127.1/", "127.0.0.1"},
           Case{"http://0/", "0.0.0.0"},
           Case{"http://127.0.0.1./", "127.0.0.1"},
           Case{"http://0XA9FEA9FE/latest/meta-data", "169.254.169.254"},
           Case{"http://[::ffff:127.0.0.1]/", "::ffff:127.0.0.1"},
           Case{"http://[::1]/", "::1"},
       }) {
    std::string error;
    const auto url = ParseUrl(c.text, &error);
    ASSERT_TRUE(url.has_value()) << c.text << ": " << error;
    ASSERT_TRUE(url->address.has_value()) << c.text;
    EXPECT_EQ(FormatIpAddress(*url->address), c.address);
  }
}

TEST(UrlTest, KnowsLocalhost) {
  std::string error;
  for (const char* text : {"http://localhost/", "http://LOCALHOST:1080/", "http://localhost./",
                           "http://a.localhost/"}) {
    ASSERT_TRUE(ParseUrl(text, &error).has_value()) << text << error;
    EXPECT_TRUE(ParseUrl(text, &error)->IsLocalhost()) << text;
  }
  EXPECT_FALSE(ParseUrl("http://notlocalhost/", &error)->IsLocalhost());
}

TEST(UrlTest, RefusesEverythingElse) {
  using namespace std::string_view_literals;
  for (const std::string_view text : {
           ""sv,
           "h"sv,
           "/x"sv,
           "//h/x"sv,
           "h/x"sv,
           "http:"sv,
           "http:/h"sv,
           "http:///x"sv,
           "http://"sv,
           "https://:80"sv,
           "https://?x"sv,
           "ftp://h/"sv,
           "file:///etc/passwd"sv,
           "gopher://h/"sv,
           "httpx://h/"sv,
           " http://h/"sv,
           "http://h/ "sv,
           "http://h/a b"sv,
           "http://h/\r\nX: y"sv,
           "http://h\0.example/"sv,
           "http://h/\x7f"sv,
           "http://h\xc3\xa4/"sv,
           "http://h/\xe2\x80\xa8"sv,
           "http://u@h/"sv,
           "http://u:p@h/"sv,
           "http://@h/"sv,
           "http://h\\@x/"sv,
           "http://h\\x"sv,
           "http://h:0/"sv,
           "http://h:65536/"sv,
           "http://h:/"sv,
           "http://h:80a/"sv,
           "http://h:-1/"sv,
           "http://h:+80/"sv,
           "http://h:25/"sv,
           "http://h:22/"sv,
           "http://[::1"sv,
           "http://[::1]x/"sv,
           "http://[127.0.0.1]/"sv,
           "http://[fe80::1%25eth0]/"sv,
           "http://[]/"sv,
           "http://::1/"sv,
           "http://1.2.3.4.5/"sv,
           "http://256.1.1.1/"sv,
           "http://a.0x1g/"sv,
           "http://a.1/"sv,
           "http://a..b/"sv,
           "http://.a/"sv,
           "http://-a/"sv,
           "http://a-/"sv,
           "http://%31.0.0.1/"sv,
           "http://h%00/"sv,
           "http://a,b/"sv,
           "http://a!b/"sv,
           "http://h/{x}"sv,
       }) {
    std::string error;
    EXPECT_FALSE(ParseUrl(text, &error).has_value()) << text;
    EXPECT_TRUE(error.starts_with("URL ")) << text << ": " << error;
  }
  std::string error;
  EXPECT_FALSE(ParseUrl("http://h/" + std::string(kMaxUrlBytes, 'x'), &error).has_value());
  EXPECT_FALSE(ParseUrl("http://" + std::string(64, 'x') + "/", &error).has_value());
  EXPECT_TRUE(ParseUrl("http://" + std::string(63, 'x') + "/", &error).has_value());
}

TEST(UrlTest, ErrorsShowNoSecrets) {
  std::string error;
  for (const char* text : {"https://user:s3cret@h/p4th?q=t0ken", "https://h:99999/p4th?q=t0ken",
                           "https://h../p4th?q=t0ken", "ftp://h/p4th?q=t0ken"}) {
    EXPECT_FALSE(ParseUrl(text, &error).has_value());
    for (const char* secret : {"s3cret", "p4th", "t0ken", "user:"}) {
      EXPECT_EQ(error.find(secret), std::string::npos) << error;
    }
  }
}

}  // namespace
}  // namespace alerting
