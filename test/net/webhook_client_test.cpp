// The webhook client against test/receiver/receiver.py, which misbehaves as its paths say.
// Run from the top of the tree, or with ALERTING_RECEIVER set to the receiver's path.
#include "net/webhook_client.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "receiver.h"

namespace alerting::net {
namespace {

// Listens and never accepts.
class SilentListener {
 public:
  SilentListener() : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(bind(socket_.get(), generic, size), 0);
    EXPECT_EQ(listen(socket_.get(), 1), 0);
    EXPECT_EQ(getsockname(socket_.get(), generic, &size), 0);
    port_ = ntohs(address.sin_port);
  }
  std::string Url(const std::string& scheme) const {
    return scheme + "://127.0.0.1:" + std::to_string(port_) + "/";
  }

 private:
  Descriptor socket_;
  int port_ = 0;
};

class WebhookClientTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    signal(SIGPIPE, SIG_IGN);
    receiver_ = new Receiver;
  }
  static void TearDownTestSuite() { delete receiver_; }

  void SetUp() override { Open("127.0.0.0/8,::1/128"); }
  void Open(std::string_view networks, std::string ca_file = "",
            std::vector<std::string> resolve = {}) {
    std::string error;
    ClientOptions options;
    options.policy = Policy(networks);
    options.tls.authorities = std::move(ca_file);
    options.resolve = std::move(resolve);
    client_ = WebhookClient::Create(std::move(options), &error);
    ASSERT_NE(client_, nullptr) << error;
  }
  void Start(uint64_t tag, std::string url, long timeout_ms = 2000) {
    Request request;
    request.tag = tag;
    request.url = std::move(url);
    request.body = R"({"type":"ping"})";
    request.headers = {"Content-Type: application/json", "webhook-id: x"};
    request.connect_timeout_ms = timeout_ms;
    request.total_timeout_ms = timeout_ms;
    client_->Start(std::move(request));
  }
  // Waits for all requests as the sender does; by tag.
  std::map<uint64_t, Response> Drain() {
    std::map<uint64_t, Response> responses;
    while (client_->active() > 0) {
      pollfd wait{client_->PollDescriptor(), POLLIN, 0};
      poll(&wait, 1, static_cast<int>(client_->TimeoutMs().value_or(1000)));
      client_->OnReady();
      for (Response& response : client_->TakeFinished()) {
        responses[response.tag] = std::move(response);
      }
    }
    return responses;
  }
  Response Fetch(std::string url, long timeout_ms = 2000) {
    Start(1, std::move(url), timeout_ms);
    return Drain()[1];
  }

  static Receiver* receiver_;
  std::unique_ptr<WebhookClient> client_;
};

