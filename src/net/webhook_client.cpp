#include "net/webhook_client.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "core/url.h"
#include "net/socket_peer.h"
#include "net/transfer.h"

namespace alerting::net {
namespace {

using Clock = std::chrono::steady_clock;

// False: out of memory.
bool Append(HeaderList* list, const char* line) {
  curl_slist* longer = curl_slist_append(list->get(), line);
  if (longer == nullptr) return false;
  (void)list->release();
  list->reset(longer);
  return true;
}

}  // namespace

std::unique_ptr<WebhookClient> WebhookClient::Create(ClientOptions options, std::string* error) {
  const SignalBlock block;
  // The keys that libcurl would write there open what it sends: signatures, users' headers.
  unsetenv("SSLKEYLOGFILE");
  if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
    *error = "libcurl could not be initialized";
    return nullptr;
  }
  auto client = std::make_unique<WebhookClient>(std::move(options));
  if (client->epoll_.get() < 0 || client->multi_ == nullptr) {
    *error = client->multi_ == nullptr ? "libcurl could not make a handle"
                                       : "epoll descriptor could not be made";
    return nullptr;
  }
  return client;
}

WebhookClient::WebhookClient(ClientOptions options)
    : options_(std::move(options)),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      multi_(curl_multi_init()) {
  CURLM* multi = multi_.get();
  if (multi == nullptr) return;
  SetResolve(options_.resolve);
  curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, &WebhookClient::OnSocket);
  curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, this);
  curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, &WebhookClient::OnTimer);
  curl_multi_setopt(multi, CURLMOPT_TIMERDATA, this);
  SetMaxConnections(options_.max_connections);
}

void WebhookClient::SetMaxConnections(long count) {
  options_.max_connections = count;
  curl_multi_setopt(multi_.get(), CURLMOPT_MAXCONNECTS, count);
}

void WebhookClient::SetResolve(const std::vector<std::string>& answers) {
  if (answers.empty()) return;
  HeaderList list;
  for (const std::string& answer : answers) (void)Append(&list, answer.c_str());
  resolve_.push_back(std::move(list));
  idle_.clear();
}

WebhookClient::~WebhookClient() {
  const SignalBlock block;
  for (auto& [handle, transfer] : active_) curl_multi_remove_handle(multi_.get(), handle);
  active_.clear();
  idle_.clear();
  multi_.reset();
}

