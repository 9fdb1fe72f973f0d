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

// False: out of memory.
bool Append(HeaderList* list, const char* line) {
  curl_slist* longer = curl_slist_append(list->get(), line);
  if (longer == nullptr) return false;
  (void)list->release();
  list->reset(longer);
  return true;
}

// Of one that ParseUrl took.
bool IsHttps(std::string_view url) {
  constexpr size_t kHttp = 4;
  return url.size() > kHttp && (url[kHttp] == 's' || url[kHttp] == 'S');
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
  if (client->epoll_.get() < 0 || client->pools_.empty()) {
    *error = client->pools_.empty() ? "libcurl could not make a handle"
                                    : "epoll descriptor could not be made";
    return nullptr;
  }
  return client;
}

WebhookClient::WebhookClient(ClientOptions options)
    : options_(std::move(options)), epoll_(epoll_create1(EPOLL_CLOEXEC)) {
  SetResolve(options_.resolve);
  (void)BeginPool(Clock::now());
}

void WebhookClient::SetResolve(const std::vector<std::string>& answers) {
  if (answers.empty()) return;
  HeaderList list;
  for (const std::string& answer : answers) (void)Append(&list, answer.c_str());
  resolve_.push_back(std::move(list));
  for (auto& idle : idle_) idle.clear();
}

WebhookClient::~WebhookClient() {
  const SignalBlock block;
  for (auto& [handle, transfer] : active_)
    curl_multi_remove_handle(transfer->pool->multi.get(), handle);
  active_.clear();
  for (auto& idle : idle_) idle.clear();
  pools_.clear();
}

std::unique_ptr<WebhookClient::Transfer> WebhookClient::MakeTransfer(bool https) {
  auto transfer = std::make_unique<Transfer>();
  transfer->client = this;
  transfer->https = https;
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
  set(CURLOPT_SSL_SESSIONID_CACHE, 0L);  // one that is resumed shows no certificate to verify
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
  set(CURLOPT_VERBOSE, https ? 1L : 0L);  // for OnReceived
  // Taken and given back with most requests. 16 kB are too large for malloc's caches, but of a
  // frame of HTTP/2 that is larger than the buffer some versions of libcurl read the rest only
  // when more comes, if another request waits at the same connection.
  set(CURLOPT_BUFFERSIZE, https ? 16384L : 1024L);
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
    if (!url || url->https != transfer->https) return false;
  }
  transfer->head = ResponseHead();
  transfer->body_bytes = 0;
  transfer->source_port = 0;
  transfer->tls_bytes = 0;
  transfer->flooded = false;
  transfer->silent = false;
  transfer->received = true;
  transfer->stale = false;
  transfer->body.clear();
  transfer->refusal.clear();
  transfer->attempted = false;
  transfer->connected = false;
  transfer->socket_error = 0;
  transfer->last_address_length = 0;
  transfer->tries = 0;
  transfer->given_up = false;
  transfer->error_buffer[0] = '\0';
  CURL* easy = transfer->easy.get();
  bool ok = transfer->LinkHeaders();
  const auto set = [&](CURLoption option, auto value) {
    ok = ok && curl_easy_setopt(easy, option, value) == CURLE_OK;
  };
  if (!same_url) {
    set(CURLOPT_URL, r.url.c_str());
    transfer->url = ok ? r.url : std::string();
  }
  // Where one kept connection has ended, the others may have, too.
  set(CURLOPT_FRESH_CONNECT, transfer->again ? 1L : 0L);
  set(CURLOPT_HTTPHEADER, transfer->headers.data());
  set(CURLOPT_POSTFIELDS, r.body.c_str());
  set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(r.body.size()));
  set(CURLOPT_CONNECTTIMEOUT_MS, r.connect_timeout_ms);
  return ok;
}

std::unique_ptr<WebhookClient::Transfer> WebhookClient::TakeIdle(bool https) {
  auto& idle = idle_[https];
  while (!idle.empty()) {
    std::unique_ptr<Transfer> transfer = std::move(idle.back());
    idle.pop_back();
    if (transfer->files == options_.tls) return transfer;
  }
  return nullptr;
}

void WebhookClient::Start(Request request) {
  StartFrom(std::move(request), Clock::now(), /*again=*/false);
}

