// Sends webhooks: many POST requests at once over libcurl's multi interface, all behind one
// descriptor and one timeout, so that the caller waits for them in PostgreSQL's own wait set.
// Sender, and backends that test a webhook; no PostgreSQL call is made here.
//
// Invariants: a connection is made, and a kept one used, only after AddressPolicy allowed the
// peer's address (so no DNS answer can lead elsewhere); plain http goes to listed networks only; a
// response costs bounded memory; no URL, header or body appears in an error; a connection over
// which nothing came while a request waited in vain is not used again; an answer that lies in a
// socket when its request's time is over counts, however late it is read.
#ifndef ALERTING_NET_WEBHOOK_CLIENT_H_
#define ALERTING_NET_WEBHOOK_CLIENT_H_

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/address_policy.h"
#include "net/curl_handle.h"

namespace alerting::net {

struct SocketEnds;

// How much of a response body is kept, is read, and how large a response head may be.
inline constexpr size_t kKeptBodyBytes = 1024;
inline constexpr size_t kMaxBodyBytes = 64 * 1024;
inline constexpr size_t kMaxHeadBytes = 32 * 1024;
// What may come over a TLS connection before one of its requests comes to an end; and about what
// may come over another one before its request does.
inline constexpr size_t kMaxTlsBytes = 8 * 1024 * 1024;

struct Request {
  uint64_t tag = 0;  // the caller's; comes back in the response
  std::string url;   // one that ParseUrl took
  std::string body;
  std::vector<std::string> headers;  // "name: value"
  long connect_timeout_ms = 10'000;
  long total_timeout_ms = 15'000;
};

// Milliseconds of each phase; 0 for one that wasn't reached or, on a kept connection, not needed.
struct Timings {
  double dns = 0;
  double connect = 0;
  double tls = 0;
  double wait = 0;  // from the request's first byte to the response's
  double total = 0;
};

struct Response {
  uint64_t tag = 0;
  int status = 0;  // 0: no complete response head came, and `error` says why
  std::string error;
  bool failed_here = false;  // for want of something on this machine: the endpoint had no part
  std::string retry_after;   // the header as it came
  std::string body;          // its first bytes, as they came
  bool cut_off = false;      // there was more of it than is read
  Timings timings;
  Request request;  // as it was given, for whoever made it to free or use again
};

// PEM files; empty: none.
struct TlsFiles {
  std::string authorities;  // instead of the system's
  std::string certificate;  // the client's own, shown to whoever asks for one
  std::string key;          // its private key; empty: in the certificate's file
  bool operator==(const TlsFiles&) const = default;
};

struct ClientOptions {
  AddressPolicy policy;
  // Beyond it the oldest idle ones are closed. With fewer than there are requests at a time, most
  // would need a new connection.
  long max_connections = 256;
  TlsFiles tls;
  // A connection takes requests for so many seconds at most: then names are looked up and
  // certificates are verified anew, however busy the endpoint is.
  long connection_lifetime_s = 600;
  // For tests: answers of the resolver, as "host:port:address[,address]".
  std::vector<std::string> resolve;
};

class WebhookClient {
 public:
  // nullptr: libcurl or the kernel refused, and `error` says what.
  static std::unique_ptr<WebhookClient> Create(ClientOptions options, std::string* error);
  explicit WebhookClient(ClientOptions options);  // only Create calls it
  ~WebhookClient();
  WebhookClient(const WebhookClient&) = delete;
  WebhookClient& operator=(const WebhookClient&) = delete;

  // Also holds for connections kept from before.
  void SetPolicy(AddressPolicy policy) { options_.policy = std::move(policy); }
  // For requests started from now on.
  void SetTlsFiles(TlsFiles files) { options_.tls = std::move(files); }

  void SetMaxConnections(long count);
  // For tests: as ClientOptions::resolve, from now on.
  void SetResolve(const std::vector<std::string>& answers);

  void Start(Request request);
  // Readable when OnReady has something to do.
  int PollDescriptor() const { return epoll_.get(); }
  // Milliseconds after which OnReady is to be called even so; nullopt: none.
  std::optional<long> TimeoutMs() const;
  void OnReady();
  // Moves out the responses that are complete.
  std::vector<Response> TakeFinished();
  // Requests started and not yet handed out by TakeFinished.
  size_t active() const { return active_.size() + finished_.size(); }