std::unique_ptr<WebhookClient::Transfer> WebhookClient::MakeTransfer() {
  auto transfer = std::make_unique<Transfer>();
  transfer->client = this;
  transfer->easy.reset(curl_easy_init());
  CURL* easy = transfer->easy.get();
  if (easy == nullptr) return nullptr;
  transfer->body.reserve(kKeptBodyBytes);
  void* self = transfer.get();
  bool ok = true;
  const auto set = [&](CURLoption option, auto value) {
    ok = ok && curl_easy_setopt(easy, option, value) == CURLE_OK;
  };
  set(CURLOPT_NOSIGNAL, 1L);
  // Without it, giving up a request would wait for the thread that still resolves its host name.
  set(CURLOPT_QUICK_EXIT, 1L);
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_FOLLOWLOCATION, 0L);
  set(CURLOPT_PROXY, "");
  set(CURLOPT_NOPROXY, "*");
  set(CURLOPT_NETRC, static_cast<long>(CURL_NETRC_IGNORED));
  set(CURLOPT_SSL_VERIFYPEER, 1L);
  set(CURLOPT_SSL_VERIFYHOST, 2L);
  set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  // Only a new handle can go back to the system's authorities: see TakeIdle.
  const TlsFiles& tls = transfer->files = options_.tls;
  if (!tls.authorities.empty()) {
    set(CURLOPT_CAINFO, tls.authorities.c_str());
    // Else a folder of the system's that libcurl knows would be trusted, too. Without one it would
    // keep for a day what it has read of the file.
    (void)curl_easy_setopt(easy, CURLOPT_CAPATH, static_cast<const char*>(nullptr));
    (void)curl_easy_setopt(easy, CURLOPT_CA_CACHE_TIMEOUT, 0L);
  }
  if (!tls.certificate.empty()) {
    set(CURLOPT_SSLCERT, tls.certificate.c_str());
    set(CURLOPT_SSLKEY, (tls.key.empty() ? tls.certificate : tls.key).c_str());
    // Without one, OpenSSL would ask at a terminal for the passphrase of an encrypted key.
    set(CURLOPT_KEYPASSWD, "");
  }
  if (!resolve_.empty()) set(CURLOPT_RESOLVE, resolve_.back().get());
  set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_2TLS));
  set(CURLOPT_HTTP_CONTENT_DECODING, 0L);
  set(CURLOPT_USERAGENT, "alerting/1.1");
  set(CURLOPT_TCP_KEEPALIVE, 1L);
  set(CURLOPT_MAXLIFETIME_CONN, options_.connection_lifetime_s);
  // Taken and given back with each request; the default of 16 kB is too large for malloc's caches.
  set(CURLOPT_BUFFERSIZE, 1024L);
  set(CURLOPT_POST, 1L);
  set(CURLOPT_PRIVATE, self);
  set(CURLOPT_ERRORBUFFER, transfer->error_buffer);
  set(CURLOPT_OPENSOCKETFUNCTION, &WebhookClient::OnOpenSocket);
  set(CURLOPT_OPENSOCKETDATA, self);
  set(CURLOPT_CLOSESOCKETFUNCTION, &WebhookClient::OnCloseSocket);
  set(CURLOPT_CLOSESOCKETDATA, this);  // the connection outlives the handle
  set(CURLOPT_PREREQFUNCTION, &WebhookClient::OnBeforeRequest);
  set(CURLOPT_PREREQDATA, self);
  set(CURLOPT_HEADERFUNCTION, &WebhookClient::OnHeader);
  set(CURLOPT_HEADERDATA, self);
  set(CURLOPT_DEBUGFUNCTION, &WebhookClient::OnReceived);
  set(CURLOPT_DEBUGDATA, this);
  set(CURLOPT_WRITEFUNCTION, &WebhookClient::OnBody);
  set(CURLOPT_WRITEDATA, self);
  return ok ? std::move(transfer) : nullptr;
}

bool WebhookClient::PrepareTransfer(Transfer* transfer, Request request) {
  transfer->request = std::move(request);
  const Request& r = transfer->request;
  const bool same_url = transfer->url == r.url;
  if (!same_url) {
    std::string ignored;
    const std::optional<Url> url = ParseUrl(r.url, &ignored);
    if (!url) return false;
    transfer->https = url->https;
  }
  transfer->head = ResponseHead();
  transfer->body_bytes = 0;
  transfer->tls_bytes = 0;
  transfer->body.clear();
  transfer->refusal.clear();
  transfer->attempted = false;
  transfer->connected = false;
  transfer->socket_error = 0;
  transfer->last_address_length = 0;
  transfer->tries = 0;
  transfer->error_buffer[0] = '\0';
  CURL* easy = transfer->easy.get();
  bool ok = transfer->LinkHeaders();
  const auto set = [&](CURLoption option, auto value) {
    ok = ok && curl_easy_setopt(easy, option, value) == CURLE_OK;
  };
  if (!same_url) {
    set(CURLOPT_URL, r.url.c_str());
    set(CURLOPT_VERBOSE, transfer->https ? 1L : 0L);  // for OnReceived
    transfer->url = ok ? r.url : std::string();
  }
  set(CURLOPT_FRESH_CONNECT, 0L);
  set(CURLOPT_HTTPHEADER, transfer->headers.data());
  set(CURLOPT_POSTFIELDS, r.body.c_str());
  set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(r.body.size()));
  set(CURLOPT_CONNECTTIMEOUT_MS, r.connect_timeout_ms);
  set(CURLOPT_TIMEOUT_MS, r.total_timeout_ms);
  return ok;
}

std::unique_ptr<WebhookClient::Transfer> WebhookClient::TakeIdle() {
  while (!idle_.empty()) {
    std::unique_ptr<Transfer> transfer = std::move(idle_.back());
    idle_.pop_back();
    if (transfer->files == options_.tls) return transfer;
  }
  return nullptr;
}

