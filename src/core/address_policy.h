// Which network addresses a webhook may reach. Used by the sender and by backends (check_webhook,
// test_webhook); pure, so that unit tests and the fuzzer run it as it is.
//
// Invariant: only globally routable unicast addresses are allowed unless the administrator listed
// their network. An IPv4-mapped IPv6 address is judged as listed when its IPv4 form is listed, but
// an unlisted one is refused whatever it maps to.
#ifndef ALERTING_CORE_ADDRESS_POLICY_H_
#define ALERTING_CORE_ADDRESS_POLICY_H_

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace alerting {

// An IPv4 address is kept in its mapped form (::ffff:a.b.c.d) beside a flag that tells the two
// apart.
struct IpAddress {
  std::array<uint8_t, 16> bytes{};
  bool is_v4 = false;

  static IpAddress FromV4(std::span<const uint8_t, 4> octets);
  static IpAddress FromV6(std::span<const uint8_t, 16> octets);
  bool operator==(const IpAddress&) const = default;
};

// Dotted quad (four decimal parts) or RFC 4291 text, without brackets and zone.
std::optional<IpAddress> ParseIpAddress(std::string_view text);
// The spellings that resolvers take for IPv4: one to four parts, decimal, octal or hexadecimal
// ("2130706433", "0x7f.1", "0177.0.0.1").
std::optional<IpAddress> ParseLooseIpv4(std::string_view text);
std::string FormatIpAddress(const IpAddress& address);
// "127.0.0.1 is a loopback address"; `kind`: as AddressPolicy names it.
std::string DescribeIpAddress(const IpAddress& address, std::string_view kind);

class AddressPolicy {
 public:
  // Comma-separated CIDR networks; a bare address is a network of one. nullopt: malformed, and
  // `error` says where.
  static std::optional<AddressPolicy> Parse(std::string_view networks, std::string* error);

  // Why the address must not be reached, e.g. "loopback"; empty: it may be.
  std::string_view Refusal(const IpAddress& address) const;
  // The administrator listed a network that holds the address.
  bool IsListed(const IpAddress& address) const;
  // What the address is, whether listed or not; empty: globally routable.
  static std::string_view SpecialKind(const IpAddress& address);

  bool operator==(const AddressPolicy&) const = default;

 private:
  struct Network {
    IpAddress base;
    int prefix = 128;  // of the 128 bits of the mapped form
    bool operator==(const Network&) const = default;
  };
  static std::optional<Network> ParseNetwork(std::string_view text, std::string* error);

  std::vector<Network> listed_;
};

}  // namespace alerting

#endif  // ALERTING_CORE_ADDRESS_POLICY_H_
