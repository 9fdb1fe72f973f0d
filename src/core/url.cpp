#include "core/url.h"

#include <algorithm>
#include <charconv>

namespace alerting {
namespace {

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

std::string Lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = Lower(c);
  return result;
}

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// Ports of protocols that take commands line by line: an HTTP request sent there could be read as
// commands (mail relays, above all).
bool IsForeignPort(unsigned port) {
  constexpr uint16_t kPorts[] = {7,   9,   19,  21,  22,  23,  25,   53,   110,  119,
                                 135, 139, 143, 389, 445, 465, 512,  513,  514,  515,
                                 587, 636, 873, 990, 993, 995, 2049, 6379, 11211};
  return std::find(std::begin(kPorts), std::end(kPorts), port) != std::end(kPorts);
}

const char* CheckBytes(std::string_view text) {
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) return "URL holds a control character";
    if (byte == ' ') return "URL holds a space";
    if (byte >= 0x80) return "URL holds a character outside ASCII";
    // Browsers read a backslash as a slash, libcurl doesn't: nobody shall have to know which.
    if (c == '\\' || c == '"' || c == '<' || c == '>' || c == '^' || c == '`' || c == '{' ||
        c == '|' || c == '}') {
      return "URL holds a character that must be percent-encoded";
    }
  }
  return nullptr;
}

bool IsHostName(std::string_view host) {
  if (!host.empty() && host.back() == '.') host.remove_suffix(1);
  if (host.empty() || host.size() > 253) return false;
  for (;;) {
    const size_t dot = host.find('.');
    const std::string_view label = host.substr(0, dot);
    if (label.empty() || label.size() > 63 || label.front() == '-' || label.back() == '-') {
      return false;
    }
    for (const char c : label) {
      const char lower = Lower(c);
      if (!IsDigit(c) && !(lower >= 'a' && lower <= 'z') && c != '-' && c != '_') return false;
    }
    if (dot == std::string_view::npos) return true;
    host.remove_prefix(dot + 1);
  }
}

// Resolvers take a host whose last label is a number for an IPv4 address, or fail.
bool EndsInNumber(std::string_view host) {
  if (!host.empty() && host.back() == '.') host.remove_suffix(1);
  const size_t dot = host.rfind('.');
  const std::string_view label = dot == std::string_view::npos ? host : host.substr(dot + 1);
  if (label.starts_with("0x")) return true;
  return !label.empty() && std::all_of(label.begin(), label.end(), IsDigit);
}

bool ParseHost(std::string_view host, Url* url, std::string* error) {
  if (host.empty()) {
    *error = "URL has no host";
    return false;
  }
  if (host.front() == '[') {
    url->host = Lower(host.substr(1, host.size() - 2));
    url->address = ParseIpAddress(url->host);
    if (!url->address || url->address->is_v4) {
      *error = "URL has an invalid IPv6 address as its host";
      return false;
    }
    return true;
  }
  url->host = Lower(host);
  if (!IsHostName(url->host)) {
    *error = "URL has an invalid host name";
    return false;
  }
  if (EndsInNumber(url->host)) {
    url->address = ParseLooseIpv4(url->host);
    if (!url->address) {
      *error = "URL has an invalid IPv4 address as its host";
      return false;
    }
  }
  return true;
}

bool ParsePort(std::string_view text, Url* url, std::string* error) {
  unsigned port = 0;
  const char* end = text.data() + text.size();
  const auto [stop, failure] = std::from_chars(text.data(), end, port);
  if (text.size() > 5 || failure != std::errc() || stop != end || port == 0 || port > 65535) {
    *error = "URL has an invalid port";
    return false;
  }
  if (IsForeignPort(port)) {
    *error = "URL has port " + std::to_string(port) + ", which belongs to another protocol";
    return false;
  }
  url->port = static_cast<uint16_t>(port);
  return true;
}

}  // namespace

bool Url::IsLocalhost() const {
  std::string_view name = host;
  if (!name.empty() && name.back() == '.') name.remove_suffix(1);
  return name == "localhost" || name.ends_with(".localhost");
}

std::string Url::Origin() const {
  const bool brackets = host.find(':') != std::string::npos;
  return std::string(https ? "https://" : "http://") + (brackets ? "[" : "") + host +
         (brackets ? "]" : "") + ":" + std::to_string(port);
}

std::optional<Url> ParseUrl(std::string_view text, std::string* error) {
  if (text.size() > kMaxUrlBytes) {
    *error = "URL is longer than " + std::to_string(kMaxUrlBytes) + " bytes";
    return std::nullopt;
  }
  if (const char* wrong = CheckBytes(text)) {
    *error = wrong;
    return std::nullopt;
  }
  Url url;
  const std::string scheme = Lower(text.substr(0, text.find(':')));
  if (scheme == "https" && text.substr(5).starts_with("://")) {
    url.https = true;
  } else if (scheme != "http" || !text.substr(4).starts_with("://")) {
    *error = "URL is not an absolute http or https URL";
    return std::nullopt;
  }
  text.remove_prefix(scheme.size() + 3);
  const std::string_view authority = text.substr(0, text.find_first_of("/?#"));
  if (authority.find('@') != std::string_view::npos) {
    *error = "URL holds a user name or password";
    return std::nullopt;
  }
  // A bracketed host ends at its bracket, any other at the first colon.
  size_t host_end = authority.find(':');
  if (authority.starts_with('[')) {
    host_end = authority.find(']');
    if (host_end == std::string_view::npos) {
      *error = "URL has an invalid IPv6 address as its host";
      return std::nullopt;
    }
    ++host_end;
  }
  if (!ParseHost(authority.substr(0, host_end), &url, error)) return std::nullopt;
  url.port = url.https ? 443 : 80;
  if (host_end < authority.size()) {
    if (authority[host_end] != ':') {
      *error = "URL has an invalid host name";
      return std::nullopt;
    }
    if (!ParsePort(authority.substr(host_end + 1), &url, error)) return std::nullopt;
  }
  return url;
}

}  // namespace alerting
