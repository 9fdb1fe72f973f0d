// Which addresses the webhook client goes to, of those that a name resolves to.
#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "webhook_client_fixture.h"

namespace alerting::net {
namespace {

TEST_F(WebhookClientTest, RefusesNetworksThatAreNotListed) {
  Open("");
  for (const char* host :
       {"127.0.0.1", "localhost", "2130706433", "0x7f.1", "0177.0.0.1", "[::1]",
        "[::ffff:127.0.0.1]", "0.0.0.0", "0", "127.1", "10.0.0.1", "169.254.169.254", "[fd00::1]",
        "[64:ff9b::7f00:1]", "[2002:7f00:1::]"}) {
    for (const char* scheme : {"http", "https"}) {
      const Response response = Fetch(receiver_->Url("/ok", host, scheme));
      EXPECT_EQ(response.status, 0);
      EXPECT_TRUE(response.error.starts_with("refused network: ")) << host << response.error;
    }
  }
  const Response response = Fetch("http://8.8.8.8/");
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
      const Response response = Fetch(url);
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
    const Response response = Fetch(url);
    EXPECT_TRUE(response.error.starts_with("refused network: ")) << address << response.error;
  }
  client_->SetResolve({at + "127.0.0.1"});
  EXPECT_EQ(Fetch(receiver_->Url("/ok", "hooks.example")).status, 200);
}

TEST_F(WebhookClientTest, AKeptConnectionOutlivesItsNamesAddress) {
  const std::string at = "hooks.example:" + std::to_string(receiver_->port()) + ":";
  Open("127.0.0.1/32", "", {at + "127.0.0.1"});
  EXPECT_EQ(Fetch(receiver_->Url("/ok", "hooks.example")).status, 200);
  client_->SetResolve({at + "169.254.169.254"});
  const Response kept = Fetch(receiver_->Url("/last", "hooks.example"));
  EXPECT_EQ(kept.status, 200) << kept.error;
  EXPECT_EQ(kept.timings.connect, 0);
  const Response response = Fetch(receiver_->Url("/ok", "hooks.example"));
  EXPECT_TRUE(response.error.starts_with("refused network: ")) << response.error;
}

TEST_F(WebhookClientTest, GoesOnToTheNextAddress) {
  const std::string at = "hooks.example:" + std::to_string(receiver_->port()) + ":";
  const std::string url = receiver_->Url("/ok", "hooks.example");
  // Refused, then live; dead (nobody listens there), then live; a dead IPv6 and a live IPv4.
  for (const char* addresses : {"10.0.0.1,127.0.0.1", "127.0.0.77,127.0.0.1", "[::1],127.0.0.1",
                                "[2001:db8::1],127.0.0.1"}) {
    Open("127.0.0.0/8,::1", "", {at + addresses});
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_EQ(Fetch(url, kForeverMs).status, 200) << addresses;
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(kPatienceMs));
  }
}

// One behind which a machine has gone, or a firewall drops what comes.
TEST_F(WebhookClientTest, ASilentAddressLeavesTimeForTheNext) {
  const std::string at = "hooks.example:" + std::to_string(receiver_->port()) + ":";
  const SilentListener second("127.0.0.2", receiver_->port());
  const SilentListener third("127.0.0.3", receiver_->port());
  second.FillBacklog();
  third.FillBacklog();
  for (const char* addresses : {"127.0.0.2,127.0.0.1", "127.0.0.2,127.0.0.3,127.0.0.1"}) {
    Open("127.0.0.0/8", "", {at + addresses});
    const Response response = FetchUntil(receiver_->Url("/ok", "hooks.example"), 3000,
                                         [](const Response& tried) { return tried.status != 0; });
    EXPECT_EQ(response.status, 200) << addresses << " " << response.error;
  }
}

}  // namespace
}  // namespace alerting::net
