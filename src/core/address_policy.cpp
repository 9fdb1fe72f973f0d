#include "core/address_policy.h"

#include <algorithm>
#include <charconv>
#include <cstdio>

namespace alerting {
namespace {

constexpr int kMappedBits = 96;

struct SpecialNetwork {
  std::array<uint8_t, 16> base;
  int prefix;
  const char* kind;
};

constexpr SpecialNetwork V4(uint8_t a, uint8_t b, uint8_t c, uint8_t d, int prefix,
                            const char* kind) {
  return {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d}, kMappedBits + prefix, kind};
}

constexpr SpecialNetwork V6(uint16_t a, uint16_t b, uint16_t c, int prefix, const char* kind) {
  return {{static_cast<uint8_t>(a >> 8), static_cast<uint8_t>(a), static_cast<uint8_t>(b >> 8),
           static_cast<uint8_t>(b), static_cast<uint8_t>(c >> 8), static_cast<uint8_t>(c)},
          prefix,
          kind};
}

// The special-purpose registries of IANA (RFC 6890 and its successors); the first match names the
// kind, so narrower networks stand before wider ones.
constexpr SpecialNetwork kSpecialV4[] = {
    V4(0, 0, 0, 0, 8, "unspecified"),           V4(10, 0, 0, 0, 8, "private"),
    V4(100, 64, 0, 0, 10, "carrier-grade NAT"), V4(127, 0, 0, 0, 8, "loopback"),
    V4(169, 254, 0, 0, 16, "link-local"),       V4(172, 16, 0, 0, 12, "private"),
    V4(192, 0, 0, 0, 24, "reserved"),           V4(192, 0, 2, 0, 24, "documentation"),
    V4(192, 88, 99, 0, 24, "6to4 relay"),       V4(192, 168, 0, 0, 16, "private"),
    V4(198, 18, 0, 0, 15, "benchmarking"),      V4(198, 51, 100, 0, 24, "documentation"),
    V4(203, 0, 113, 0, 24, "documentation"),    V4(224, 0, 0, 0, 4, "multicast"),
    V4(255, 255, 255, 255, 32, "broadcast"),    V4(240, 0, 0, 0, 4, "reserved"),
};

constexpr SpecialNetwork kSpecialV6[] = {
    {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 128, "unspecified"},
    {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 128, "loopback"},
    {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0}, 96, "IPv4-mapped"},
    {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 96, "IPv4-compatible"},
    V6(0x0064, 0xff9b, 0, 32, "NAT64"),
    V6(0x0100, 0, 0, 64, "discard"),
    V6(0x2001, 0, 0, 32, "Teredo"),
    V6(0x2001, 0, 0, 23, "reserved"),
    V6(0x2001, 0x0db8, 0, 32, "documentation"),
    V6(0x2002, 0, 0, 16, "6to4"),
    V6(0x3fff, 0, 0, 20, "documentation"),
    V6(0xfc00, 0, 0, 7, "private"),
    V6(0xfe80, 0, 0, 10, "link-local"),
    V6(0xfec0, 0, 0, 10, "site-local"),
    V6(0xff00, 0, 0, 8, "multicast"),
};

bool InNetwork(const std::array<uint8_t, 16>& address, const std::array<uint8_t, 16>& base,
               int prefix) {
  const int whole = prefix / 8;
  if (!std::equal(base.begin(), base.begin() + whole, address.begin())) return false;
  const int rest = prefix % 8;
  if (rest == 0) return true;
  const auto mask = static_cast<uint8_t>(0xff << (8 - rest));
  const auto index = static_cast<size_t>(whole);
  return (address[index] & mask) == (base[index] & mask);
}

bool IsMapped(const std::array<uint8_t, 16>& bytes) {
  return InNetwork(bytes, V4(0, 0, 0, 0, 0, "").base, kMappedBits);
}

// Digits only (no sign, no space); the whole text must be one number.
bool ParseNumber(std::string_view text, int base, uint64_t* value) {
  if (text.empty()) return false;
  const char* end = text.data() + text.size();
  const auto [stop, failure] = std::from_chars(text.data(), end, *value, base);
  return failure == std::errc() && stop == end;
}

bool ParseDottedQuad(std::string_view text, uint8_t* octets) {
  for (int i = 0; i < 4; ++i) {
    const size_t dot = text.find('.');
    if ((dot == std::string_view::npos) != (i == 3)) return false;
    const std::string_view part = text.substr(0, dot);
    uint64_t value = 0;
    // A leading zero would mean octal to some resolvers: no canonical spelling.
    if (part.size() > 3 || (part.size() > 1 && part[0] == '0')) return false;
    if (!ParseNumber(part, 10, &value) || value > 255) return false;
    octets[i] = static_cast<uint8_t>(value);
    if (i < 3) text.remove_prefix(dot + 1);
  }
  return true;
}