 private:
  using Clock = std::chrono::steady_clock;
  struct Transfer;
  struct Socket;
  // Connections, and the requests under way over them. Which connection a request goes over is
  // libcurl's choice, and one of HTTP/2 can have a request under way at any time. So that none is
  // chosen that is too old, requests go to a new pool once the last one's time is over.
  struct Pool {
    Clock::time_point until;                      // it takes requests
    std::optional<Clock::time_point> deadline{};  // libcurl's next
    size_t active = 0;
    MultiHandle multi{};
  };

  // `again`: it was sent before, and not looked at.
  void StartFrom(Request request, Clock::time_point started, bool again);
  std::unique_ptr<Transfer> TakeIdle(bool https);
  // With a handle for http or https. nullptr: out of memory.
  std::unique_ptr<Transfer> MakeTransfer(bool https);
  void FinishUnsent(uint64_t tag, std::string_view why, bool failed_here);
  // False: out of memory.
  bool BeginPool(Clock::time_point now);
  // For a new request; nullptr: out of memory.
  Pool* PoolAt(Clock::time_point now);
  void DropDrainedPools();
  // What is ready in the sockets, and what is due; false: there was nothing.
  bool Drive();
  void NoteLeft(CURL* handle, curl_socket_t socket) noexcept;
  void GoOnToNextAddress();
  void ReadOn();
  void CollectFinished();
  void FinishOverdue(Clock::time_point now);
  // Makes epoll wait for these events of a descriptor, or for none.
  bool Watch(int fd, uint32_t events) noexcept;
  void Unwatch(int fd) noexcept;
  void Finish(CURL* handle, CURLcode code);
  void SendAgain(std::unique_ptr<Transfer> transfer);
  void ShutSilent(const Transfer& transfer);
  void ShutFlooded(Transfer* transfer);
  void CountRead(int fd, Socket* socket);
  void CountWrite(int fd, uint32_t events, Socket* socket);
  std::vector<Transfer*> TransfersOver(const SocketEnds& ends) const;

  static int OnSocket(CURL* handle, curl_socket_t socket, int what, void* client, void*) noexcept;
  static int OnCloseSocket(void* client, curl_socket_t socket) noexcept;
  static int OnTimer(CURLM* multi, long timeout_ms, void* pool) noexcept;
  static curl_socket_t OnOpenSocket(void* transfer, curlsocktype purpose,
                                    curl_sockaddr* address) noexcept;
  static int OnBeforeRequest(void* transfer, char* peer, char* local, int peer_port,
                             int local_port) noexcept;
  static size_t OnHeader(char* data, size_t size, size_t count, void* transfer) noexcept;
  static int OnReceived(CURL* handle, curl_infotype type, char* data, size_t size,
                        void* client) noexcept;
  static size_t OnBody(char* data, size_t size, size_t count, void* transfer) noexcept;

  ClientOptions options_;
  Descriptor epoll_;
  // The sockets of connections that are open. Between two requests a socket stays in epoll, since
  // most are used again for just the same: that spares two system calls a request.
  struct Socket {
    uint32_t events = 0;   // that epoll waits for; 0: it does not know the socket
    bool idle = true;      // libcurl does not wait for it
    bool http1 = false;    // its last answer was of HTTP/1: nothing may come unasked
    bool plain = false;    // without TLS: one request at a time
    int reads = 0;         // since it was idle, where it is plain
    uint64_t from = 0;     // bytes that had come at the first look at them, then
    int writes = 0;        // how often it could be written to
    uint64_t sent = 0;     // bytes that had been sent at the last look at them
    bool in_vain = false;  // libcurl waits to write, but sends nothing
  };
  std::unordered_map<curl_socket_t, Socket> sockets_;
  std::vector<CURL*> answering_;     // handles whose answer has begun, over TLS
  bool heard_ = false;               // something has come over TLS since these were read on
  std::vector<CURL*> left_;          // handles whose socket was left before it was connected
  std::vector<HeaderList> resolve_;  // the last one counts; handles may still know the others
  std::unordered_map<CURL*, std::unique_ptr<Transfer>> active_;
  std::array<std::vector<std::unique_ptr<Transfer>>, 2> idle_;  // for http, for https
  std::vector<std::unique_ptr<Pool>> pools_;                    // requests go to the last one
  std::vector<Response> finished_;
  Clock::time_point overdue_from_;             // no active request's time is over before
  std::unordered_map<int, size_t> tls_bytes_;  // see kMaxTlsBytes; by the connection's local port
  bool sees_records_ = false;                  // libcurl tells what comes over TLS
};

}  // namespace alerting::net

#endif  // ALERTING_NET_WEBHOOK_CLIENT_H_
