// One request on its way: what libcurl's callbacks learn of its response, and the words that name
// the cause when none came. Sender, and backends that test a webhook.
#ifndef ALERTING_NET_TRANSFER_H_
#define ALERTING_NET_TRANSFER_H_

#include <sys/socket.h>

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/address_policy.h"
#include "net/curl_handle.h"
#include "net/socket_peer.h"
#include "net/webhook_client.h"

namespace alerting::net {

// Reads a response's head line by line as libcurl hands it over. Interim (1xx) heads are skipped;
// behind 101, which nobody asked for, no other one comes.
class ResponseHead {
 public:
  // False: the head is too large, or the last one and no answer.
  bool Add(std::string_view line);
  // Of the final head, once complete; else 0.
  int status() const { return complete_ ? status_ : 0; }
  bool started() const { return bytes_ > 0; }
  bool switched() const { return switched_; }  // to another protocol
  bool too_large() const { return bytes_ > kMaxHeadBytes; }
  const std::string& retry_after() const { return retry_after_; }

 private:
  size_t bytes_ = 0;
  int status_ = 0;
  bool complete_ = false;
  bool switched_ = false;
  std::string retry_after_;
};

// For how long a request that has been sent got nothing, and where.
struct Waited {
  SocketEnds ends;
  long milliseconds = 0;
};

// What has come of a request so far. A handle is used for many requests: each begins with a new
// one of these, so that nothing of the last request is taken for its own.
struct Progress {
  // The connection that it is sent over.
  int source_port = 0;              // 0: none yet
  bool attempted = false;           // some address was allowed
  bool connected = false;           // a new connection was made
  std::string refusal;              // why an address was refused, the first one
  int socket_error = 0;             // errno of the last socket that could not be had
  sockaddr_storage last_address{};  // that a socket was made for
  socklen_t last_address_length = 0;
  int tries = 0;  // libcurl goes on by itself where a kept connection breaks or a stream is refused
  bool given_up = false;  // after so many

  // What came back.
  ResponseHead head;
  size_t body_bytes = 0;
  size_t tls_bytes = 0;  // received before source_port was known; then the client counts
  bool received = true;  // something came over TLS since it was sent
  bool stale = false;    // nothing did, and yet there was an answer
  bool flooded = false;  // its connection was shut for all that came over it
  bool silent = false;   // its connection was shut since nothing came over it
};

// A handle of libcurl's, and the request that it is used for at the moment. The client keeps those
// that are idle.
struct WebhookClient::Transfer : Progress {
  // Over a kept connection and a new one: libcurl would make five new ones, each for a stream that
  // is refused.
  static constexpr int kMostTries = 2;

  // The handle, as MakeTransfer has made it.
  WebhookClient* client = nullptr;
  EasyHandle easy;
  bool https = false;
  TlsFiles files;
  std::string url;  // that the handle was given last

  // The request.
  Request request;
  std::vector<curl_slist> headers;  // whose texts are the request's
  bool again = false;               // see StartFrom
  std::chrono::steady_clock::time_point started, deadline;
  Pool* pool = nullptr;  // that it was last in

  // Buffers, whose room is kept from one request to the next.
  std::string body;  // the first kKeptBodyBytes of the answer's
  char error_buffer[CURL_ERROR_SIZE] = {};

  // For a handle just made. False: libcurl refused an option.
  bool SetProtocol();
  bool SetTls();
  bool SetCallbacks();
  // Makes the handle this request's; `again` is set before, times and pool after. False: its URL or
  // a header of it cannot be sent, or libcurl refused an option.
  bool Prepare(Request next);
  // False when a header would end its line and begin another.
  bool LinkHeaders();
  // Why this address must not be reached over this scheme; empty: it may be.
  std::string Refusal(const IpAddress& address) const;
  void NoteRefusal(std::string reason);
  std::string DescribeFailure(CURLcode code) const;
  // It failed for want of descriptors, ports, memory or threads on this machine, or the like.
  bool FailedHere(CURLcode code) const;
  long SystemError() const;  // as libcurl has kept it; 0: none
  Timings MeasureTimings() const;
  std::chrono::microseconds Elapsed() const;
  // The endpoint has not begun to look at it, or may get it twice: that of a kept connection that
  // broke, as with HTTP/1, where libcurl does this by itself.
  bool MayBeSentAgain(CURLcode code) const;
  // Of its connection; nullopt while it has none.
  std::optional<SocketEnds> Ends() const;
  // nullopt: it was not sent, or is being answered.
  std::optional<Waited> WaitedForAnswer() const;

 private:
  bool Says(std::string_view words) const;  // libcurl, of the failure
  std::string DescribeTimeout() const;
  std::string DescribeUnsent() const;
  std::string DescribeHttp2() const;
  bool NoThreadToResolve() const;
};

}  // namespace alerting::net

#endif  // ALERTING_NET_TRANSFER_H_
