#include "core/address_policy.h"

#include <gtest/gtest.h>

#include <string>

namespace alerting {
namespace {

AddressPolicy Policy(std::string_view networks) {
  std::string error;
  const auto policy = AddressPolicy::Parse(networks, &error);
  EXPECT_TRUE(policy.has_value()) << networks << ": " << error;
  return policy.value_or(AddressPolicy());
}

std::string Refusal(const AddressPolicy& policy, std::string_view address) {
  const auto parsed = ParseIpAddress(address);
  EXPECT_TRUE(parsed.has_value()) << address;
  return parsed ? std::string(policy.Refusal(*parsed)) : "unparsed";
}

TEST(IpAddressTest, ParsesAndFormats) {
  struct Case {
    const char* text;
    const char* formatted;
  };
  for (const Case& c :
       {Case{"1.2.3.4", "1.2.3.4"}, Case{"255.255.255.255", "255.255.255.255"}, Case{"::", "::"},
        Case{"::1", "::1"}, Case{"1::", "1::"}, Case{"2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},
        Case{"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
        Case{"::ffff:10.0.0.1", "::ffff:10.0.0.1"}, Case{"::ffff:a00:1", "::ffff:10.0.0.1"},
        Case{"64:ff9b::1.2.3.4", "64:ff9b::102:304"}, Case{"1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"},
        Case{"1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"}}) {
    const auto address = ParseIpAddress(c.text);
    ASSERT_TRUE(address.has_value()) << c.text;
    EXPECT_EQ(FormatIpAddress(*address), c.formatted);
  }
}

TEST(IpAddressTest, SaysOfWhichKindAnAddressIs) {
  EXPECT_EQ(DescribeIpAddress(*ParseIpAddress("127.0.0.1"), "loopback"),
            "127.0.0.1 is a loopback address");
  EXPECT_EQ(DescribeIpAddress(*ParseIpAddress("::"), "unspecified"),
            ":: is an unspecified address");
  EXPECT_EQ(DescribeIpAddress(*ParseIpAddress("::ffff:1.2.3.4"), "IPv4-mapped"),
            "::ffff:1.2.3.4 is an IPv4-mapped address");
}

TEST(IpAddressTest, RefusesOtherSpellings) {
  for (const char* text : {"",
                           "1",
                           "1.2.3",
                           "1.2.3.4.5",
                           "1.2.3.256",
                           "01.2.3.4",
                           "1.2.3.-4",
                           "1.2.3.4 ",
                           " 1.2.3.4",
                           "0x7f.0.0.1",
                           "1..2.3",
                           ":",
                           ":::",
                           "1:::2",
                           "1::2::3",
                           "12345::",
                           "g::",
                           "1:2:3:4:5:6:7",
                           "1:2:3:4:5:6:7:8:9",
                           "1:2:3:4:5:6:7:1.2.3.4",
                           "::1.2.3.4:1",
                           "fe80::1%eth0",
                           "[::1]",
                           "1:2:3:4:5:6:7::8:9",
                           ":1:2:3:4:5:6:7",
                           "::1/128"}) {
    EXPECT_FALSE(ParseIpAddress(text).has_value()) << text;
  }
}

TEST(IpAddressTest, ReadsWhatResolversTakeForIpv4) {
  struct Case {
    const char* text;
    const char* meaning;
  };
  for (const Case& c :
       {Case{"2130706433", "127.0.0.1"}, Case{"0x7f000001", "127.0.0.1"},
        Case{"0x7f.1", "127.0.0.1"}, Case{"0177.0.0.1", "127.0.0.1"}, Case{"127.1", "127.0.0.1"},
        Case{"127.0.1", "127.0.0.1"}, Case{"0", "0.0.0.0"}, Case{"0x0", "0.0.0.0"},
        Case{"10.0x10", "10.0.0.16"}, Case{"127.0.0.1.", "127.0.0.1"},
        Case{"4294967295", "255.255.255.255"}, Case{"1.2.65535", "1.2.255.255"},
        Case{"0251.0376.0251.0376", "169.254.169.254"}}) {
    const auto address = ParseLooseIpv4(c.text);
    ASSERT_TRUE(address.has_value()) << c.text;
    EXPECT_EQ(FormatIpAddress(*address), c.meaning) << c.text;
  }
  for (const char* text : {"", "4294967296", "1.2.3.256", "256.1", "1.2.65536", "1.2.3.4.5", "08.1",
                           "a.b", "1..2", "-1", "0xg"}) {
    EXPECT_FALSE(ParseLooseIpv4(text).has_value()) << text;
  }
}

TEST(AddressPolicyTest, RefusesSpecialAddressesByDefault) {
  struct Case {
    const char* address;
    const char* kind;
  };
  const AddressPolicy policy;
  for (const Case& c : {
           Case{"0.0.0.0", "unspecified"},
           Case{"0.1.2.3", "unspecified"},
           Case{"10.0.0.1", "private"},
           Case{"10.255.255.255", "private"},
           Case{"100.64.0.1", "carrier-grade NAT"},
           Case{"100.127.255.255", "carrier-grade NAT"},
           Case{"127.0.0.1", "loopback"},
           Case{"127.255.0.1", "loopback"},
           Case{"169.254.169.254", "link-local"},
           Case{"172.16.0.1", "private"},
           Case{"172.31.255.255", "private"},
           Case{"192.0.0.8", "reserved"},
           Case{"192.0.2.1", "documentation"},
           Case{"192.88.99.1", "6to4 relay"},
           Case{"192.168.1.1", "private"},
           Case{"198.19.0.1", "benchmarking"},
           Case{"198.51.100.1", "documentation"},
           Case{"203.0.113.1", "documentation"},
           Case{"224.0.0.1", "multicast"},
           Case{"239.255.255.255", "multicast"},
           Case{"240.0.0.1", "reserved"},
           Case{"255.255.255.255", "broadcast"},
           Case{"::", "unspecified"},
           Case{"::1", "loopback"},
           Case{"::2", "IPv4-compatible"},
           Case{"::127.0.0.1", "IPv4-compatible"},
           Case{"::ffff:127.0.0.1", "IPv4-mapped"},
           Case{"::ffff:8.8.8.8", "IPv4-mapped"},
           Case{"64:ff9b::7f00:1", "NAT64"},
           Case{"64:ff9b:1::1", "NAT64"},
           Case{"100::1", "discard"},
           Case{"2001::1", "Teredo"},
           Case{"2001:10::1", "reserved"},
           Case{"2001:20::1", "reserved"},
           Case{"2001:db8::1", "documentation"},
           Case{"2002:7f00:1::", "6to4"},
           Case{"3fff::1", "documentation"},
           Case{"4000::1", "reserved"},
           Case{"5f00::1", "reserved"},
           Case{"fc00::1", "private"},
           Case{"fd00:ec2::254", "private"},
           Case{"fe80::1", "link-local"},
           Case{"fec0::1", "site-local"},
           Case{"ff02::1", "multicast"},
       }) {
    EXPECT_EQ(Refusal(policy, c.address), c.kind) << c.address;
  }
  for (const char* address :
       {"1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0",
        "126.255.255.255", "128.0.0.1", "172.15.255.255", "172.32.0.0", "192.0.1.0", "193.0.0.1",
        "223.255.255.255", "2606:4700:4700::1111", "2a00:1450::1", "2001:4860:4860::8888"}) {
    EXPECT_EQ(Refusal(policy, address), "") << address;
  }
}

TEST(AddressPolicyTest, ListedNetworksAreAllowed) {
  const AddressPolicy policy = Policy(" 127.0.0.0/8 , ::1/128,10.1.2.3,64:ff9b::/96 ");
  for (const char* address : {"127.0.0.1", "127.9.9.9", "::1", "10.1.2.3", "64:ff9b::a00:1",
                              "::ffff:127.0.0.1", "::ffff:10.1.2.3", "8.8.8.8"}) {
    EXPECT_EQ(Refusal(policy, address), "") << address;
  }
  for (const char* address : {"10.1.2.4", "::2", "::ffff:10.1.2.4", "64:ff9b:1::1", "::127.0.0.1",
                              "2002:7f00:1::", "64:ff9c::1"}) {
    EXPECT_NE(Refusal(policy, address), "") << address;
  }
  const auto listed = [&](const char* text) { return policy.IsListed(*ParseIpAddress(text)); };
  EXPECT_TRUE(listed("127.0.0.1"));
  EXPECT_FALSE(listed("8.8.8.8"));
}

TEST(AddressPolicyTest, AMappedNetworkListsItsIpv4Form) {
  const AddressPolicy policy = Policy("::ffff:10.0.0.0/104");
  EXPECT_EQ(Refusal(policy, "10.9.9.9"), "");
  EXPECT_NE(Refusal(policy, "11.0.0.1") + Refusal(policy, "192.168.0.1"), "");
}

TEST(AddressPolicyTest, AllOfOneFamilyIsNotTheOther) {
  EXPECT_EQ(Refusal(Policy("::/0"), "127.0.0.1"), "loopback");
  EXPECT_EQ(Refusal(Policy("::/0"), "::ffff:127.0.0.1"), "IPv4-mapped");
  EXPECT_EQ(Refusal(Policy("::/0"), "fe80::1"), "");
  EXPECT_EQ(Refusal(Policy("0.0.0.0/0"), "127.0.0.1"), "");
  EXPECT_EQ(Refusal(Policy("0.0.0.0/0"), "::1"), "loopback");
}

TEST(AddressPolicyTest, MalformedListsAreRefusedWithTheirReason) {
  for (const char* text : {"10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/8x", "10.0.0.1/8",
                           "::1/129", "::1/127", "localhost", "10.0.0.0/8,", ",", "10.0.0.0/8,,::1",
                           "10.0.0.0/8;::1", "10.0.0/8", "10.0.0.0/8/8", "10.0.0.0/0008"}) {
    std::string error;
    EXPECT_FALSE(AddressPolicy::Parse(text, &error).has_value()) << text;
    EXPECT_FALSE(error.empty()) << text;
  }
  EXPECT_TRUE(Policy("") == AddressPolicy());
  EXPECT_TRUE(Policy("  ") == AddressPolicy());
}

}  // namespace
}  // namespace alerting
