// The webhook client against test/receiver/receiver.py, which misbehaves as its paths say.
// Run from the top of the tree, or with ALERTING_RECEIVER set to the receiver's path.
#include "net/webhook_client.h"

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <netdb.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "webhook_client_fixture.h"

namespace {

std::mutex hang_mutex;
std::condition_variable hang_ended;
bool hangs = false;
int hanging = 0;

}  // namespace

// In the resolver's place, where libcurl finds it: look-ups of hangs.invalid hang while told to.
extern "C" int getaddrinfo(const char* host, const char* service, const addrinfo* hints,
                           addrinfo** result) {
  if (host != nullptr && std::string_view(host) == "hangs.invalid") {
    std::unique_lock<std::mutex> lock(hang_mutex);
    ++hanging;
    hang_ended.wait(lock, [] { return !hangs; });
    --hanging;
    hang_ended.notify_all();
    return EAI_AGAIN;
  }
  using Resolver = int(const char*, const char*, const addrinfo*, addrinfo**);
  static auto* const next = reinterpret_cast<Resolver*>(dlsym(RTLD_NEXT, "getaddrinfo"));
  return next(host, service, hints, result);
}

namespace alerting::net {
namespace {

// Look-ups of hangs.invalid hang.
class ScopedHang {
 public:
  ScopedHang() { Set(true); }
  ~ScopedHang() {
    Set(false);
    std::unique_lock<std::mutex> lock(hang_mutex);
    hang_ended.wait(lock, [] { return hanging == 0; });
  }