// Blocks no signals: libcurl makes no thread before OnReady runs the request. Nor does it know the
// request's time, since it looks at that before it reads what has come.
void WebhookClient::StartFrom(Request request, Clock::time_point started, bool again) {
  const uint64_t tag = request.tag;
  const bool https = IsHttps(request.url);
  std::unique_ptr<Transfer> transfer = TakeIdle(https);
  if (transfer == nullptr) transfer = MakeTransfer(https);
  if (transfer == nullptr) {
    FinishUnsent(tag, "out of memory", /*failed_here=*/true);
    return;
  }
  transfer->again = again;
  if (!PrepareTransfer(transfer.get(), std::move(request))) {
    FinishUnsent(tag, "request could not be prepared", /*failed_here=*/false);
    return;
  }
  transfer->started = started;
  transfer->deadline = started + std::chrono::milliseconds(transfer->request.total_timeout_ms);
  overdue_from_ =
      active_.empty() ? transfer->deadline : std::min(overdue_from_, transfer->deadline);
  Pool* pool = transfer->pool = PoolAt(Clock::now());
  CURL* easy = transfer->easy.get();
  active_.emplace(easy, std::move(transfer));
  if (curl_multi_add_handle(pool->multi.get(), easy) != CURLM_OK) {
    active_.erase(easy);
    FinishUnsent(tag, "request could not be started", /*failed_here=*/true);
    return;
  }
  ++pool->active;
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
  std::optional<Clock::time_point> next;
  const auto add = [&](Clock::time_point time) { next = std::min(next.value_or(time), time); };
  for (const auto& pool : pools_) {
    if (pool->deadline) add(*pool->deadline);
  }
  if (!active_.empty()) add(overdue_from_);
  if (!next) return std::nullopt;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(*next - Clock::now());
  return std::max<long>(static_cast<long>(left.count()), 0);
}

void WebhookClient::OnReady() {
  const SignalBlock block;
  // What came before this moment counts, however late this process is: none of it is left unread
  // where a request's time is over. An endpoint that sends without end would never let it be.
  constexpr int kMostRounds = 16;
  const Clock::time_point now = Clock::now();
  const bool overdue = !active_.empty() && now >= overdue_from_;
  for (int round = 0; Drive() && overdue && round < kMostRounds; ++round) continue;
  CollectFinished();
  if (overdue) FinishOverdue(now);
  DropDrainedPools();
}

bool WebhookClient::Drive() {
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
    if (const auto found = sockets_.find(event.data.fd);
        found != sockets_.end() && found->second.plain) {
      CountRead(found->first, &found->second);
    }
    int what = 0;
    if (event.events & (EPOLLIN | EPOLLHUP | EPOLLRDHUP)) what |= CURL_CSELECT_IN;
    if (event.events & EPOLLOUT) what |= CURL_CSELECT_OUT;
    if (event.events & EPOLLERR) what |= CURL_CSELECT_ERR;
    // Those that it is not of leave it alone.
    for (const auto& pool : pools_) {
      curl_multi_socket_action(pool->multi.get(), event.data.fd, what, &running);
    }
  }
  bool due = false;
  for (const auto& pool : pools_) {
    if (!pool->deadline || Clock::now() < *pool->deadline) continue;
    due = true;
    pool->deadline.reset();
    curl_multi_socket_action(pool->multi.get(), CURL_SOCKET_TIMEOUT, 0, &running);
  }
  GoOnToNextAddress();
  ReadOn();
  return count > 0 || due;
}

// None of these is active any more whose answer CollectFinished() has found.
void WebhookClient::FinishOverdue(Clock::time_point now) {
  std::vector<CURL*> overdue;
  overdue_from_ = Clock::time_point::max();
  for (const auto& [handle, transfer] : active_) {
    if (transfer->deadline <= now) {
      overdue.push_back(handle);
    } else {
      overdue_from_ = std::min(overdue_from_, transfer->deadline);
    }
  }
  for (CURL* handle : overdue) Finish(handle, CURLE_OPERATION_TIMEDOUT);
}

void WebhookClient::CollectFinished() {
  // A request that is sent again may begin another pool.
  for (size_t i = 0; i < pools_.size(); ++i) {
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(pools_[i]->multi.get(), &left)) {
      if (message->msg == CURLMSG_DONE) Finish(message->easy_handle, message->data.result);
    }
  }
}

void WebhookClient::Finish(CURL* handle, CURLcode code) {
  const auto found = active_.find(handle);
  if (found == active_.end()) return;
  std::unique_ptr<Transfer> transfer = std::move(found->second);
  active_.erase(found);
  --transfer->pool->active;
  if (transfer->head.started()) std::erase(answering_, handle);
  tls_bytes_.erase(transfer->source_port);
  if (transfer->MayBeSentAgain(code)) {
    SendAgain(std::move(transfer));
    return;
  }
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
  response.cut_off = transfer->body_bytes > kMaxBodyBytes || transfer->flooded;
  response.timings = transfer->MeasureTimings();
  if (code == CURLE_OPERATION_TIMEDOUT) {
    response.timings.total = static_cast<double>(transfer->Elapsed().count()) / 1000;
    ShutSilent(*transfer);
  }
  curl_multi_remove_handle(transfer->pool->multi.get(), handle);
  response.request = std::move(transfer->request);
  finished_.push_back(std::move(response));
  // Some versions of libcurl count a handle's further tries over all of its requests, and give up
  // at the sixth.
  // And some keep a request's errno for the next one.
  if (transfer->tries <= 1 && transfer->SystemError() == 0)
    idle_[transfer->https].push_back(std::move(transfer));
}

void WebhookClient::SendAgain(std::unique_ptr<Transfer> transfer) {
  curl_multi_remove_handle(transfer->pool->multi.get(), transfer->easy.get());
  StartFrom(std::move(transfer->request), transfer->started, /*again=*/true);
}

std::vector<Response> WebhookClient::TakeFinished() { return std::exchange(finished_, {}); }

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

}  // namespace alerting::net
