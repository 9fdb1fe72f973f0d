#include "net/webhook_client.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstdlib>

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
  if (!transfer->Prepare(std::move(request))) {
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
    const auto found = sockets_.find(event.data.fd);
    if (found != sockets_.end()) {
      auto& [fd, socket] = *found;
      if (socket.idle) {
        // Closed by the peer, most likely, which libcurl finds out when it needs the connection.
        // But some of its versions take what came unasked for the answer to the next request.
        if (socket.http1) shutdown(fd, SHUT_RDWR);
        Unwatch(fd);
        socket.events = 0;
        continue;
      }
      if (socket.plain) {
        CountRead(fd, &socket);
      } else {
        CountWrite(fd, event.events, &socket);
      }
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
