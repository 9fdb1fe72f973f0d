// What libcurl calls: the guards of sockets, addresses and of what comes. See
// net/webhook_client.h.
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "net/socket_peer.h"
#include "net/transfer.h"
#include "net/webhook_client.h"

namespace alerting::net {

// Some versions of libcurl close a socket that was never connected without a word.
void WebhookClient::NoteLeft(CURL* handle, curl_socket_t socket) noexcept {
  if (!EndsOf(socket)) sockets_.erase(socket);
  try {
    left_.push_back(handle);
  } catch (...) {
    // Its next address is tried late.
  }
}

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
    if (transfer != nullptr && transfer->attempted && !transfer->connected) {
      self->NoteLeft(handle, socket);
      if (!self->sockets_.contains(socket)) kept = nullptr;
    }
    if (kept != nullptr) {
      kept->idle = true;
      kept->reads = 0;
      // Where the answer came at once, libcurl was still waiting to write, too.
      constexpr uint32_t kRead = EPOLLIN;
      const bool in_vain = std::exchange(kept->in_vain, false);
      if (kept->events != kRead || in_vain) kept->events = self->Watch(socket, kRead) ? kRead : 0;
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
  const bool in_vain = std::exchange(kept->in_vain, false);
  if (kept->events == events && !in_vain) return 0;
  kept->events = self->Watch(socket, events) ? events : 0;
  return kept->events == events ? 0 : -1;
}

int WebhookClient::OnCloseSocket(void* client, curl_socket_t socket) noexcept {
  // epoll forgets what is closed; its number may be another socket's next.
  static_cast<WebhookClient*>(client)->sockets_.erase(socket);
  return close(socket);
}

int WebhookClient::OnTimer(CURLM*, long timeout_ms, void* pool) noexcept {
  auto* self = static_cast<Pool*>(pool);
  if (timeout_ms < 0) {
    self->deadline.reset();
  } else {
    self->deadline = Clock::now() + std::chrono::milliseconds(timeout_ms);
  }
  return 0;
}

curl_socket_t WebhookClient::OnOpenSocket(void* transfer, curlsocktype,
                                          curl_sockaddr* address) noexcept {
  auto* self = static_cast<Transfer*>(transfer);
  self->silent = false;
  self->given_up = self->tries >= Transfer::kMostTries;
  if (self->given_up) return CURL_SOCKET_BAD;
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
    if (opened >= 0) {
      self->client->sockets_[opened] = Socket();
      self->client->sockets_[opened].plain = !self->https;
    }
  } catch (...) {
    close(opened);
    return CURL_SOCKET_BAD;
  }
  return opened;
}

int WebhookClient::OnBeforeRequest(void* transfer, char* peer, char*, int, int port) noexcept {
  auto* self = static_cast<Transfer*>(transfer);
  self->source_port = port;
  try {
    if (self->connected) self->client->tls_bytes_.erase(port);
    const std::optional<IpAddress> address = ParseIpAddress(peer);
    std::string refusal = address ? self->Refusal(*address) : "refused network: no IP address";
    if (refusal.empty()) {
      // Where this connection turns out to be broken, the others that were kept may be, too.
      ++self->tries;
      curl_easy_setopt(self->easy.get(), CURLOPT_FRESH_CONNECT, 1L);
      return CURL_PREREQFUNC_OK;
    }
    self->NoteRefusal(std::move(refusal));
  } catch (...) {
    // Refused, without its reason.
  }
  return CURL_PREREQFUNC_ABORT;
}

size_t WebhookClient::OnHeader(char* data, size_t size, size_t count, void* transfer) noexcept {
  auto* self = static_cast<Transfer*>(transfer);
  try {
    const std::string_view line(data, size * count);
    if (self->https && !self->head.started() && line.starts_with("HTTP/1")) {
      self->stale = !self->received && self->client->sees_records_;
      if (self->stale) return 0;
      if (self->received) self->client->sees_records_ = true;
    }
    const bool begins = self->https && self->head.status() == 0;
    if (!self->head.Add(line)) return 0;
    if (begins && self->head.status() != 0) self->client->answering_.push_back(self->easy.get());
    return line.size();
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
  self->client->heard_ = true;
  return self->body_bytes > kMaxBodyBytes ? 0 : bytes;
}

// Some versions of libcurl read frames of HTTP/2 for as long as they come and bring nothing, past
// all time limits; from within that loop they call nothing else. What is shut ends it.
int WebhookClient::OnReceived(CURL* handle, curl_infotype type, char* data, size_t size,
                              void* client) noexcept {
  if (type != CURLINFO_SSL_DATA_IN && type != CURLINFO_HEADER_OUT) return 0;
  auto* self = static_cast<WebhookClient*>(client);
  try {
    const auto found = self->active_.find(handle);
    if (found == self->active_.end()) return 0;
    Transfer* transfer = found->second.get();
    transfer->received = type == CURLINFO_SSL_DATA_IN;
    if (!transfer->received) return 0;
    self->heard_ = true;
    // Of a record with data only its head is shown, whose end is the length.
    constexpr size_t kRecordHead = 5;
    size_t& bytes =
        transfer->source_port == 0 ? transfer->tls_bytes : self->tls_bytes_[transfer->source_port];
    bytes += size;
    if (size == kRecordHead) {
      const auto* head = reinterpret_cast<const unsigned char*>(data);
      bytes += static_cast<size_t>(head[3] << 8 | head[4]);
    }
    if (bytes > kMaxTlsBytes) self->ShutFlooded(transfer);
  } catch (...) {
    // It goes on for another record.
  }
  return 0;
}

}  // namespace alerting::net