// Groups of one side of "::" (or of the whole address); the last one may be a dotted quad.
bool ParseGroups(std::string_view text, bool may_end_in_quad, std::vector<uint8_t>* out) {
  if (text.empty()) return true;
  for (;;) {
    const size_t colon = text.find(':');
    const std::string_view group = text.substr(0, colon);
    const bool last = colon == std::string_view::npos;
    if (last && may_end_in_quad && group.find('.') != std::string_view::npos) {
      uint8_t octets[4];
      if (!ParseDottedQuad(group, octets)) return false;
      out->insert(out->end(), octets, octets + 4);
      return out->size() <= 16;
    }
    uint64_t value = 0;
    if (group.size() > 4 || !ParseNumber(group, 16, &value)) return false;
    out->push_back(static_cast<uint8_t>(value >> 8));
    out->push_back(static_cast<uint8_t>(value));
    if (out->size() > 16) return false;
    if (last) return true;
    text.remove_prefix(colon + 1);
  }
}

std::optional<IpAddress> ParseIpv6(std::string_view text) {
  std::vector<uint8_t> head;
  std::vector<uint8_t> tail;
  const size_t gap = text.find("::");
  if (gap == std::string_view::npos) {
    if (!ParseGroups(text, true, &head) || head.size() != 16) return std::nullopt;
  } else {
    if (!ParseGroups(text.substr(0, gap), false, &head)) return std::nullopt;
    if (!ParseGroups(text.substr(gap + 2), true, &tail)) return std::nullopt;
    if (head.size() + tail.size() > 14) return std::nullopt;
  }
  IpAddress address;
  std::copy(head.begin(), head.end(), address.bytes.begin());
  std::copy_backward(tail.begin(), tail.end(), address.bytes.end());
  return address;
}

std::string_view Trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

}  // namespace

IpAddress IpAddress::FromV4(std::span<const uint8_t, 4> octets) {
  IpAddress address;
  address.bytes = V4(octets[0], octets[1], octets[2], octets[3], 32, "").base;
  address.is_v4 = true;
  return address;
}

IpAddress IpAddress::FromV6(std::span<const uint8_t, 16> octets) {
  IpAddress address;
  std::copy(octets.begin(), octets.end(), address.bytes.begin());
  return address;
}

std::optional<IpAddress> ParseIpAddress(std::string_view text) {
  if (text.find(':') != std::string_view::npos) return ParseIpv6(text);
  uint8_t octets[4];
  if (!ParseDottedQuad(text, octets)) return std::nullopt;
  return IpAddress::FromV4(octets);
}

std::optional<IpAddress> ParseLooseIpv4(std::string_view text) {
  if (!text.empty() && text.back() == '.') text.remove_suffix(1);
  uint64_t parts[4];
  int count = 0;
  for (;;) {
    if (count == 4) return std::nullopt;
    const size_t dot = text.find('.');
    std::string_view part = text.substr(0, dot);
    int base = 10;
    if (part.starts_with("0x") || part.starts_with("0X")) {
      base = 16;
      part.remove_prefix(2);
      if (part.empty()) part = "0";
    } else if (part.size() > 1 && part[0] == '0') {
      base = 8;
      part.remove_prefix(1);
    }
    if (!ParseNumber(part, base, &parts[count])) return std::nullopt;
    ++count;
    if (dot == std::string_view::npos) break;
    text.remove_prefix(dot + 1);
  }
  // The last part fills all the octets that the earlier ones left.
  const uint64_t last_limit = uint64_t{1} << (8 * (5 - count));
  if (parts[count - 1] >= last_limit) return std::nullopt;
  uint64_t value = parts[count - 1];
  for (int i = 0; i < count - 1; ++i) {
    if (parts[i] > 255) return std::nullopt;
    value |= parts[i] << (8 * (3 - i));
  }
  const uint8_t octets[4] = {static_cast<uint8_t>(value >> 24), static_cast<uint8_t>(value >> 16),
                             static_cast<uint8_t>(value >> 8), static_cast<uint8_t>(value)};
  return IpAddress::FromV4(octets);
}