Receiver* WebhookClientTest::receiver_ = nullptr;

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
  ASSERT_EQ(poll(&wait, 1, 10'000), 1);
  client_->OnReady();
  EXPECT_EQ(poll(&wait, 1, 0), 0);
  EXPECT_EQ(Fetch(receiver_->Url("/ok")).status, 200);
}

// As where the peer closes it while the request is on its way.
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
  pollfd wait{client_->PollDescriptor(), POLLIN, 0};
  ASSERT_EQ(poll(&wait, 1, 10'000), 1);
  client_->OnReady();
  EXPECT_EQ(Fetch(receiver_->Url("/twice")).status, 500);
}

TEST_F(WebhookClientTest, NamesTheCauseOfEachFailure) {
  struct Case {
    std::string url;
    const char* error;
  };
  for (const Case& c : {
           Case{"http://no-such-name.invalid/", "DNS: host name could not be resolved"},
           Case{"http://127.0.0.1:1/", "connecting failed: connection refused"},
           Case{receiver_->Url("/reset"), "receiving failed: connection reset by the endpoint"},
           Case{receiver_->Url("/close"), "endpoint closed the connection without a response"},
           Case{receiver_->Url("/garbage"), "response is not HTTP"},
           Case{receiver_->Url("/endless-headers"), "response head is larger than 32 kB"},
           Case{receiver_->Url("/long-header"), "response head is larger than 32 kB"},
           Case{receiver_->Url("/continue"), "timeout after "},
           Case{receiver_->Url("/drip"), "timeout after "},
           Case{receiver_->Url("/hang"), "timeout after "},
       }) {
    const Response response = Fetch(c.url, 500);
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
  const Response response = Fetch(receiver_->Url("/", "127.0.0.1", "https"), 500);
  EXPECT_EQ(response.status, 0);
  EXPECT_NE(response.error.find("TLS"), std::string::npos) << response.error;
}

TEST_F(WebhookClientTest, SaysInWhichPhaseTheTimeRanOut) {
  EXPECT_TRUE(Fetch(receiver_->Url("/hang"), 200).error.ends_with("ms waiting for a response"));
  EXPECT_TRUE(Fetch(receiver_->Url("/drip"), 200).error.ends_with("ms while reading the response"));
  const SilentListener silent;
  EXPECT_TRUE(Fetch(silent.Url("https"), 200).error.ends_with("ms in the TLS handshake"));
  // Its backlog is full after a few connections that nobody accepts.
  for (uint64_t tag = 0; tag < 10; ++tag) Start(tag, silent.Url("https"), 300);
  int connecting = 0;
  for (const auto& [tag, response] : Drain()) {
    connecting += response.error.ends_with("ms while connecting");
  }
  EXPECT_GT(connecting, 0);
}

TEST_F(WebhookClientTest, AnAnswerCountsHoweverItsBodyEnds) {
  for (const char* path : {"/endless", "/gzipbomb", "/body/200000"}) {
    const Response response = Fetch(receiver_->Url(path), 6000);
    EXPECT_EQ(response.status, 200) << path << response.error;
    EXPECT_TRUE(response.cut_off) << path;
    EXPECT_LE(response.body.size(), kKeptBodyBytes);
  }
  EXPECT_EQ(Fetch(receiver_->Url("/drip-body"), 500).status, 200);
  EXPECT_EQ(Fetch(receiver_->Url("/body/2000")).body, std::string(kKeptBodyBytes, 'b'));
  EXPECT_EQ(Fetch(receiver_->Url("/binary")).status, 500);
}

TEST_F(WebhookClientTest, RedirectsAreAnswersAndNothingMore) {
  for (const char* path : {"/redirect/301", "/redirect/302", "/redirect/307", "/redirect/308",
                           "/redirect/302?to=http://169.254.169.254/latest/meta-data"}) {
    EXPECT_EQ(Fetch(receiver_->Url(path)).status / 100, 3) << path;
  }
}

TEST_F(WebhookClientTest, HandsOverRetryAfter) {
  const Response response = Fetch(receiver_->Url("/retry-after/7"));
  EXPECT_EQ(response.status, 429);
  EXPECT_EQ(response.retry_after, "7");
}

TEST_F(WebhookClientTest, RefusesNetworksThatAreNotListed) {
  Open("");
  for (const char* host :
       {"127.0.0.1", "localhost", "2130706433", "0x7f.1", "0177.0.0.1", "[::1]",
        "[::ffff:127.0.0.1]", "0.0.0.0", "0", "127.1", "10.0.0.1", "169.254.169.254", "[fd00::1]",
        "[64:ff9b::7f00:1]", "[2002:7f00:1::]"}) {
    for (const char* scheme : {"http", "https"}) {
      const Response response = Fetch(receiver_->Url("/ok", host, scheme), 1000);
      EXPECT_EQ(response.status, 0);
      EXPECT_TRUE(response.error.starts_with("refused network: ")) << host << response.error;
    }
  }
  const Response response = Fetch("http://8.8.8.8/", 300);
  EXPECT_TRUE(response.error.starts_with("refused network: plain http ")) << response.error;
}

TEST_F(WebhookClientTest, AMappedFormOfAListedAddressIsListed) {
  EXPECT_EQ(Fetch(receiver_->Url("/ok", "[::ffff:127.0.0.1]")).status, 200);
  EXPECT_EQ(Fetch(receiver_->Url("/ok", "localhost")).status, 200);
}

TEST_F(WebhookClientTest, KeptConnectionsObeyANewPolicy) {
  EXPECT_EQ(Fetch(receiver_->Url("/ok")).status, 200);
  client_->SetPolicy(Policy(""));
  const Response response = Fetch(receiver_->Url("/ok"));
  EXPECT_EQ(response.status, 0);
  EXPECT_TRUE(response.error.starts_with("refused network: ")) << response.error;
}

TEST_F(WebhookClientTest, JudgesWhatANameResolvesTo) {
  const std::string at = "hooks.example:" + std::to_string(receiver_->port()) + ":";
  const std::string http = receiver_->Url("/ok", "hooks.example");
  const std::string https = receiver_->Url("/ok", "hooks.example", "https");
  for (const char* addresses : {"127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "10.0.0.1,127.0.0.1",
                                "169.254.169.254", "[64:ff9b::7f00:1],0.0.0.0"}) {
    Open("", "", {at + addresses});
    for (const std::string& url : {http, https}) {
      const Response response = Fetch(url, 1000);
      EXPECT_EQ(response.status, 0) << addresses;
      EXPECT_TRUE(response.error.starts_with("refused network: ")) << addresses << response.error;
    }
  }
  Open("127.0.0.0/8", "", {at + "127.0.0.1"});
  EXPECT_EQ(Fetch(http).status, 200);
}

TEST_F(WebhookClientTest, JudgesEachLookUpAnew) {
  const std::string at = "hooks.example:" + std::to_string(receiver_->port()) + ":";
  // Each answer ends its connection, so that each request looks the name up.
  const std::string url = receiver_->Url("/close", "hooks.example");
  Open("127.0.0.1/32", "", {at + "127.0.0.1"});
  EXPECT_EQ(Fetch(url).error, "endpoint closed the connection without a response");
  for (const char* address : {"169.254.169.254", "10.0.0.1", "127.0.0.2", "[::1]"}) {
    client_->SetResolve({at + address});
    const Response response = Fetch(url, 1000);
    EXPECT_TRUE(response.error.starts_with("refused network: ")) << address << response.error;
  }
  client_->SetResolve({at + "127.0.0.1"});
  EXPECT_EQ(Fetch(receiver_->Url("/ok", "hooks.example")).status, 200);
}

TEST_F(WebhookClientTest, GoesOnToTheNextAddress) {
  const std::string at = "hooks.example:" + std::to_string(receiver_->port()) + ":";
  const std::string url = receiver_->Url("/ok", "hooks.example");
  // Refused, then live; dead (nobody listens there), then live; a dead IPv6 and a live IPv4.
  for (const char* addresses : {"10.0.0.1,127.0.0.1", "127.0.0.77,127.0.0.1", "[::1],127.0.0.1",
                                "[2001:db8::1],127.0.0.1"}) {
    Open("127.0.0.0/8,::1", "", {at + addresses});
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_EQ(Fetch(url).status, 200) << addresses;
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(1000));
  }
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
  const std::string url = receiver_->Url("/deaf/4");
  for (const uint64_t tag : {1, 2, 3, 4}) Start(tag, url);
  for (const auto& [tag, response] : Drain()) EXPECT_EQ(response.status, 200);
  EXPECT_EQ(Fetch(url, 400).status, 0);
  EXPECT_EQ(Fetch(url, 400).status, 200) << "none of the three others is tried";
}

TEST_F(WebhookClientTest, SlowEndpointsDelayNobody) {
  for (uint64_t tag = 100; tag < 200; ++tag) Start(tag, receiver_->Url("/hang"), 1500);
  const auto begin = std::chrono::steady_clock::now();
  for (uint64_t tag = 1; tag <= 50; ++tag) Start(tag, receiver_->Url("/ok"));
  size_t done = 0;
  while (done < 50) {
    pollfd wait{client_->PollDescriptor(), POLLIN, 0};
    poll(&wait, 1, static_cast<int>(client_->TimeoutMs().value_or(1000)));
    client_->OnReady();
    for (const Response& response : client_->TakeFinished()) done += response.status == 200;
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(1000));
  for (const auto& [tag, response] : Drain()) EXPECT_EQ(response.status, 0) << tag;
}

TEST_F(WebhookClientTest, CanBeDestroyedWithRequestsUnderWay) {
  for (uint64_t tag = 1; tag <= 20; ++tag) Start(tag, receiver_->Url("/hang"), 60'000);
  Start(30, "http://no-such-name.invalid/", 60'000);
  client_->OnReady();
  const auto begin = std::chrono::steady_clock::now();
  client_.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(200));
}

class WebhookTlsTest : public WebhookClientTest {
 protected:
  // Makes directory/NAME.pem and .key, self-signed for the given subject alternative name.
  std::string Certificate(const std::string& name, const std::string& subject) {
    const std::string base = directory_ + "/" + name;
    const std::string command =
        "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=test -addext 'subjectAltName=" +
        subject + "' -days 1 -keyout " + base + ".key -out " + base + ".pem 2>/dev/null";
    EXPECT_EQ(std::system(command.c_str()), 0);
    return base;
  }
  void SetUp() override {
    char pattern[] = "/tmp/alerting_tls_XXXXXX";
    directory_ = mkdtemp(pattern);
  }
  void TearDown() override { EXPECT_EQ(std::system(("rm -r " + directory_).c_str()), 0); }

  std::string directory_;
};

TEST_F(WebhookTlsTest, VerifiesCertificateAndName) {
  const std::string good = Certificate("good", "IP:127.0.0.1,DNS:localhost");
  const std::string other = Certificate("other", "DNS:elsewhere.example");
  const Receiver good_server({"--tls-cert", good + ".pem", "--tls-key", good + ".key"});
  const Receiver other_server({"--tls-cert", other + ".pem", "--tls-key", other + ".key"});

  Open("127.0.0.0/8");
  Response response = Fetch(good_server.Url("/ok", "127.0.0.1", "https"));
  EXPECT_EQ(response.status, 0);
  EXPECT_NE(response.error.find("self-signed"), std::string::npos) << response.error;

  Open("127.0.0.0/8", good + ".pem");
  response = Fetch(good_server.Url("/ok", "127.0.0.1", "https"));
  EXPECT_EQ(response.status, 200) << response.error;
  EXPECT_GT(response.timings.tls, 0);
  EXPECT_EQ(Fetch(good_server.Url("/ok", "localhost", "https")).status, 200);
  EXPECT_TRUE(Fetch(other_server.Url("/ok", "127.0.0.1", "https")).error.starts_with("TLS: "));

  client_->SetTlsFiles({});
  EXPECT_TRUE(Fetch(good_server.Url("/ok", "127.0.0.1", "https")).error.starts_with("TLS: "));
  client_->SetTlsFiles({.authorities = good + ".pem", .certificate = "", .key = ""});
  EXPECT_EQ(Fetch(good_server.Url("/ok", "127.0.0.1", "https")).status, 200);

  Open("127.0.0.0/8", other + ".pem");
  response = Fetch(other_server.Url("/ok", "127.0.0.1", "https"));
  EXPECT_TRUE(response.error.starts_with("TLS: ")) << response.error;
}

TEST_F(WebhookTlsTest, RefusesAnExpiredCertificate) {
  const char* path = std::getenv("ALERTING_RECEIVER");
  const std::string receiver = path != nullptr ? path : "test/receiver/receiver.py";
  const std::string old = receiver.substr(0, receiver.rfind('/') + 1) + "expired.pem";
  const Receiver server({"--tls-cert", old, "--tls-key", old});
  Open("127.0.0.0/8", old);
  const Response response = Fetch(server.Url("/ok", "127.0.0.1", "https"));
  EXPECT_EQ(response.status, 0);
  EXPECT_NE(response.error.find("certificate has expired"), std::string::npos) << response.error;
}

TEST_F(WebhookTlsTest, ShowsItsCertificateToWhoAsksForOne) {
  const std::string good = Certificate("good", "IP:127.0.0.1");
  const std::string client = Certificate("client", "DNS:client");
  const std::string stranger = Certificate("stranger", "DNS:stranger");
  for (const char* version : {"1.2", "1.3"}) {
    const Receiver server({"--tls-cert", good + ".pem", "--tls-key", good + ".key",
                           "--tls-client-ca", client + ".pem", "--tls-max", version});
    Open("127.0.0.0/8", good + ".pem");
    const std::string url = server.Url("/ok", "127.0.0.1", "https");
    // With TLS 1.3 the endpoint refuses after the handshake, and may just close the connection.
    const bool told = version == std::string("1.2");
    const auto refused = [&](const Response& response) {
      return response.status == 0 && !response.error.empty() &&
             (!told || response.error.starts_with("TLS: "));
    };
    Response response = Fetch(url);
    EXPECT_TRUE(refused(response)) << version << " " << response.error;
    client_->SetTlsFiles({good + ".pem", stranger + ".pem", stranger + ".key"});
    response = Fetch(url);
    EXPECT_TRUE(refused(response)) << version << " " << response.error;
    client_->SetTlsFiles({good + ".pem", client + ".pem", directory_ + "/missing"});
    response = Fetch(url);
    EXPECT_TRUE(response.error.starts_with("TLS: ")) << version << " " << response.error;
    client_->SetTlsFiles({good + ".pem", client + ".pem", client + ".key"});
    response = Fetch(url);
    EXPECT_EQ(response.status, 200) << version << " " << response.error;
    // A connection kept for who had a certificate is not for who has none.
    client_->SetTlsFiles({good + ".pem", "", ""});
    EXPECT_TRUE(refused(Fetch(url))) << version;
  }
}

// libcurl goes on using a connection of HTTP/2 after a timeout.
TEST_F(WebhookTlsTest, ASilentHttp2ConnectionIsNotUsedAgain) {
  const std::string good = Certificate("good", "IP:127.0.0.1");
  const Receiver server({"--tls-cert", good + ".pem", "--tls-key", good + ".key", "--http2", "2"});
  Open("127.0.0.0/8", good + ".pem");
  const std::string url = server.Url("/", "127.0.0.1", "https");
  EXPECT_EQ(Fetch(url).status, 200);
  EXPECT_EQ(Fetch(url).timings.connect, 0);
  EXPECT_EQ(Fetch(url, 400).status, 0);
  const Response response = Fetch(url);
  EXPECT_EQ(response.status, 200) << response.error;
  EXPECT_GT(response.timings.connect, 0);
}

TEST_F(WebhookTlsTest, AnHttp2AnswerOfNothingWithoutEndIsCutOff) {
  const std::string good = Certificate("good", "IP:127.0.0.1");
  const Receiver server(
      {"--tls-cert", good + ".pem", "--tls-key", good + ".key", "--http2", "9", "--http2-flood"});
  Open("127.0.0.0/8", good + ".pem");
  const std::string url = server.Url("/", "127.0.0.1", "https");
  for (int i = 0; i < 2; ++i) {
    const Response response = Fetch(url, 60'000);
    EXPECT_EQ(response.status, 200) << response.error;
    EXPECT_TRUE(response.cut_off);
  }
}

TEST_F(WebhookTlsTest, RefusesOldProtocols) {
  const std::string good = Certificate("good", "IP:127.0.0.1");
  const Receiver server(
      {"--tls-cert", good + ".pem", "--tls-key", good + ".key", "--tls-max", "1.1"});
  Open("127.0.0.0/8", good + ".pem");
  const Response response = Fetch(server.Url("/ok", "127.0.0.1", "https"));
  EXPECT_EQ(response.status, 0);
  EXPECT_TRUE(response.error.starts_with("TLS: ")) << response.error;
}

}  // namespace
}  // namespace alerting::net
