// What the tests of the webhook client share: a client, and the receiver that it sends to.
#ifndef ALERTING_TEST_NET_WEBHOOK_CLIENT_FIXTURE_H_
#define ALERTING_TEST_NET_WEBHOOK_CLIENT_FIXTURE_H_

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "net/webhook_client.h"
#include "receiver.h"

namespace alerting::net {

// Any of these processes may be held up for seconds at any point, as on a busy machine. So what is
// to succeed has a time that only ends a test that has failed, and what is to be under way at the
// test's end has one that never comes.
inline constexpr long kPatienceMs = 60'000;
inline constexpr long kForeverMs = 24 * 3'600'000;

// Listens and never accepts.
class SilentListener {
 public:
  explicit SilentListener(const char* address = "127.0.0.1", int port = 0) {
    address_.sin_family = AF_INET;
    address_.sin_port = htons(static_cast<uint16_t>(port));
    EXPECT_EQ(inet_pton(AF_INET, address, &address_.sin_addr), 1);
    socklen_t size = sizeof(address_);
    auto* generic = reinterpret_cast<sockaddr*>(&address_);
    EXPECT_EQ(bind(socket_.get(), generic, size), 0);
    EXPECT_EQ(listen(socket_.get(), 1), 0);
    EXPECT_EQ(getsockname(socket_.get(), generic, &size), 0);
  }
  // After that it leaves unanswered whoever would connect.
  void FillBacklog() const {
    for (const Descriptor& socket : backlog_) {
      (void)connect(socket.get(), reinterpret_cast<const sockaddr*>(&address_), sizeof(address_));
    }
  }
  std::string Url(const std::string& scheme) const {
    return scheme + "://127.0.0.1:" + std::to_string(ntohs(address_.sin_port)) + "/";
  }

 private:
  static int Socket(int flags = 0) { return socket(AF_INET, SOCK_STREAM | flags, 0); }

  sockaddr_in address_{};
  const Descriptor socket_{Socket()};
  const std::array<Descriptor, 4> backlog_{
      Descriptor(Socket(SOCK_NONBLOCK)), Descriptor(Socket(SOCK_NONBLOCK)),
      Descriptor(Socket(SOCK_NONBLOCK)), Descriptor(Socket(SOCK_NONBLOCK))};
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
            std::vector<std::string> resolve = {}, long lifetime_s = 600) {
    std::string error;
    ClientOptions options;
    options.connection_lifetime_s = lifetime_s;
    options.policy = Policy(networks);
    options.tls.authorities = std::move(ca_file);
    options.resolve = std::move(resolve);
    client_ = WebhookClient::Create(std::move(options), &error);
    ASSERT_NE(client_, nullptr) << error;
  }
  void Start(uint64_t tag, std::string url, long timeout_ms = kPatienceMs,
             std::string body = R"({"type":"ping"})") {
    Request request;
    request.tag = tag;
    request.url = std::move(url);
    request.body = std::move(body);
    request.headers = {"Content-Type: application/json", "webhook-id: x"};
    request.connect_timeout_ms = timeout_ms;
    request.total_timeout_ms = timeout_ms;
    client_->Start(std::move(request));
  }
  // Waits for all requests but so many, as the sender does; by tag.
  std::map<uint64_t, Response> Drain(size_t left = 0) {
    std::map<uint64_t, Response> responses;
    while (client_->active() > left) {
      ++rounds_;
      pollfd wait{client_->PollDescriptor(), POLLIN, 0};
      poll(&wait, 1, static_cast<int>(client_->TimeoutMs().value_or(1000)));
      client_->OnReady();
      for (Response& response : client_->TakeFinished()) {
        responses[response.tag] = std::move(response);
      }
    }
    return responses;
  }
  Response Fetch(std::string url, long timeout_ms = kPatienceMs) {
    Start(1, std::move(url), timeout_ms);
    return Drain()[1];
  }
  // Of a request whose time is to run out, but not before it has come so far: each try has more.
  template <typename Condition>
  Response FetchUntil(const std::string& url, long timeout_ms, Condition condition) {
    Response response = Fetch(url, timeout_ms);
    while (!condition(response) && timeout_ms < kPatienceMs) {
      response = Fetch(url, timeout_ms *= 2);
    }
    return response;
  }
  // Over a connection that was kept, so that the request is sent before anything is waited for.
  // False: it took this process so long that the request has hardly time left to wait.
  bool StartAndSend(uint64_t tag, const std::string& url, long timeout_ms) {
    using Clock = std::chrono::steady_clock;
    const auto late = Clock::now() + std::chrono::milliseconds(timeout_ms / 2);
    Start(tag, url, timeout_ms);
    while (client_->TimeoutMs() == 0 && Clock::now() < late) client_->OnReady();
    return Clock::now() < late;
  }

  static inline Receiver* receiver_ = nullptr;
  std::unique_ptr<WebhookClient> client_;
  size_t rounds_ = 0;  // that Drain() has waited
};

class WebhookTlsTest : public WebhookClientTest {
 protected:
  // Makes directory/NAME.pem and .key, self-signed for the given subject alternative name.
  std::string Certificate(const std::string& name, const std::string& subject) {
    const std::string base = directory_ + "/" + name;
    const std::string command = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=" + name +
                                " -addext 'subjectAltName=" + subject + "' -days 1 -keyout " +
                                base + ".key -out " + base + ".pem 2>/dev/null";
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

}  // namespace alerting::net

#endif  // ALERTING_TEST_NET_WEBHOOK_CLIENT_FIXTURE_H_
