// The webhook client over TLS, against test/receiver/receiver.py.
#include <curl/curl.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
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

// As where the server was started at a terminal: it would wait there for an answer.
TEST_F(WebhookTlsTest, AsksNobodyForAKeysPassphrase) {
  const std::string good = Certificate("good", "IP:127.0.0.1");
  const Receiver server({"--tls-cert", good + ".pem", "--tls-key", good + ".key"});
  const std::string encrypted = directory_ + "/encrypted.key";
  EXPECT_EQ(std::system(("openssl rsa -aes128 -passout pass:hunter2 -in " + good + ".key -out " +
                         encrypted + " 2>/dev/null")
                            .c_str()),
            0);
  int terminal = -1;
  const pid_t child = forkpty(&terminal, nullptr, nullptr, nullptr);
  ASSERT_GE(child, 0);
  if (child == 0) {
    Open("127.0.0.0/8");
    client_->SetTlsFiles({good + ".pem", good + ".pem", encrypted});
    const Response response = Fetch(server.Url("/ok", "127.0.0.1", "https"));
    _exit(response.error.starts_with("TLS: ") ? 0 : 1);
  }
  // What is asked there ends the reading; so does the child's end.
  std::array<char, 64> asked{};
  EXPECT_LE(read(terminal, asked.data(), asked.size() - 1), 0) << asked.data();
  close(terminal);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
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