 private:
  static void Set(bool value) {
    const std::lock_guard<std::mutex> lock(hang_mutex);
    hangs = value;
    hang_ended.notify_all();
  }
};

TEST_F(WebhookClientTest, DeliversAndKeepsTheConnection) {
  const Response first = Fetch(receiver_->Url("/ok"));
  EXPECT_EQ(first.status, 200);
  EXPECT_EQ(first.error, "");
  EXPECT_EQ(first.body, "{}");
  EXPECT_GT(first.timings.total, 0);
  const Response second = Fetch(receiver_->Url("/ok"));
  EXPECT_EQ(second.status, 200);
  EXPECT_EQ(second.timings.connect, 0);
}

TEST_F(WebhookClientTest, AKeptConnectionThatThePeerClosesWakesTheCallerOnce) {
  auto server = std::make_unique<Receiver>();
  EXPECT_EQ(Fetch(server->Url("/ok")).status, 200);
  server.reset();
  pollfd wait{client_->PollDescriptor(), POLLIN, 0};
  ASSERT_EQ(poll(&wait, 1, kPatienceMs), 1);
  client_->OnReady();
  EXPECT_EQ(poll(&wait, 1, 0), 0);
  EXPECT_EQ(Fetch(receiver_->Url("/ok")).status, 200);
}

// As where the peer closes it while the request is on its way.
TEST_F(WebhookClientTest, ABusyConnectionIsReplacedInTime) {
  using Clock = std::chrono::steady_clock;
  constexpr std::chrono::seconds kLifetime(1);
  const auto opening = Clock::now();
  Open("127.0.0.0/8", "", {}, kLifetime.count());
  const std::string url = receiver_->Url("/slow-ok/0.01");
  std::optional<Clock::time_point> first_started;
  for (int connections = 0; connections < 2;) {
    const auto before = Clock::now();
    Start(1, url);
    const auto after = Clock::now();
    const Response response = Drain()[1];
    ASSERT_EQ(response.status, 200) << response.error;
    connections += response.timings.connect > 0;
    if (!first_started) first_started = after;
    if (connections == 2) {
      EXPECT_GE(after, opening + kLifetime);
    } else {
      ASSERT_LT(before, *first_started + kLifetime);
    }
  }
}

TEST_F(WebhookClientTest, AKeptConnectionThatBreaksIsReplacedEachTime) {
  for (const char* path : {"/once/reset", "/once/close"}) {
    for (int i = 0; i < 20; ++i) {
      const Response response = Fetch(receiver_->Url(path));
      ASSERT_EQ(response.status, 200) << path << ", request " << i << ": " << response.error;
    }
  }
}

TEST_F(WebhookClientTest, ManyKeptConnectionsThatBreakCostOneRetry) {
  constexpr uint64_t kCount = 12;
  for (uint64_t tag = 1; tag <= kCount; ++tag) Start(tag, receiver_->Url("/once/reset"));
  for (const auto& [tag, response] : Drain()) EXPECT_EQ(response.status, 200);
  const Response response = Fetch(receiver_->Url("/once/reset"));
  EXPECT_EQ(response.status, 200) << response.error;
  EXPECT_GT(response.timings.connect, 0);
}

TEST_F(WebhookClientTest, WhatCameUnaskedIsNoAnswer) {
  EXPECT_EQ(Fetch(receiver_->Url("/twice")).status, 200);
  std::unique_ptr<WebhookClient> first = std::move(client_);
  SetUp();
  EXPECT_EQ(Fetch(receiver_->Url("/again")).status, 200);
  client_ = std::move(first);
  pollfd wait{client_->PollDescriptor(), POLLIN, 0};
  ASSERT_EQ(poll(&wait, 1, kPatienceMs), 1);
  client_->OnReady();
  EXPECT_EQ(Fetch(receiver_->Url("/twice")).status, 500);
}

TEST_F(WebhookClientTest, NamesTheCauseOfEachFailure) {
  struct Case {
    std::string url;
    const char* error;
    long timeout_ms = kPatienceMs;
  };
  constexpr long kShort = 500;
  for (const Case& c : {
           Case{"http://no-such-name.invalid/", "DNS: host name could not be resolved"},
           Case{"http://127.0.0.1:1/", "connecting failed: connection refused"},
           Case{receiver_->Url("/reset"), "receiving failed: connection reset by the endpoint"},
           Case{receiver_->Url("/close"), "endpoint closed the connection without a response"},
           Case{receiver_->Url("/garbage"), "response is not HTTP"},
           Case{receiver_->Url("/endless-headers"), "response head is larger than 32 kB"},
           Case{receiver_->Url("/long-header"), "response head is larger than 32 kB"},
           Case{receiver_->Url("/switch"), "endpoint switched to another protocol (101)"},
           Case{receiver_->Url("/continue"), "timeout after ", kShort},
           Case{receiver_->Url("/drip"), "timeout after ", kShort},
           Case{receiver_->Url("/hang"), "timeout after ", kShort},
       }) {
    const Response response = Fetch(c.url, c.timeout_ms);
    EXPECT_EQ(response.status, 0) << c.url;
    EXPECT_TRUE(response.error.starts_with(c.error)) << c.url << ": " << response.error;
  }
}

TEST_F(WebhookClientTest, SaysThatThisMachineHasNoSocketLeft) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const int next = dup(0);
  ASSERT_EQ(close(next), 0);
  const rlimit none{static_cast<rlim_t>(next), before.rlim_max};
  const Response refused = Fetch("http://127.0.0.1:1/");
  EXPECT_EQ(refused.error, "connecting failed: connection refused");
  EXPECT_FALSE(refused.failed_here);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  const Response response = Fetch(receiver_->Url("/ok"));
  const Response unresolved = Fetch(receiver_->Url("/ok", "alerting.invalid"));
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(response.error, "connecting failed: this machine has too many open files");
  EXPECT_TRUE(response.failed_here);
  EXPECT_EQ(unresolved.error, "DNS: this machine has too many open files or threads");
  EXPECT_TRUE(unresolved.failed_here);
  const Response again = Fetch(receiver_->Url("/ok"));
  EXPECT_EQ(again.status, 200);
  EXPECT_FALSE(again.failed_here);
}

TEST_F(WebhookClientTest, TlsToAPlainPortFails) {
  // The receiver hangs up or waits, as it happens to find a line's end in the handshake or not.
  const Response response = FetchUntil(
      receiver_->Url("/", "127.0.0.1", "https"), 500,
      [](const Response& tried) { return !tried.error.ends_with("ms while connecting"); });
  EXPECT_EQ(response.status, 0);
  EXPECT_NE(response.error.find("TLS"), std::string::npos) << response.error;
}

TEST_F(WebhookClientTest, SaysInWhichPhaseTheTimeRanOut) {
  const auto expect = [this](const std::string& url, const char* phase) {
    const auto ends_so = [phase](const Response& tried) { return tried.error.ends_with(phase); };
    const Response response = FetchUntil(url, 200, ends_so);
    EXPECT_TRUE(ends_so(response)) << phase << ": " << response.error;
  };
  expect(receiver_->Url("/hang"), "ms waiting for a response");
  expect(receiver_->Url("/drip"), "ms while reading the response");
  const SilentListener silent;
  expect(silent.Url("https"), "ms in the TLS handshake");
  // Its backlog is full after a few connections that nobody accepts.
  for (uint64_t tag = 0; tag < 10; ++tag) Start(tag, silent.Url("https"), 300);
  int connecting = 0;
  for (const auto& [tag, response] : Drain()) {
    connecting += response.error.ends_with("ms while connecting");
  }
  EXPECT_GT(connecting, 0);
}

// As where the process was stopped, or waited for a lock, past the request's time.
TEST_F(WebhookClientTest, AnAnswerThatLiesThereInTimeIsTaken) {
  const std::string url = receiver_->Url("/slow-ok/0.05");
  EXPECT_EQ(Fetch(url).status, 200);
  long timeout = 300;
  while (!StartAndSend(1, url, timeout)) {
    Drain();
    EXPECT_EQ(Fetch(url).status, 200);
    timeout *= 2;
  }
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout);
  pollfd wait{client_->PollDescriptor(), POLLIN, 0};
  ASSERT_EQ(poll(&wait, 1, kPatienceMs), 1);
  while (std::chrono::steady_clock::now() <= end) poll(nullptr, 0, 1);
  const Response response = Drain()[1];
  EXPECT_EQ(response.status, 200) << response.error;
}