// Blocks no signals: libcurl makes no thread before OnReady runs the request.
void WebhookClient::Start(Request request) {
  const uint64_t tag = request.tag;
  std::unique_ptr<Transfer> transfer = TakeIdle();
  if (transfer == nullptr) transfer = MakeTransfer();
  if (transfer == nullptr) {
    FinishUnsent(tag, "out of memory", /*failed_here=*/true);
    return;
  }
  if (!PrepareTransfer(transfer.get(), std::move(request))) {
    FinishUnsent(tag, "request could not be prepared", /*failed_here=*/false);
    return;
  }
  CURL* easy = transfer->easy.get();
  active_.emplace(easy, std::move(transfer));
  if (curl_multi_add_handle(multi_.get(), easy) != CURLM_OK) {
    active_.erase(easy);
    FinishUnsent(tag, "request could not be started", /*failed_here=*/true);
  }
}

void WebhookClient::FinishUnsent(uint64_t tag, std::string_view why, bool failed_here) {
  Response response;
  response.tag = tag;
  response.error = why;
  response.failed_here = failed_here;
  finished_.push_back(std::move(response));
}

std::optional<long> WebhookClient::TimeoutMs() const {
  if (!finished_.empty()) return 0;
  if (!deadline_) return std::nullopt;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(*deadline_ - Clock::now());
  return std::max<long>(static_cast<long>(left.count()), 0);
}

void WebhookClient::OnReady() {
  const SignalBlock block;
  int running = 0;
  std::array<epoll_event, 64> events;
  const int count =
      epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), /*timeout=*/0);
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events[static_cast<size_t>(i)];
    if (const auto found = sockets_.find(event.data.fd);
        found != sockets_.end() && found->second.idle) {
      // Closed by the peer, most likely, which libcurl finds out when it needs the connection. But
      // some of its versions take what came unasked for the answer to the next request.
      if (found->second.http1) shutdown(found->first, SHUT_RDWR);
      Unwatch(found->first);
      found->second.events = 0;
      continue;
    }
    int what = 0;
    if (event.events & (EPOLLIN | EPOLLHUP | EPOLLRDHUP)) what |= CURL_CSELECT_IN;
    if (event.events & EPOLLOUT) what |= CURL_CSELECT_OUT;
    if (event.events & EPOLLERR) what |= CURL_CSELECT_ERR;
    curl_multi_socket_action(multi_.get(), event.data.fd, what, &running);
  }
  if (deadline_ && Clock::now() >= *deadline_) {
    deadline_.reset();
    curl_multi_socket_action(multi_.get(), CURL_SOCKET_TIMEOUT, 0, &running);
  }
  CollectFinished();
}

void WebhookClient::CollectFinished() {
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi_.get(), &left)) {
    if (message->msg == CURLMSG_DONE) Finish(message->easy_handle, message->data.result);
  }
}

void WebhookClient::Finish(CURL* handle, CURLcode code) {
  const auto found = active_.find(handle);
  if (found == active_.end()) return;
  std::unique_ptr<Transfer> transfer = std::move(found->second);
  active_.erase(found);
  Response response;
  response.tag = transfer->request.tag;
  // With a complete head the endpoint has answered, however its body ended.
  response.status = transfer->head.status();
  if (response.status == 0) {
    response.error = transfer->DescribeFailure(code);
    response.failed_here = transfer->FailedHere(code);
  }
  response.retry_after = transfer->head.retry_after();
  response.body = transfer->body;  // whose room is kept
  response.cut_off = transfer->body_bytes > kMaxBodyBytes || transfer->is_flooded();
  response.timings = transfer->MeasureTimings();
  if (code == CURLE_OPERATION_TIMEDOUT) ShutSilent(*transfer);
  curl_multi_remove_handle(multi_.get(), handle);
  response.request = std::move(transfer->request);
  finished_.push_back(std::move(response));
  // Some versions of libcurl count a handle's further tries over all of its requests, and give up
  // at the sixth.
  // And some keep a request's errno for the next one.
  if (transfer->tries <= 1 && transfer->SystemError() == 0) idle_.push_back(std::move(transfer));
}

