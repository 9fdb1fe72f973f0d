// The webhook client over TLS, against test/receiver/receiver.py.
#include <curl/curl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <string>

#include "webhook_client_fixture.h"

namespace alerting::net {
namespace {

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

// In a process of its own: there the folder of the system's authorities holds the endpoint's.
TEST_F(WebhookTlsTest, ListedAuthoritiesReplaceTheSystems) {
  const char* folder = curl_version_info(CURLVERSION_NOW)->capath;
  if (folder == nullptr) GTEST_SKIP() << "libcurl knows no folder of authorities";
  const std::string good = Certificate("good", "IP:127.0.0.1");
  const std::string other = Certificate("other", "IP:127.0.0.1");
  const Receiver server({"--tls-cert", good + ".pem", "--tls-key", good + ".key"});
  const std::string fill =
      "f=" + std::string(folder) + "; cp " + good +
      ".pem $f/good.pem && ln -s good.pem $f/$(openssl x509 -hash -noout -in " + good + ".pem).0";
  constexpr int kImpossible = 77;
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    if (unshare(CLONE_NEWNS | (geteuid() == 0 ? 0 : CLONE_NEWUSER)) != 0 ||
        mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        mount("authorities", folder, "tmpfs", 0, nullptr) != 0 || std::system(fill.c_str()) != 0) {
      _exit(kImpossible);
    }
    Open("127.0.0.0/8", other + ".pem");
    const Response response = Fetch(server.Url("/ok", "127.0.0.1", "https"));
    _exit(response.error.starts_with("TLS: ") ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == kImpossible) GTEST_SKIP() << "no namespace of mounts to be had";
  EXPECT_EQ(WEXITSTATUS(status), 0) << "the system's authorities are taken, too";
}

TEST_F(WebhookTlsTest, AuthoritiesAreReadAnewForEachConnection) {
  const std::string good = Certificate("good", "IP:127.0.0.1");
  const std::string other = Certificate("other", "IP:127.0.0.1");
  const Receiver server({"--tls-cert", good + ".pem", "--tls-key", good + ".key"});
  const std::string listed = directory_ + "/listed.pem";
  const std::string url = server.Url("/ok", "127.0.0.1", "https");
  EXPECT_EQ(std::system(("cp " + other + ".pem " + listed).c_str()), 0);
  Open("127.0.0.0/8", listed);
  EXPECT_TRUE(Fetch(url).error.starts_with("TLS: "));
  EXPECT_EQ(std::system(("cp " + good + ".pem " + listed).c_str()), 0);
  EXPECT_EQ(Fetch(url).status, 200);
}

// As would go on for as long as the endpoint takes the tickets that it gave before.
TEST_F(WebhookTlsTest, AnEarlierSessionVouchesForNoNewConnection) {
  const std::string good = Certificate("good", "IP:127.0.0.1");
  const std::string other = Certificate("other", "IP:127.0.0.1");
  const std::string listed = directory_ + "/listed.pem";
  for (const char* version : {"1.2", "1.3"}) {
    const Receiver server(
        {"--tls-cert", good + ".pem", "--tls-key", good + ".key", "--tls-max", version});
    const std::string url = server.Url("/last", "127.0.0.1", "https");
    EXPECT_EQ(std::system(("cp " + good + ".pem " + listed).c_str()), 0);
    Open("127.0.0.0/8", listed);
    for (int i = 0; i < 2; ++i) EXPECT_EQ(Fetch(url).status, 200);
    EXPECT_EQ(std::system(("cp " + other + ".pem " + listed).c_str()), 0);
    const Response response = Fetch(url);
    EXPECT_TRUE(response.error.starts_with("TLS: ")) << version << " " << response.status;
  }
}

// What lies decrypted behind an answer is not in the socket any more.
TEST_F(WebhookTlsTest, WhatCameUnaskedIsNoAnswer) {
  const std::string good = Certificate("good", "IP:127.0.0.1");
  const Receiver server({"--tls-cert", good + ".pem", "--tls-key", good + ".key"});
  Open("127.0.0.0/8", good + ".pem");
  const std::string url = server.Url("/behind", "127.0.0.1", "https");
  EXPECT_EQ(Fetch(url).status, 200);
  const Response response = Fetch(url);
  EXPECT_EQ(response.status, 0);
  EXPECT_EQ(response.error, "endpoint answered before it was asked");
  EXPECT_EQ(Fetch(url).status, 500);
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

// Only superusers may see where they are.
TEST_F(WebhookTlsTest, NamesNoFileOfTheServers) {
  const std::string good = Certificate("good", "IP:127.0.0.1");
  const Receiver server({"--tls-cert", good + ".pem", "--tls-key", good + ".key"});
  const std::string missing = directory_ + "/missing";
  Open("127.0.0.0/8");
  for (const TlsFiles& files :
       {TlsFiles{missing, "", ""}, TlsFiles{good + ".key", "", ""},
        TlsFiles{good + ".pem", missing, ""}, TlsFiles{good + ".pem", good + ".key", good + ".key"},
        TlsFiles{good + ".pem", good + ".pem", missing},
        TlsFiles{good + ".pem", good + ".pem", good + ".pem"}}) {
    client_->SetTlsFiles(files);
    const Response response = Fetch(server.Url("/ok", "127.0.0.1", "https"));
    EXPECT_TRUE(response.error.starts_with(files.certificate.empty()
                                               ? "TLS: alerting.ca_file "
                                               : "TLS: alerting.client_certificate_file "))
        << response.error;
    EXPECT_EQ(response.error.find(directory_), std::string::npos) << response.error;
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

TEST_F(WebhookTlsTest, SaysWhatBecameOfAnotherRequestOfASilentConnection) {
  const std::string good = Certificate("good", "IP:127.0.0.1");
  const Receiver server({"--tls-cert", good + ".pem", "--tls-key", good + ".key", "--http2", "99",
                         "--http2-manner", "no-window"});
  Open("127.0.0.0/8", good + ".pem");
  const std::string url = server.Url("/", "127.0.0.1", "https");
  while (Fetch(url, 1000).status != 200) continue;
  Start(1, url, 500);
  Start(2, url, 10'000);
  const std::map<uint64_t, Response> responses = Drain();
  EXPECT_EQ(responses.at(1).status, 0);
  // It may have been sent again.
  EXPECT_TRUE(responses.at(2).status == 200 ||
              responses.at(2).error.starts_with("connection was given up: "))
      << responses.at(2).error;
}

TEST_F(WebhookTlsTest, AnHttp2AnswerOfNothingWithoutEndIsCutOff) {
  const std::string good = Certificate("good", "IP:127.0.0.1");
  const Receiver server({"--tls-cert", good + ".pem", "--tls-key", good + ".key", "--http2", "9",
                         "--http2-manner", "empty-data"});
  Open("127.0.0.0/8", good + ".pem");
  const std::string url = server.Url("/", "127.0.0.1", "https");
  for (int i = 0; i < 2; ++i) {
    const Response response = Fetch(url, 60'000);
    EXPECT_EQ(response.status, 200) << response.error;
    EXPECT_TRUE(response.cut_off);
  }
}

// As where an endpoint is restarted: what it says it has not looked at can be sent again at once.
TEST_F(WebhookTlsTest, AnHttp2ConnectionThatEndsIsReplacedEachTime) {
  const std::string good = Certificate("good", "IP:127.0.0.1");
  const Receiver server({"--tls-cert", good + ".pem", "--tls-key", good + ".key", "--http2", "99",
                         "--http2-manner", "goaway"});
  Open("127.0.0.0/8", good + ".pem");
  const std::string url = server.Url("/", "127.0.0.1", "https");
  for (int i = 0; i < 10; ++i) {
    const Response response = Fetch(url);
    EXPECT_EQ(response.status, 200) << i << response.error;
    EXPECT_GT(response.timings.connect, 0);
    EXPECT_EQ(response.request.url, url);
  }
}

TEST_F(WebhookTlsTest, NamesTheCauseOfEachFailureOfHttp2) {
  struct Case {
    const char* manner;
    const char* error;
  };
  const std::string good = Certificate("good", "IP:127.0.0.1");
  for (const Case& c :
       {Case{"settings", "endpoint broke the HTTP/2 protocol: Flooding was detected"},
        Case{"ping", "endpoint "},
        Case{"refuse", "endpoint refused the request each time (HTTP/2)"}}) {
    const Receiver server({"--tls-cert", good + ".pem", "--tls-key", good + ".key", "--http2", "99",
                           "--http2-manner", c.manner});
    Open("127.0.0.0/8", good + ".pem");
    const Response response = Fetch(server.Url("/", "127.0.0.1", "https"), 20'000);
    EXPECT_EQ(response.status, 0);
    EXPECT_TRUE(response.error.starts_with(c.error)) << c.manner << ": " << response.error;
  }
}

TEST_F(WebhookTlsTest, ARefusedHttp2StreamIsTriedOnceMore) {
  const std::string good = Certificate("good", "IP:127.0.0.1");
  const std::string log = directory_ + "/log";
  const Receiver server({"--tls-cert", good + ".pem", "--tls-key", good + ".key", "--http2", "99",
                         "--http2-manner", "refuse", "--log", log});
  Open("127.0.0.0/8", good + ".pem");
  for (size_t i = 1; i <= 3; ++i) {
    const Response response = Fetch(server.Url("/", "127.0.0.1", "https"), 20'000);
    EXPECT_FALSE(response.failed_here) << response.error;
    std::ifstream lines(log);
    EXPECT_EQ(std::count(std::istreambuf_iterator<char>(lines), {}, '\n'), 2 * i);
  }
}

// A connection's first request may be under way before its limits are known.
TEST_F(WebhookTlsTest, SaysThatHttp2sLimitsAllowNothing) {
  if (curl_version_info(CURLVERSION_NOW)->version_num >= 0x080000) {
    GTEST_SKIP() << "libcurl counts what waits within it as sent";
  }
  const std::string good = Certificate("good", "IP:127.0.0.1");
  for (const char* manner : {"no-streams", "no-window"}) {
    const Receiver server({"--tls-cert", good + ".pem", "--tls-key", good + ".key", "--http2", "99",
                           "--http2-manner", manner});
    Open("127.0.0.0/8", good + ".pem");
    const std::string url = server.Url("/", "127.0.0.1", "https");
    Response response = Fetch(url, 1000);
    if (response.status != 0) response = Fetch(url, 1000);
    EXPECT_EQ(response.status, 0);
    EXPECT_NE(response.error.find(" ms while sending the request: endpoint took 0 of 15 bytes"),
              std::string::npos)
        << manner << ": " << response.error;
    // It is given up with the connection.
    EXPECT_GT(Fetch(url, 1000).timings.connect, 0);
  }
}

// Whose buffer is smaller than a frame.
TEST_F(WebhookTlsTest, AHangingRequestDelaysNoOtherOfItsConnection) {
  const std::string good = Certificate("good", "IP:127.0.0.1");
  const Receiver server({"--tls-cert", good + ".pem", "--tls-key", good + ".key", "--http2", "99",
                         "--http2-manner", "large"});
  Open("127.0.0.0/8", good + ".pem");
  const std::string url = server.Url("/", "127.0.0.1", "https");
  EXPECT_EQ(Fetch(url).status, 200);
  Start(1, url, 5000, "hang");
  Start(2, url, 60'000);
  const std::map<uint64_t, Response> responses = Drain(1);
  ASSERT_EQ(responses.count(2), 1u);
  EXPECT_EQ(responses.at(2).status, 200);
  EXPECT_EQ(responses.count(1), 0u);
}

TEST_F(WebhookTlsTest, AnAnswerInManyRecordsIsCompleteBesideAHangingRequest) {
  const std::string good = Certificate("good", "IP:127.0.0.1");
  const Receiver server({"--tls-cert", good + ".pem", "--tls-key", good + ".key", "--http2",
                         "99999", "--http2-manner", "pieces"});
  const std::string url = server.Url("/", "127.0.0.1", "https");
  for (int round = 0; round < 5; ++round) {
    Open("127.0.0.0/8", good + ".pem");
    EXPECT_EQ(Fetch(url).status, 200);
    Start(1, url, 20'000, "hang");
    for (int i = 0; i < 100; ++i) {
      Start(2, url, 60'000);
      ASSERT_EQ(Drain(1).count(2), 1u) << round << " " << i;
    }
  }
}

TEST_F(WebhookTlsTest, AnHttp2ConnectionThatIsNeverIdleIsReplacedInTime) {
  const std::string good = Certificate("good", "IP:127.0.0.1");
  const Receiver server({"--tls-cert", good + ".pem", "--tls-key", good + ".key", "--http2",
                         "99999", "--http2-manner", "large"});
  Open("127.0.0.0/8", good + ".pem", {}, /*lifetime_s=*/1);
  const auto over = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  const std::string url = server.Url("/", "127.0.0.1", "https");
  const auto fetch_beside = [&] {
    Start(2, url, 60'000);
    return Drain(1)[2];
  };
  EXPECT_EQ(Fetch(url).status, 200);
  Start(1, url, 60'000, "hang");
  int connections = 0;
  for (bool ended = false; !ended;) {
    ended = std::chrono::steady_clock::now() >= over;
    const Response response = fetch_beside();
    EXPECT_EQ(response.status, 200) << response.error;
    connections += response.timings.connect > 0;
  }
  EXPECT_EQ(connections, 1);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(fetch_beside().timings.connect, 0);
  EXPECT_EQ(client_->active(), 1u);
}

// Who waits is not to pay for what others get over the same connection.
TEST_F(WebhookTlsTest, ManyAnswersOverOneConnectionAreNoFlood) {
  const std::string good = Certificate("good", "IP:127.0.0.1");
  const Receiver server({"--tls-cert", good + ".pem", "--tls-key", good + ".key", "--http2", "999",
                         "--http2-manner", "large"});
  const std::string url = server.Url("/", "127.0.0.1", "https");
  // Who reads what comes for all of them depends on which of the handles made before it has.
  for (uint64_t handles = 1; handles <= 3; ++handles) {
    Open("127.0.0.0/8", good + ".pem");
    EXPECT_EQ(Fetch(url).status, 200);
    for (uint64_t tag = 1; tag <= handles; ++tag) Start(tag, url);
    EXPECT_EQ(Drain().size(), handles);
    Start(1, url, 60'000, "hang");
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