TEST_F(WebhookClientTest, AnAnswerCountsHoweverItsBodyEnds) {
  for (const char* path : {"/endless", "/gzipbomb", "/body/200000", "/endless-chunk"}) {
    const Response response = Fetch(receiver_->Url(path));
    EXPECT_EQ(response.status, 200) << path << response.error;
    EXPECT_TRUE(response.cut_off) << path;
    EXPECT_LE(response.body.size(), kKeptBodyBytes);
  }
  const auto answered = [](const Response& tried) { return tried.status != 0; };
  EXPECT_EQ(FetchUntil(receiver_->Url("/drip-body"), 500, answered).status, 200);
  EXPECT_EQ(Fetch(receiver_->Url("/body/2000")).body, std::string(kKeptBodyBytes, 'b'));
  EXPECT_EQ(Fetch(receiver_->Url("/binary")).status, 500);
}

TEST_F(WebhookClientTest, RedirectsAreAnswersAndNothingMore) {
  for (const char* path : {"/redirect/301", "/redirect/302", "/redirect/307", "/redirect/308",
                           "/redirect/302?to=http://169.254.169.254/latest/meta-data"}) {
    EXPECT_EQ(Fetch(receiver_->Url(path)).status / 100, 3) << path;
  }
}

// Neither what is set for other programs, nor what an endpoint answered before.
TEST_F(WebhookClientTest, TakesNoHintsFromElsewhere) {
  char pattern[] = "/tmp/alerting_hints_XXXXXX";
  const std::string directory = mkdtemp(pattern);
  const std::string netrc = directory + "/.netrc", log = directory + "/log";
  std::ofstream(netrc) << "machine 127.0.0.1 login somebody password hunter2\n";
  const char* home = std::getenv("HOME");
  const std::string home_before = home == nullptr ? "" : home;
  const char* const proxies[] = {"http_proxy", "https_proxy", "HTTPS_PROXY", "ALL_PROXY"};
  for (const char* proxy : proxies) setenv(proxy, "http://127.0.0.1:1/", 1);
  setenv("HOME", directory.c_str(), 1);
  setenv("NETRC", netrc.c_str(), 1);
  const Receiver receiver({"--log", log});
  for (int i = 0; i < 2; ++i) EXPECT_EQ(Fetch(receiver.Url("/hints")).status, 401);
  for (const char* proxy : proxies) unsetenv(proxy);
  unsetenv("NETRC");
  setenv("HOME", home_before.c_str(), 1);
  std::ifstream lines(log);
  const std::string requests(std::istreambuf_iterator<char>(lines), {});
  EXPECT_EQ(std::count(requests.begin(), requests.end(), '\n'), 2);
  for (const char* unwanted : {"uthorization", "ookie", "pgrade"}) {
    EXPECT_EQ(requests.find(unwanted), std::string::npos) << requests;
  }
  EXPECT_EQ(std::system(("rm -r " + directory).c_str()), 0);
}

