// The client that a thread drives while many requests are under way, against test/receiver.
#include "net/threaded_client.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <map>
#include <string>

#include "receiver.h"

namespace alerting::net {
namespace {

class ThreadedClientTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    signal(SIGPIPE, SIG_IGN);
    receiver_ = new Receiver;
  }
  static void TearDownTestSuite() { delete receiver_; }

  void SetUp() override {
    std::string error;
    ClientOptions options;
    options.policy = Policy("127.0.0.0/8");
    client_ = ThreadedClient::Create(std::move(options), &error);
    ASSERT_NE(client_, nullptr) << error;
  }
  Request MakeRequest(uint64_t tag, const std::string& path) {
    Request request;
    request.tag = tag;
    request.url = receiver_->Url(path);
    request.body = "{}";
    request.headers = {"Content-Type: application/json"};
    request.connect_timeout_ms = request.total_timeout_ms = 60'000;
    return request;
  }
  void Start(Request request) {
    std::vector<Request> requests(1, std::move(request));
    client_->Start(&requests);
  }
  void Start(uint64_t tag, const std::string& path) { Start(MakeRequest(tag, path)); }
  // Looks at them as often as it takes until whoever should drive them does.
  void GoRounds() {
    for (int i = 0; i < ThreadedClient::kRounds; ++i) client_->OnReady();
  }
  // Waits as the sender does until as many responses have come as are wanted; by tag.
  std::map<uint64_t, Response> Take(size_t wanted) {
    std::map<uint64_t, Response> responses;
    while (responses.size() < wanted && !client_->failed()) {
      pollfd wait{client_->PollDescriptor(), POLLIN, 0};
      poll(&wait, 1, static_cast<int>(client_->TimeoutMs().value_or(-1)));
      client_->OnReady();
      for (Response& response : client_->TakeFinished()) {
        EXPECT_TRUE(responses.emplace(response.tag, std::move(response)).second);
      }
    }
    return responses;
  }
  void ExpectAllGood(const std::map<uint64_t, Response>& responses) {
    for (const auto& [tag, response] : responses) {
      EXPECT_EQ(response.status, 200) << tag << ' ' << response.error;
      EXPECT_EQ(response.body, "{}") << tag;
    }
  }

  static Receiver* receiver_;
  std::unique_ptr<ThreadedClient> client_;
};

Receiver* ThreadedClientTest::receiver_ = nullptr;

constexpr uint64_t kMany = ThreadedClient::kLendFrom;

TEST_F(ThreadedClientTest, FewRequestsAreTheCallers) {
  for (uint64_t tag = 1; tag < kMany; ++tag) Start(tag, "/ok");
  EXPECT_FALSE(client_->lent());
  ExpectAllGood(Take(kMany - 1));
  EXPECT_FALSE(client_->lent());
  EXPECT_EQ(client_->active(), 0);
}

TEST_F(ThreadedClientTest, ManyAreTheThreadsUntilFewAreLeft) {
  for (uint64_t round = 0; round < 3; ++round) {
    for (uint64_t tag = 1; tag <= 3 * kMany; ++tag) Start(tag, "/ok");
    EXPECT_FALSE(client_->lent());
    GoRounds();
    EXPECT_TRUE(client_->lent());
    const auto responses = Take(3 * kMany);
    EXPECT_EQ(responses.size(), 3 * kMany);
    ExpectAllGood(responses);
    EXPECT_EQ(client_->active(), 0);
    GoRounds();
    EXPECT_FALSE(client_->lent());
    Start(1, "/ok");
    ExpectAllGood(Take(1));
    EXPECT_FALSE(client_->lent());
  }
}

TEST_F(ThreadedClientTest, StaysWithTheThreadWhereFewAreLeftForAMoment) {
  for (uint64_t tag = 1; tag <= kMany; ++tag) Start(tag, "/ok");
  GoRounds();
  ExpectAllGood(Take(kMany));
  for (uint64_t tag = 1; tag <= kMany; ++tag) Start(tag, "/ok");
  client_->OnReady();
  EXPECT_TRUE(client_->lent());
  ExpectAllGood(Take(kMany));
}

// As the sender does under a backlog: an answer makes room for the next request.
TEST_F(ThreadedClientTest, AnswersMakeRoomForMore) {
  constexpr uint64_t kAll = 2000;
  uint64_t started = 0;
  std::map<uint64_t, Response> all;
  while (all.size() < kAll) {
    while (started < kAll && client_->active() < 2 * kMany) Start(++started, "/ok");
    all.merge(Take(1));
  }
  ExpectAllGood(all);
  EXPECT_EQ(all.rbegin()->first, kAll);
  EXPECT_EQ(client_->active(), 0);
}

