// Which connections requests go over, and which are given up. See net/webhook_client.h.
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include "net/socket_peer.h"
#include "net/transfer.h"
#include "net/webhook_client.h"

namespace alerting::net {

namespace {

// As it does for a request whose pause has come to an end.
void LookAtOnce(CURL* handle) {
  curl_easy_pause(handle, CURLPAUSE_SEND);
  curl_easy_pause(handle, CURLPAUSE_CONT);
}

}  // namespace

bool WebhookClient::BeginPool(Clock::time_point now) {
  auto pool =
      std::make_unique<Pool>(Pool{now + std::chrono::seconds(options_.connection_lifetime_s)});
  CURLM* handle = curl_multi_init();
  if (handle == nullptr) return false;
  pool->multi.reset(handle);
  curl_multi_setopt(handle, CURLMOPT_SOCKETFUNCTION, &WebhookClient::OnSocket);
  curl_multi_setopt(handle, CURLMOPT_SOCKETDATA, this);
  curl_multi_setopt(handle, CURLMOPT_TIMERFUNCTION, &WebhookClient::OnTimer);
  curl_multi_setopt(handle, CURLMOPT_TIMERDATA, pool.get());
  pools_.push_back(std::move(pool));
  SetMaxConnections(options_.max_connections);
  return true;
}

// Where there is no memory for another one, the last one goes on.
WebhookClient::Pool* WebhookClient::PoolAt(Clock::time_point now) {
  if (now >= pools_.back()->until) (void)BeginPool(now);
  return pools_.back().get();
}

void WebhookClient::DropDrainedPools() {
  const auto drained = [last = pools_.back().get()](const std::unique_ptr<Pool>& pool) {
    return pool.get() != last && pool->active == 0;
  };
  pools_.erase(std::remove_if(pools_.begin(), pools_.end(), drained), pools_.end());
}

// What a pool that takes no more requests keeps would be of no use.
void WebhookClient::SetMaxConnections(long count) {
  options_.max_connections = count;
  for (const auto& pool : pools_) {
    curl_multi_setopt(pool->multi.get(), CURLMOPT_MAXCONNECTS, pool == pools_.back() ? count : 1L);
  }
}

// Some versions of libcurl choose the next address where one has failed, but open a socket for it
// only when something else is due: with an address that was silent, when all time to connect is
// over.
void WebhookClient::GoOnToNextAddress() {
  for (CURL* handle : std::exchange(left_, {})) {
    const auto found = active_.find(handle);
    if (found == active_.end() || found->second->connected) continue;
    LookAtOnce(handle);
  }
}

// Where several requests are under way over a connection of HTTP/2, some versions of libcurl leave
// the rest of an answer unread that has come in several TLS records, until more comes.
void WebhookClient::ReadOn() {
  if (!std::exchange(heard_, false)) return;
  for (CURL* handle : answering_) LookAtOnce(handle);
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
    if (!state.idle && *ends != waited->ends) continue;
    // What a TLS handshake or a window's update sends comes at the beginning.
    if (SilentMs(fd) < waited->milliseconds / 2) continue;
    for (Transfer* other : TransfersOver(*ends)) other->silent = true;
    shutdown(fd, SHUT_RDWR);
  }
}

void WebhookClient::ShutFlooded(Transfer* transfer) {
  transfer->flooded = true;
  const std::optional<SocketEnds> flooded = transfer->Ends();
  if (!flooded) return;
  for (Transfer* other : TransfersOver(*flooded)) other->flooded = true;
  for (const auto& [fd, state] : sockets_) {
    if (EndsOf(fd) == flooded) shutdown(fd, SHUT_RDWR);
  }
}

// What libcurl reads and hands on to nobody, such as an extension of a chunk, ends by no other
// limit than the request's time.
void WebhookClient::CountRead(int fd, Socket* socket) {
  constexpr int kLookEvery = 16;  // reads, of up to 100 kB
  if (++socket->reads % kLookEvery != 0) return;
  const uint64_t received = ReceivedBytes(fd);
  if (socket->reads == kLookEvery) socket->from = received;
  if (received - socket->from <= kMaxTlsBytes) return;
  const std::optional<SocketEnds> ends = EndsOf(fd);
  if (!ends) return;
  for (Transfer* transfer : TransfersOver(*ends)) transfer->flooded = true;
  shutdown(fd, SHUT_RDWR);
}

// Where an endpoint's limits (HTTP/2) allow no stream or no body, some versions of libcurl wait to
// write, which the socket always allows: that would keep a processor busy for a request's whole
// time. Until something comes, which may lift the limits, only changes of the socket count.
void WebhookClient::CountWrite(int fd, uint32_t events, Socket* socket) {
  constexpr int kLookEvery = 16;  // times
  if (socket->in_vain && (events & EPOLLIN)) socket->in_vain = !Watch(fd, socket->events);
  if (!(events & EPOLLOUT) || socket->in_vain || ++socket->writes % kLookEvery != 0) return;
  const uint64_t sent = SentBytes(fd);
  if (sent != 0 && sent == socket->sent) {
    socket->in_vain = Watch(fd, socket->events | EPOLLIN | EPOLLET);
  }
  socket->sent = sent;
}

std::vector<WebhookClient::Transfer*> WebhookClient::TransfersOver(const SocketEnds& ends) const {
  std::vector<Transfer*> found;
  for (const auto& [handle, transfer] : active_) {
    if (transfer->source_port != 0 && transfer->Ends() == ends) found.push_back(transfer.get());
  }
  return found;
}

}  // namespace alerting::net