TEST_F(WebhookClientTest, HandsOverRetryAfter) {
  const Response response = Fetch(receiver_->Url("/retry-after/7"));
  EXPECT_EQ(response.status, 429);
  EXPECT_EQ(response.retry_after, "7");
}

TEST_F(WebhookClientTest, AHangingLookUpHoldsUpNobody) {
  constexpr uint64_t kHanging = 20;
  const ScopedHang hang;
  for (uint64_t tag = 1; tag <= kHanging; ++tag) {
    Start(tag, receiver_->Url("/ok", "hangs.invalid"), tag <= kHanging / 2 ? 300 : kForeverMs);
  }
  Start(kHanging + 1, receiver_->Url("/ok", "localhost"));
  Start(kHanging + 2, "http://no-such-name.invalid/");
  const std::map<uint64_t, Response> responses = Drain(kHanging / 2);
  ASSERT_EQ(responses.size(), kHanging / 2 + 2);
  EXPECT_EQ(responses.at(kHanging + 1).status, 200);
  EXPECT_TRUE(responses.at(kHanging + 2).error.starts_with("DNS: "));
  EXPECT_TRUE(responses.at(1).error.ends_with("ms while resolving the host name"));
  EXPECT_EQ(client_->active(), kHanging / 2);
  client_.reset();  // waits for none of them
}

TEST_F(WebhookClientTest, AHeaderCannotBeginAnother) {
  Request request;
  request.tag = 1;
  request.url = receiver_->Url("/ok");
  request.headers = {"webhook-id: x\r\nX-Evil: 1"};
  client_->Start(std::move(request));
  EXPECT_EQ(Drain()[1].error, "request could not be prepared");
}

// As when the machine behind a connection has gone, and nobody is left to say so.
TEST_F(WebhookClientTest, ASilentConnectionIsNotUsedAgain) {
  for (long timeout = 400;; timeout *= 2) {
    SetUp();
    const Receiver receiver;
    const std::string url = receiver.Url("/deaf/4");
    for (const uint64_t tag : {1, 2, 3, 4}) Start(tag, url);
    for (const auto& [tag, response] : Drain()) EXPECT_EQ(response.status, 200);
    const bool waited = StartAndSend(1, url, timeout);
    EXPECT_EQ(Drain()[1].status, 0);
    if (!waited) continue;  // what has waited for a moment only tells nothing
    EXPECT_EQ(Fetch(url).status, 200) << "none of the three others is tried";
    break;
  }
}

TEST_F(WebhookClientTest, SlowEndpointsDelayNobody) {
  for (uint64_t tag = 100; tag < 200; ++tag) Start(tag, receiver_->Url("/hang"), kForeverMs);
  for (uint64_t tag = 1; tag <= 50; ++tag) Start(tag, receiver_->Url("/ok"));
  const std::map<uint64_t, Response> responses = Drain(/*left=*/100);
  EXPECT_EQ(responses.size(), 50);
  for (const auto& [tag, response] : responses) EXPECT_EQ(response.status, 200) << tag;
}

TEST_F(WebhookClientTest, CanBeDestroyedWithRequestsUnderWay) {
  const ScopedHang hang;
  for (uint64_t tag = 1; tag <= 20; ++tag) Start(tag, receiver_->Url("/hang"), kForeverMs);
  Start(30, "http://hangs.invalid/", kForeverMs);
  client_->OnReady();
  client_.reset();  // waits for none of them
}

}  // namespace
}  // namespace alerting::net