// A connection whose other end has gone without a word would swallow each retry, too: libcurl goes
// on using one of HTTP/2 after a timeout, and the idle ones to the same peer. It closes what is
// shut; what else was under way there fails now instead of by its own timeout.
void WebhookClient::ShutSilent(const Transfer& transfer) {
  const std::optional<Waited> waited = transfer.WaitedForAnswer();
  if (!waited) return;
  for (const auto& [fd, state] : sockets_) {
    const std::optional<SocketEnds> ends = EndsOf(fd);
    if (!ends || ends->peer != waited->ends.peer) continue;
    if (!state.idle && ends->local_port != waited->ends.local_port) continue;
    // What a TLS handshake or a window's update sends comes at the beginning.
    if (SilentMs(fd) >= waited->milliseconds / 2) shutdown(fd, SHUT_RDWR);
  }
}

// Some versions of libcurl read frames of HTTP/2 for as long as they come and bring nothing, past
// all time limits; from within that loop they call nothing else. What is shut ends it.
int WebhookClient::OnReceived(CURL* handle, curl_infotype type, char* data, size_t size,
                              void* client) noexcept {
  if (type != CURLINFO_SSL_DATA_IN) return 0;
  auto* self = static_cast<WebhookClient*>(client);
  try {
    const auto found = self->active_.find(handle);
    if (found == self->active_.end()) return 0;
    Transfer* transfer = found->second.get();
    // Of a record with data only its head is shown, whose end is the length.
    constexpr size_t kRecordHead = 5;
    transfer->tls_bytes += size;
    if (size == kRecordHead) {
      const auto* head = reinterpret_cast<const unsigned char*>(data);
      transfer->tls_bytes += static_cast<size_t>(head[3] << 8 | head[4]);
    }
    if (transfer->is_flooded()) self->ShutFlooded(*transfer);
  } catch (...) {
    // It goes on for another record.
  }
  return 0;
}

void WebhookClient::ShutFlooded(const Transfer& transfer) {
  const std::optional<SocketEnds> flooded = transfer.Ends();
  if (!flooded) return;
  for (const auto& [fd, state] : sockets_) {
    const std::optional<SocketEnds> ends = EndsOf(fd);
    if (ends && ends->peer == flooded->peer && ends->local_port == flooded->local_port) {
      shutdown(fd, SHUT_RDWR);
    }
  }
}

std::vector<Response> WebhookClient::TakeFinished() { return std::exchange(finished_, {}); }

int WebhookClient::OnSocket(CURL* handle, curl_socket_t socket, int what, void* client,
                            void*) noexcept {
  auto* self = static_cast<WebhookClient*>(client);
  void* owner = nullptr;
  curl_easy_getinfo(handle, CURLINFO_PRIVATE, &owner);
  auto* transfer = static_cast<Transfer*>(owner);
  // A connecting socket is waited on for writing only; the first wait to read comes after.
  if (transfer != nullptr && transfer->attempted && (what & CURL_POLL_IN)) {
    transfer->connected = true;
  }
  const auto found = self->sockets_.find(socket);
  Socket* kept = found == self->sockets_.end() ? nullptr : &found->second;  // else the resolver's
  if (what == CURL_POLL_REMOVE) {
    if (kept != nullptr) {
      kept->idle = true;
      // Where the answer came at once, libcurl was still waiting to write, too.
      constexpr uint32_t kRead = EPOLLIN;
      if (kept->events != kRead) kept->events = self->Watch(socket, kRead) ? kRead : 0;
      long version = CURL_HTTP_VERSION_NONE;
      curl_easy_getinfo(handle, CURLINFO_HTTP_VERSION, &version);
      kept->http1 = version == CURL_HTTP_VERSION_1_0 || version == CURL_HTTP_VERSION_1_1;
    } else {
      self->Unwatch(socket);
    }
    return 0;
  }
  const uint32_t events = ((what & CURL_POLL_IN) ? uint32_t{EPOLLIN} : 0) |
                          ((what & CURL_POLL_OUT) ? uint32_t{EPOLLOUT} : 0);
  if (kept == nullptr) return self->Watch(socket, events) ? 0 : -1;
  kept->idle = false;
  if (kept->events == events) return 0;
  kept->events = self->Watch(socket, events) ? events : 0;
  return kept->events == events ? 0 : -1;
}