std::string FormatIpAddress(const IpAddress& address) {
  char text[48];
  const auto& b = address.bytes;
  if (address.is_v4 || IsMapped(b)) {
    std::snprintf(text, sizeof(text), "%s%d.%d.%d.%d", address.is_v4 ? "" : "::ffff:", b[12], b[13],
                  b[14], b[15]);
    return text;
  }
  std::array<unsigned, 8> groups{};
  for (size_t i = 0; i < 8; ++i) groups[i] = static_cast<unsigned>(b[2 * i] << 8 | b[2 * i + 1]);
  size_t best = 8;
  size_t best_length = 1;  // a single zero group is written out (RFC 5952)
  for (size_t i = 0; i < 8;) {
    size_t length = 0;
    while (i + length < 8 && groups[i + length] == 0) ++length;
    if (length > best_length) {
      best = i;
      best_length = length;
    }
    i += length + 1;
  }
  std::string result;
  for (size_t i = 0; i < 8; ++i) {
    if (i == best) {
      result += "::";
      i += best_length - 1;
      continue;
    }
    if (!result.empty() && result.back() != ':') result += ':';
    std::snprintf(text, sizeof(text), "%x", groups[i]);
    result += text;
  }
  return result;
}

std::string DescribeIpAddress(const IpAddress& address, std::string_view kind) {
  const bool takes_an = kind.starts_with('I') || kind.starts_with('u');  // as they are spoken
  return FormatIpAddress(address) + (takes_an ? " is an " : " is a ") + std::string(kind) +
         " address";
}

std::optional<AddressPolicy::Network> AddressPolicy::ParseNetwork(std::string_view text,
                                                                  std::string* error) {
  const size_t slash = text.find('/');
  const std::optional<IpAddress> address = ParseIpAddress(text.substr(0, slash));
  if (!address) {
    *error = "\"" + std::string(text) + "\" is no network address";
    return std::nullopt;
  }
  Network network{*address, 128};
  if (slash == std::string_view::npos) return network;
  const std::string_view length = text.substr(slash + 1);
  const uint64_t longest = address->is_v4 ? 32 : 128;
  uint64_t prefix = 0;
  if (length.size() > 3 || !ParseNumber(length, 10, &prefix) || prefix > longest) {
    *error = "\"" + std::string(text) + "\" has no valid prefix length";
    return std::nullopt;
  }
  network.prefix = static_cast<int>(prefix) + (address->is_v4 ? kMappedBits : 0);
  for (int bit = network.prefix; bit < 128; ++bit) {
    if (address->bytes[static_cast<size_t>(bit / 8)] & (0x80 >> (bit % 8))) {
      *error = "\"" + std::string(text) + "\" has bits set to the right of its prefix";
      return std::nullopt;
    }
  }
  return network;
}

std::optional<AddressPolicy> AddressPolicy::Parse(std::string_view networks, std::string* error) {
  AddressPolicy policy;
  if (Trim(networks).empty()) return policy;
  for (;;) {
    const size_t comma = networks.find(',');
    const std::optional<Network> network = ParseNetwork(Trim(networks.substr(0, comma)), error);
    if (!network) return std::nullopt;
    policy.listed_.push_back(*network);
    if (comma == std::string_view::npos) return policy;
    networks.remove_prefix(comma + 1);
  }
}

bool AddressPolicy::IsListed(const IpAddress& address) const {
  const bool v4_inside = address.is_v4 || IsMapped(address.bytes);
  return std::any_of(listed_.begin(), listed_.end(), [&](const Network& network) {
    // "::/0" means every IPv6 network, not every IPv4 address in its mapped form.
    if (v4_inside && network.prefix < kMappedBits) return false;
    return InNetwork(address.bytes, network.base.bytes, network.prefix);
  });
}

std::string_view AddressPolicy::SpecialKind(const IpAddress& address) {
  const std::span<const SpecialNetwork> table = address.is_v4
                                                    ? std::span<const SpecialNetwork>(kSpecialV4)
                                                    : std::span<const SpecialNetwork>(kSpecialV6);
  for (const SpecialNetwork& network : table) {
    if (InNetwork(address.bytes, network.base, network.prefix)) return network.kind;
  }
  // IANA has given out global unicast from 2000::/3 only.
  if (!address.is_v4 && (address.bytes[0] & 0xe0) != 0x20) return "reserved";
  return {};
}

std::string_view AddressPolicy::Refusal(const IpAddress& address) const {
  const std::string_view kind = SpecialKind(address);
  if (kind.empty() || IsListed(address)) return {};
  return kind;
}

}  // namespace alerting
