// The webhook client over HTTP/2, against test/receiver/http2.py.
#include <curl/curl.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "webhook_client_fixture.h"

namespace alerting::net {
namespace {

class WebhookHttp2Test : public WebhookTlsTest {
 protected:
  void SetUp() override {
    WebhookTlsTest::SetUp();
    certificate_ = Certificate("good", "IP:127.0.0.1");
  }
  // A receiver that answers so many requests, in one of http2.py's manners ("": its usual one).
  Receiver Serve(const std::string& manner, const char* answers = "99",
                 std::vector<std::string> options = {}) const {
    const std::vector<std::string> own = {"--tls-cert", certificate_ + ".pem",
                                          "--tls-key",  certificate_ + ".key",
                                          "--http2",    answers};
    options.insert(options.end(), own.begin(), own.end());
    if (!manner.empty()) options.insert(options.end(), {"--http2-manner", manner});
    return Receiver(options);
  }
  static std::string UrlOf(const Receiver& server) { return server.Url("/", "127.0.0.1", "https"); }
  void OpenTrusting(long lifetime_s = 600) {
    Open("127.0.0.0/8", certificate_ + ".pem", {}, lifetime_s);
  }

  std::string certificate_;  // its path, without .pem and .key
};

// libcurl goes on using a connection of HTTP/2 after a timeout.
TEST_F(WebhookHttp2Test, ASilentHttp2ConnectionIsNotUsedAgain) {
  for (long timeout = 400;; timeout *= 2) {
    const Receiver server = Serve("", "2");
    OpenTrusting();
    const std::string url = UrlOf(server);
    EXPECT_EQ(Fetch(url).status, 200);
    EXPECT_EQ(Fetch(url).timings.connect, 0);
    const bool waited = StartAndSend(1, url, timeout);
    EXPECT_EQ(Drain()[1].status, 0);
    if (!waited) continue;  // what has waited for a moment only tells nothing
    const Response response = Fetch(url);
    EXPECT_EQ(response.status, 200) << response.error;
    EXPECT_GT(response.timings.connect, 0);
    break;
  }
}

TEST_F(WebhookHttp2Test, SaysWhatBecameOfAnotherRequestOfASilentConnection) {
  const Receiver server = Serve("no-window");
  const std::string url = UrlOf(server);
  std::map<uint64_t, Response> responses;
  bool waited = false;
  for (long timeout = 500; !waited; timeout *= 2) {
    OpenTrusting();
    EXPECT_EQ(Fetch(url).status, 200);
    waited = StartAndSend(1, url, timeout);
    Start(2, url);
    responses = Drain(/*left=*/!waited);
  }
  EXPECT_EQ(responses.at(1).status, 0);
  // It may have been sent again.
  EXPECT_TRUE(responses.at(2).status == 200 ||
              responses.at(2).error.starts_with("connection was given up: "))
      << responses.at(2).error;
}

TEST_F(WebhookHttp2Test, AnHttp2AnswerOfNothingWithoutEndIsCutOff) {
  const Receiver server = Serve("empty-data", "9");
  OpenTrusting();
  const std::string url = UrlOf(server);
  for (int i = 0; i < 2; ++i) {
    const Response response = Fetch(url);
    EXPECT_EQ(response.status, 200) << response.error;
    EXPECT_TRUE(response.cut_off);
  }
  // What is used again of the request holds nothing against another endpoint.
  const Receiver other({"--tls-cert", certificate_ + ".pem", "--tls-key", certificate_ + ".key"});
  EXPECT_FALSE(Fetch(other.Url("/ok", "127.0.0.1", "https")).cut_off);
}

// As where an endpoint is restarted: what it says it has not looked at can be sent again at once.
TEST_F(WebhookHttp2Test, AnHttp2ConnectionThatEndsIsReplacedEachTime) {
  const Receiver server = Serve("goaway");
  OpenTrusting();
  const std::string url = UrlOf(server);
  for (int i = 0; i < 10; ++i) {
    const Response response = Fetch(url);
    EXPECT_EQ(response.status, 200) << i << response.error;
    EXPECT_GT(response.timings.connect, 0);
    EXPECT_EQ(response.request.url, url);
  }
}

TEST_F(WebhookHttp2Test, SeveralHttp2ConnectionsThatEndCostOneRetry) {
  const Receiver server = Serve("goaway");
  OpenTrusting();
  const std::string url = UrlOf(server);
  // Before the first has answered, nobody knows that the others could share its connection.
  for (uint64_t tag = 1; tag <= 4; ++tag) Start(tag, url);
  for (const auto& [tag, response] : Drain()) EXPECT_EQ(response.status, 200) << response.error;
  const Response response = Fetch(url);
  EXPECT_EQ(response.status, 200) << response.error;
  EXPECT_GT(response.timings.connect, 0);
}

TEST_F(WebhookHttp2Test, NamesTheCauseOfEachFailureOfHttp2) {
  struct Case {
    const char* manner;
    const char* error;
  };
  for (const Case& c :
       {Case{"settings", "endpoint broke the HTTP/2 protocol"}, Case{"ping", "endpoint "},
        Case{"refuse", "endpoint refused the request each time (HTTP/2)"}}) {
    const Receiver server = Serve(c.manner);
    OpenTrusting();
    const Response response = Fetch(UrlOf(server));
    EXPECT_EQ(response.status, 0);
    EXPECT_TRUE(response.error.starts_with(c.error)) << c.manner << ": " << response.error;
  }
}

TEST_F(WebhookHttp2Test, ARefusedHttp2StreamIsTriedOnceMore) {
  const std::string log = directory_ + "/log";
  const Receiver server = Serve("refuse", "99", {"--log", log});
  OpenTrusting();
  for (size_t i = 1; i <= 3; ++i) {
    const Response response = Fetch(UrlOf(server));
    EXPECT_FALSE(response.failed_here) << response.error;
    std::ifstream lines(log);
    EXPECT_EQ(std::count(std::istreambuf_iterator<char>(lines), {}, '\n'), 2 * i);
  }
}

TEST_F(WebhookHttp2Test, SaysThatHttp2sLimitsAllowNothing) {
  if (curl_version_info(CURLVERSION_NOW)->version_num >= 0x080000) {
    GTEST_SKIP() << "libcurl counts what waits within it as sent";
  }
  for (const char* manner : {"no-streams", "no-window"}) {
    const Receiver server = Serve(manner);
    const std::string url = UrlOf(server);
    Response response;
    bool waited = false;
    for (long timeout = 1000; !waited; timeout *= 2) {
      OpenTrusting();
      EXPECT_EQ(Fetch(url).status, 200);
      waited = StartAndSend(1, url, timeout);
      response = Drain()[1];
    }
    EXPECT_EQ(response.status, 0);
    EXPECT_NE(response.error.find(" ms while sending the request: endpoint took 0 of 15 bytes"),
              std::string::npos)
        << manner << ": " << response.error;
    // It is given up with the connection.
    EXPECT_GT(Fetch(url).timings.connect, 0);
  }
}

// A socket that can be written to while nothing may be sent is no reason to wake up.
TEST_F(WebhookHttp2Test, AnEndpointThatTakesNothingIsWaitedForAtRest) {
  for (const char* manner : {"no-streams", "no-window"}) {
    const Receiver server = Serve(manner);
    OpenTrusting();
    const std::string url = UrlOf(server);
    EXPECT_EQ(Fetch(url).status, 200);  // with its limits
    EXPECT_EQ(Fetch(url, 1000).status, 0);
    EXPECT_LT(rounds_, 400u) << manner;
    rounds_ = 0;
  }
}

TEST_F(WebhookHttp2Test, ABodyIsSentOnceTheEndpointTakesIt) {
  const Receiver server = Serve("late-window");
  OpenTrusting();
  const std::string url = UrlOf(server);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Fetch(url).status, 200);
  EXPECT_LT(rounds_, 600u);
}

// Whose buffer is smaller than a frame.
TEST_F(WebhookHttp2Test, AHangingRequestDelaysNoOtherOfItsConnection) {
  const Receiver server = Serve("large");
  OpenTrusting();
  const std::string url = UrlOf(server);
  EXPECT_EQ(Fetch(url).status, 200);
  Start(1, url, kForeverMs, "hang");
  Start(2, url);
  const std::map<uint64_t, Response> responses = Drain(1);
  ASSERT_EQ(responses.count(2), 1u);
  EXPECT_EQ(responses.at(2).status, 200);
  EXPECT_EQ(responses.count(1), 0u);
}

TEST_F(WebhookHttp2Test, AnAnswerInManyRecordsIsCompleteBesideAHangingRequest) {
  const Receiver server = Serve("pieces", "99999");
  const std::string url = UrlOf(server);
  for (int round = 0; round < 5; ++round) {
    OpenTrusting();
    EXPECT_EQ(Fetch(url).status, 200);
    Start(1, url, kForeverMs, "hang");
    for (int i = 0; i < 100; ++i) {
      Start(2, url);
      ASSERT_EQ(Drain(1).count(2), 1u) << round << " " << i;
    }
  }
}

TEST_F(WebhookHttp2Test, AnHttp2ConnectionThatIsNeverIdleIsReplacedInTime) {
  using Clock = std::chrono::steady_clock;
  constexpr std::chrono::seconds kLifetime(1);
  const Receiver server = Serve("large", "99999");
  const std::string url = UrlOf(server);
  Clock::time_point opening, opened;
  do {  // until a slow machine has let both requests begin within the first lifetime
    opening = Clock::now();
    OpenTrusting(kLifetime.count());
    opened = Clock::now();
    EXPECT_EQ(Fetch(url).status, 200);
    Start(1, url, kForeverMs, "hang");
  } while (Clock::now() >= opening + kLifetime);
  Clock::time_point before, started;
  const auto is_over_a_new_connection = [&] {
    before = Clock::now();
    Start(2, url);
    started = Clock::now();
    const Response response = Drain(1)[2];
    EXPECT_EQ(response.status, 200) << response.error;
    return response.timings.connect > 0;
  };
  while (!is_over_a_new_connection()) ASSERT_LT(before, opened + kLifetime);
  EXPECT_GE(started, opening + kLifetime);
  const Clock::time_point over = before + kLifetime;
  for (int i = 0; i < 3; ++i) {
    const bool is_new = is_over_a_new_connection();
    EXPECT_TRUE(!is_new || started >= over);
  }
  EXPECT_EQ(client_->active(), 1u);
}

// Who waits is not to pay for what others get over the same connection.
TEST_F(WebhookHttp2Test, ManyAnswersOverOneConnectionAreNoFlood) {
  const Receiver server = Serve("large", "999");
  const std::string url = UrlOf(server);
  // Who reads what comes for all of them depends on which of the handles made before it has.
  for (uint64_t handles = 1; handles <= 3; ++handles) {
    OpenTrusting();
    EXPECT_EQ(Fetch(url).status, 200);
    for (uint64_t tag = 1; tag <= handles; ++tag) Start(tag, url);
    EXPECT_EQ(Drain().size(), handles);
    Start(1, url, kForeverMs, "hang");
    for (uint64_t tag = 2; tag <= 400; ++tag) {
      Start(tag, url);
      for (const auto& [finished, response] : Drain(1)) {
        ASSERT_EQ(finished, tag) << response.error;
        EXPECT_EQ(response.status, 200);
      }
    }
    EXPECT_EQ(client_->active(), 1u);
  }
}

}  // namespace
}  // namespace alerting::net