bool WebhookClient::Watch(int fd, uint32_t events) noexcept {
  epoll_event event{};
  event.data.fd = fd;
  event.events = events;
  return epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event) == 0 ||
         epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

void WebhookClient::Unwatch(int fd) noexcept {
  epoll_event event{};
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, &event);
}

int WebhookClient::OnCloseSocket(void* client, curl_socket_t socket) noexcept {
  // epoll forgets what is closed; its number may be another socket's next.
  static_cast<WebhookClient*>(client)->sockets_.erase(socket);
  return close(socket);
}

int WebhookClient::OnTimer(CURLM*, long timeout_ms, void* client) noexcept {
  auto* self = static_cast<WebhookClient*>(client);
  if (timeout_ms < 0) {
    self->deadline_.reset();
  } else {
    self->deadline_ = Clock::now() + std::chrono::milliseconds(timeout_ms);
  }
  return 0;
}

curl_socket_t WebhookClient::OnOpenSocket(void* transfer, curlsocktype,
                                          curl_sockaddr* address) noexcept {
  auto* self = static_cast<Transfer*>(transfer);
  try {
    // curl_sockaddr ends in a plain sockaddr, but libcurl keeps room for the longest address in it.
    const std::optional<IpAddress> peer = AddressOf(&address->addr, address->addrlen);
    std::string refusal = peer ? self->Refusal(*peer) : "refused network: no IP address";
    if (!refusal.empty()) {
      self->NoteRefusal(std::move(refusal));
      return CURL_SOCKET_BAD;
    }
  } catch (...) {
    return CURL_SOCKET_BAD;
  }
  self->attempted = true;
  if (const auto length = static_cast<socklen_t>(address->addrlen);
      length <= sizeof(self->last_address)) {
    memcpy(&self->last_address, &address->addr, length);
    self->last_address_length = length;
  }
  const curl_socket_t opened =
      socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
  if (opened < 0) self->socket_error = errno;  // which libcurl does not keep
  try {
    if (opened >= 0) self->client->sockets_[opened] = Socket();
  } catch (...) {
    close(opened);
    return CURL_SOCKET_BAD;
  }
  return opened;
}

int WebhookClient::OnBeforeRequest(void* transfer, char* peer, char*, int, int) noexcept {
  auto* self = static_cast<Transfer*>(transfer);
  try {
    const std::optional<IpAddress> address = ParseIpAddress(peer);
    std::string refusal = address ? self->Refusal(*address) : "refused network: no IP address";
    if (refusal.empty()) {
      // Where this connection turns out to be broken, the others that were kept may be, too.
      ++self->tries;
      curl_easy_setopt(self->easy.get(), CURLOPT_FRESH_CONNECT, 1L);
      return CURL_PREREQFUNC_OK;
    }
    self->NoteRefusal(std::move(refusal));
    self->attempted = false;
  } catch (...) {
    // Refused, without its reason.
  }
  return CURL_PREREQFUNC_ABORT;
}

size_t WebhookClient::OnHeader(char* data, size_t size, size_t count, void* transfer) noexcept {
  auto* self = static_cast<Transfer*>(transfer);
  try {
    return self->head.Add({data, size * count}) ? size * count : 0;
  } catch (...) {
    return 0;
  }
}

size_t WebhookClient::OnBody(char* data, size_t size, size_t count, void* transfer) noexcept {
  auto* self = static_cast<Transfer*>(transfer);
  const size_t bytes = size * count;
  // Within the capacity reserved by MakeTransfer, so this allocates nothing.
  self->body.append(data, std::min(bytes, kKeptBodyBytes - self->body.size()));
  self->body_bytes += bytes;
  return self->body_bytes > kMaxBodyBytes ? 0 : bytes;
}

}  // namespace alerting::net