TEST_F(ThreadedClientTest, TakesRequestsTogetherAndGivesThemBack) {
  for (const bool lent : {false, true}) {
    EXPECT_EQ(client_->lent(), lent);
    std::vector<Request> requests;
    for (uint64_t tag = 1; tag <= kMany; ++tag) requests.push_back(MakeRequest(tag, "/ok"));
    client_->Start(&requests);
    EXPECT_TRUE(requests.empty());
    EXPECT_EQ(client_->active(), kMany);
    client_->Start(&requests);  // none
    GoRounds();
    EXPECT_TRUE(client_->lent());
    const auto responses = Take(kMany);
    ExpectAllGood(responses);
    for (const auto& [tag, response] : responses) {
      EXPECT_EQ(response.request.tag, tag);
      EXPECT_EQ(response.request.body, "{}");
      EXPECT_EQ(response.request.headers.size(), 1);
    }
  }
}

TEST_F(ThreadedClientTest, SettingsReachRequestsThatComeLater) {
  for (uint64_t tag = 1; tag <= kMany; ++tag) Start(tag, "/hang");
  GoRounds();
  EXPECT_TRUE(client_->lent());
  Start(1000, "/ok");
  ExpectAllGood(Take(1));
  client_->SetPolicy(Policy(""));
  EXPECT_FALSE(client_->lent());
  Start(1001, "/ok");  // over the connection that was kept
  GoRounds();
  EXPECT_TRUE(client_->lent());
  const auto refused = Take(1);
  EXPECT_TRUE(refused.at(1001).error.starts_with("refused network: ")) << refused.at(1001).error;
  client_->SetPolicy(Policy("127.0.0.0/8"));
  client_->SetMaxConnections(1);
  client_->SetTlsFiles({});
  Start(1002, "/ok");
  ExpectAllGood(Take(1));
  EXPECT_EQ(client_->active(), kMany);
}

TEST_F(ThreadedClientTest, EndsWithRequestsUnderWay) {
  for (uint64_t tag = 1; tag <= 2 * kMany; ++tag) Start(tag, "/hang");
  Request unknown;
  unknown.url = "http://no-such-name.invalid/";
  Start(std::move(unknown));
  GoRounds();
  EXPECT_TRUE(client_->lent());
  client_->EndThread();
  client_->EndThread();
  client_.reset();
}

// Signals are for the thread that PostgreSQL's handlers may run on.
TEST_F(ThreadedClientTest, ItsThreadTakesNoSignals) {
  static pthread_t handled_by;
  static volatile sig_atomic_t count = 0;
  struct sigaction handler {};
  handler.sa_handler = [](int) {
    handled_by = pthread_self();
    count = count + 1;
  };
  struct sigaction before {};
  ASSERT_EQ(sigaction(SIGUSR1, &handler, &before), 0);
  for (uint64_t tag = 1; tag <= kMany; ++tag) Start(tag, "/ok");
  GoRounds();
  EXPECT_TRUE(client_->lent());
  // While it is blocked here, nobody takes it; and here it comes as soon as it no longer is.
  sigset_t signals, saved;
  sigemptyset(&signals);
  sigaddset(&signals, SIGUSR1);
  ASSERT_EQ(pthread_sigmask(SIG_BLOCK, &signals, &saved), 0);
  kill(getpid(), SIGUSR1);
  ExpectAllGood(Take(kMany));
  EXPECT_EQ(count, 0);
  ASSERT_EQ(pthread_sigmask(SIG_SETMASK, &saved, nullptr), 0);
  EXPECT_EQ(count, 1);
  EXPECT_TRUE(pthread_equal(handled_by, pthread_self()));
  sigaction(SIGUSR1, &before, nullptr);
}

TEST_F(ThreadedClientTest, WithoutAThreadTheCallerDrives) {
  pthread_attr_t before, huge;
  ASSERT_EQ(pthread_getattr_default_np(&before), 0);
  ASSERT_EQ(pthread_attr_init(&huge), 0);
  ASSERT_EQ(pthread_attr_setstacksize(&huge, size_t{1} << 47), 0);  // more than there can be
  ASSERT_EQ(pthread_setattr_default_np(&huge), 0);
  for (uint64_t tag = 1; tag <= 2 * kMany; ++tag) Start(tag, "/ok");
  GoRounds();
  EXPECT_FALSE(client_->lent());
  ExpectAllGood(Take(2 * kMany));
  ASSERT_EQ(pthread_setattr_default_np(&before), 0);
  pthread_attr_destroy(&huge);
  pthread_attr_destroy(&before);
}

}  // namespace
}  // namespace alerting::net
