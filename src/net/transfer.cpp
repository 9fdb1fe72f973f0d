#include "net/transfer.h"

#include <algorithm>
#include <cerrno>

namespace alerting::net {
namespace {

constexpr char kHeadTooLarge[] = "response head is larger than 32 kB";

bool StartsWithIgnoringCase(std::string_view text, std::string_view lower_prefix) {
  if (text.size() < lower_prefix.size()) return false;
  for (size_t i = 0; i < lower_prefix.size(); ++i) {
    const char c = text[i];
    if ((c >= 'A' && c <= 'Z' ? c + 32 : c) != lower_prefix[i]) return false;
  }
  return true;
}

std::string_view Trim(std::string_view text) {
  const auto space = [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; };
  while (!text.empty() && space(text.front())) text.remove_prefix(1);
  while (!text.empty() && space(text.back())) text.remove_suffix(1);
  return text;
}

// "HTTP/1.1 503 Busy" or "HTTP/2 503": 503; 0 when malformed.
int StatusOf(std::string_view line) {
  const size_t space = line.find(' ');
  if (space == std::string_view::npos || line.size() < space + 4) return 0;
  int status = 0;
  for (const char c : line.substr(space + 1, 3)) {
    if (c < '0' || c > '9') return 0;
    status = status * 10 + (c - '0');
  }
  return status;
}

// Not strerror: it speaks the server's language, and these words are part of the delivery log.
std::string DescribeErrno(long error) {
  switch (error) {
    case ECONNREFUSED:
      return "connection refused";
    case ECONNRESET:
    case EPIPE:
      return "connection reset by the endpoint";
    case EHOSTUNREACH:
      return "no route to the host";
    case ENETUNREACH:
      return "network is unreachable";
    case ETIMEDOUT:
      return "connection timed out";
    case EACCES:
    case EPERM:
      return "forbidden by this machine's firewall";
    case EMFILE:
    case ENFILE:
      return "this machine has too many open files";
    case ENOBUFS:
    case ENOMEM:
      return "this machine is out of memory";
    case EADDRNOTAVAIL:
      return "this machine has no free port or address";
    default:
      return "system error " + std::to_string(error);
  }
}

// This machine has not enough of something, whatever the endpoint does.
bool IsWant(long error) {
  return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

// libcurl's words may quote what the peer sent (a certificate's names): printable ASCII, one line.
std::string Printable(std::string_view text) {
  constexpr size_t kLongest = 200;
  std::string result(text.substr(0, kLongest));
  for (char& c : result) {
    if (c < 0x20 || c > 0x7e) c = '?';
  }
  return result;
}

bool IsOneLine(std::string_view text) {
  return std::none_of(text.begin(), text.end(),
                      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

double Milliseconds(curl_off_t micros) { return static_cast<double>(micros) / 1000.0; }

curl_off_t TimeOf(CURL* easy, CURLINFO info) {
  curl_off_t micros = 0;
  curl_easy_getinfo(easy, info, &micros);
  return micros;
}

}  // namespace

bool ResponseHead::Add(std::string_view line) {
  bytes_ += line.size();
  if (too_large()) return false;
  if (complete_) return true;  // a trailer
  if (line.starts_with("HTTP/")) {
    status_ = StatusOf(line);
    retry_after_.clear();
  } else if (Trim(line).empty()) {
    constexpr int kSwitchingProtocols = 101;
    complete_ = status_ >= 200;
    switched_ = status_ == kSwitchingProtocols;
  } else if (StartsWithIgnoringCase(line, "retry-after:")) {
    constexpr size_t kLongest = 64;
    retry_after_ = Trim(line.substr(line.find(':') + 1)).substr(0, kLongest);
  }
  return !switched_;
}

// libcurl reads the list and its texts where they lie, so that a request costs no copies.
bool WebhookClient::Transfer::LinkHeaders() {
  // Without a value it keeps libcurl from asking for 100 Continue and waiting for it.
  static char no_expect[] = "Expect:";
  if (!std::all_of(request.headers.begin(), request.headers.end(), IsOneLine)) return false;
  headers.clear();
  headers.push_back({no_expect, nullptr});
  for (std::string& header : request.headers) headers.push_back({header.data(), nullptr});
  for (size_t i = 1; i < headers.size(); ++i) headers[i - 1].next = &headers[i];
  return true;
}

std::string WebhookClient::Transfer::Refusal(const IpAddress& address) const {
  const std::string_view kind = client->options_.policy.Refusal(address);
  if (!kind.empty()) return "refused network: " + DescribeIpAddress(address, kind);
  if (!https && !client->options_.policy.IsListed(address)) {
    return "refused network: plain http goes only to networks in alerting.allowed_networks, and " +
           FormatIpAddress(address) + " is in none of them";
  }
  return {};
}

void WebhookClient::Transfer::NoteRefusal(std::string reason) {
  if (refusal.empty()) refusal = std::move(reason);
}

// Empty where all of the body was handed on, which with HTTP/1 the kernel does for most. With
// HTTP/2 it stays where the endpoint's limits leave no stream, or no room in a window.
std::string WebhookClient::Transfer::DescribeUnsent() const {
  curl_off_t sent = 0;
  curl_easy_getinfo(easy.get(), CURLINFO_SIZE_UPLOAD_T, &sent);
  if (static_cast<size_t>(sent) >= request.body.size()) return {};
  return "while sending the request: endpoint took " + std::to_string(sent) + " of " +
         std::to_string(request.body.size()) + " bytes" +
         (https ? " (with HTTP/2, its limits allow no more)" : "");
}

std::string WebhookClient::Transfer::DescribeTimeout() const {
  const std::string after =
      "timeout after " + std::to_string((Elapsed().count() + 500) / 1000) + " ms ";
  if (head.started()) return after + "while reading the response";
  // Newer versions of libcurl count a handshake as part of what follows it.
  if (https && connected && TimeOf(easy.get(), CURLINFO_APPCONNECT_TIME_T) == 0) {
    return after + "in the TLS handshake";
  }
  if (TimeOf(easy.get(), CURLINFO_PRETRANSFER_TIME_T) > 0) {
    const std::string unsent = DescribeUnsent();
    return after + (unsent.empty() ? "waiting for a response" : unsent);
  }
  if (TimeOf(easy.get(), CURLINFO_NAMELOOKUP_TIME_T) > 0) return after + "while connecting";
  return after + "while resolving the host name";
}

bool WebhookClient::Transfer::Says(std::string_view words) const {
  return std::string_view(error_buffer).find(words) != std::string_view::npos;
}

// From libcurl's words and those of its library for HTTP/2, which name functions and numbers.
std::string WebhookClient::Transfer::DescribeHttp2() const {
  constexpr std::string_view kBroken = "endpoint broke the HTTP/2 protocol";
  constexpr std::string_view kUnclean = "closed cleanly: ", kReturned = "returned -";
  const std::string_view text = error_buffer;
  if (Says("returned -902")) return kHeadTooLarge;  // libcurl's own limit
  if (const size_t at = text.find(kUnclean); at != std::string_view::npos) {
    const std::string why = Printable(text.substr(at + kUnclean.size()));
    return (Says("PROTOCOL_ERROR") ? std::string(kBroken) : "endpoint ended the HTTP/2 stream") +
           ": " + why;
  }
  if (size_t at = text.find(kReturned); at != std::string_view::npos) {
    at = text.find(':', at);
    if (at != std::string_view::npos) {
      return std::string(kBroken) + ": " + Printable(text.substr(at + 1));
    }
  }
  return std::string(kBroken) + " or ended the connection";
}

std::string WebhookClient::Transfer::DescribeFailure(CURLcode code) const {
  if (head.too_large()) return kHeadTooLarge;
  if (head.switched()) return "endpoint switched to another protocol (101)";
  if (given_up) return "endpoint refused the request each time (HTTP/2)";
  if (flooded) return "endpoint sent more than 8 MB";
  if (stale) return "endpoint answered before it was asked";
  if (silent) return "connection was given up: nothing came over it while another request waited";
  // A public address that failed is the cause of the failure; the refused one beside it is not.
  if (!refusal.empty() && !attempted) return refusal;
  const long system_error = SystemError();
  switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
      return DescribeTimeout();
    case CURLE_COULDNT_RESOLVE_HOST:
      return NoThreadToResolve() ? "DNS: this machine has too many open files or threads"
                                 : "DNS: host name could not be resolved";
    case CURLE_COULDNT_CONNECT:
      return "connecting failed: " + DescribeErrno(socket_error != 0 ? socket_error : system_error);
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
      return "TLS: " + Printable(error_buffer[0] != '\0' ? error_buffer : curl_easy_strerror(code));
    // libcurl's words name the files, which whoever may read deliveries is not to know.
    case CURLE_SSL_CACERT_BADFILE:
      return files.authorities.empty() ? "TLS: this machine's authorities cannot be read"
                                       : "TLS: alerting.ca_file cannot be used";
    case CURLE_SSL_CERTPROBLEM:
      return "TLS: alerting.client_certificate_file or alerting.client_key_file cannot be used";
    case CURLE_GOT_NOTHING:
      return "endpoint closed the connection without a response";
    case CURLE_SEND_ERROR:
      if (system_error == 0 && https) return DescribeHttp2();
      return "sending failed: " + DescribeErrno(system_error);
    case CURLE_RECV_ERROR:
      // With TLS 1.3 a server refuses the client's certificate after the handshake.
      if (https && Says("alert")) {
        return "TLS: " + Printable(error_buffer);
      }
      if (system_error != 0) return "receiving failed: " + DescribeErrno(system_error);
      return Says("nghttp2") ? DescribeHttp2()
                             : "endpoint closed the connection within its response head";
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_UNSUPPORTED_PROTOCOL:
      return "response is not HTTP";
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
      return DescribeHttp2();
    case CURLE_ABORTED_BY_CALLBACK:
      return refusal.empty() ? "request was aborted" : refusal;
    case CURLE_OUT_OF_MEMORY:
#if LIBCURL_VERSION_NUM >= 0x080600
    case CURLE_TOO_LARGE:
#endif
      // So libcurl calls a single line of more than 100 kB.
      return TimeOf(easy.get(), CURLINFO_STARTTRANSFER_TIME_T) > 0 ? kHeadTooLarge
                                                                   : "out of memory";
    case CURLE_OK:
    case CURLE_PARTIAL_FILE:
      return "response has no complete head";
    default:
      return std::string("request failed: ") + curl_easy_strerror(code);
  }
}

long WebhookClient::Transfer::SystemError() const {
  long error = 0;
  curl_easy_getinfo(easy.get(), CURLINFO_OS_ERRNO, &error);
  return error;
}

bool WebhookClient::Transfer::FailedHere(CURLcode code) const {
  if (head.too_large() || given_up || flooded || (!refusal.empty() && !attempted)) return false;
  const long error = SystemError();
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
      // With few descriptors left the resolver gets one, and fails at the next.
      return NoThreadToResolve() || !HasSpareDescriptors();
    case CURLE_COULDNT_CONNECT:
      // Without an address of its family this machine never reaches that endpoint.
      return IsWant(socket_error) || IsWant(error) ||
             (error == EADDRNOTAVAIL && last_address_length > 0 &&
              HasSourceFor(reinterpret_cast<const sockaddr*>(&last_address), last_address_length));
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
      return IsWant(error);
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
      return !HasSpareDescriptors();
    case CURLE_ABORTED_BY_CALLBACK:
      return refusal.empty();
    case CURLE_OUT_OF_MEMORY:
      return TimeOf(easy.get(), CURLINFO_STARTTRANSFER_TIME_T) == 0;
    default:
      return false;
  }
}

bool WebhookClient::Transfer::NoThreadToResolve() const { return Says("failed to start"); }

Timings WebhookClient::Transfer::MeasureTimings() const {
  CURL* handle = easy.get();
  const curl_off_t dns = TimeOf(handle, CURLINFO_NAMELOOKUP_TIME_T);
  const curl_off_t connect = TimeOf(handle, CURLINFO_CONNECT_TIME_T);
  const curl_off_t tls = TimeOf(handle, CURLINFO_APPCONNECT_TIME_T);
  const curl_off_t sent = TimeOf(handle, CURLINFO_PRETRANSFER_TIME_T);
  const curl_off_t first = TimeOf(handle, CURLINFO_STARTTRANSFER_TIME_T);
  const auto phase = [](curl_off_t from, curl_off_t to) {
    return to > from ? Milliseconds(to - from) : 0.0;
  };
  Timings timings;
  timings.dns = Milliseconds(dns);
  timings.connect = phase(dns, connect);
  timings.tls = phase(connect, tls);
  timings.wait = sent > 0 ? phase(sent, first) : 0.0;
  timings.total = Milliseconds(TimeOf(handle, CURLINFO_TOTAL_TIME_T));
  return timings;
}

// libcurl counts only up to what came last, where a request is given up.
std::chrono::microseconds WebhookClient::Transfer::Elapsed() const {
  return std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - started);
}

bool WebhookClient::Transfer::MayBeSentAgain(CURLcode code) const {
  return code == CURLE_HTTP2 && !connected && !again && !flooded && !head.started();
}

std::optional<SocketEnds> WebhookClient::Transfer::Ends() const {
  CURL* handle = easy.get();
  const char* ip = nullptr;
  long port = 0, local_port = 0;
  curl_easy_getinfo(handle, CURLINFO_PRIMARY_IP, &ip);
  curl_easy_getinfo(handle, CURLINFO_PRIMARY_PORT, &port);
  curl_easy_getinfo(handle, CURLINFO_LOCAL_PORT, &local_port);
  if (ip == nullptr || local_port == 0) return std::nullopt;
  const std::optional<IpAddress> address = ParseIpAddress(ip);
  if (!address) return std::nullopt;
  return SocketEnds{{*address, static_cast<int>(port)}, static_cast<int>(local_port)};
}

std::optional<Waited> WebhookClient::Transfer::WaitedForAnswer() const {
  CURL* handle = easy.get();
  const curl_off_t sent = TimeOf(handle, CURLINFO_PRETRANSFER_TIME_T);
  if (sent == 0 || head.started()) return std::nullopt;
  const std::optional<SocketEnds> ends = Ends();
  if (!ends) return std::nullopt;
  constexpr curl_off_t kLongEnough = 100'000;  // to tell something
  const curl_off_t waited = Elapsed().count() - sent;
  if (waited < kLongEnough) return std::nullopt;
  return Waited{*ends, static_cast<long>(waited / 1000)};
}

}  // namespace alerting::net
