// Implements net/socket_peer.h.
#include "net/socket_peer.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cstring>

#include "net/curl_handle.h"

namespace alerting::net {
namespace {

// Of a sockaddr_in or sockaddr_in6, which have it at the same place.
int PortOf(const sockaddr_storage& address) {
  sockaddr_in in;
  std::memcpy(&in, &address, sizeof(in));
  return ntohs(in.sin_port);
}

// All zero where it is unknown, as is what an older kernel does not know.
tcp_info InfoOf(int fd) {
  tcp_info info{};
  socklen_t size = sizeof(info);
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return {};
  return info;
}

}  // namespace

std::optional<IpAddress> AddressOf(const sockaddr* address, size_t size) {
  const auto* bytes = reinterpret_cast<const char*>(address);
  if (address->sa_family == AF_INET && size >= sizeof(sockaddr_in)) {
    std::array<uint8_t, 4> octets;
    std::memcpy(octets.data(), bytes + offsetof(sockaddr_in, sin_addr), octets.size());
    return IpAddress::FromV4(octets);
  }
  if (address->sa_family == AF_INET6 && size >= sizeof(sockaddr_in6)) {
    std::array<uint8_t, 16> octets;
    std::memcpy(octets.data(), bytes + offsetof(sockaddr_in6, sin6_addr), octets.size());
    return IpAddress::FromV6(octets);
  }
  return std::nullopt;
}

std::optional<SocketEnds> EndsOf(int fd) {
  sockaddr_storage peer{}, local{};
  auto* generic_peer = reinterpret_cast<sockaddr*>(&peer);
  auto* generic_local = reinterpret_cast<sockaddr*>(&local);
  socklen_t peer_size = sizeof(peer), local_size = sizeof(local);
  if (getpeername(fd, generic_peer, &peer_size) != 0 ||
      getsockname(fd, generic_local, &local_size) != 0) {
    return std::nullopt;
  }
  const std::optional<IpAddress> address = AddressOf(generic_peer, peer_size);
  if (!address) return std::nullopt;
  return SocketEnds{{*address, PortOf(peer)}, PortOf(local)};
}

// Of UDP, whose ports are others than those of the connections: connecting it sends nothing.
bool HasSourceFor(const sockaddr* address, size_t size) {
  const Descriptor probe(socket(address->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (probe.get() < 0) return true;  // no more is known
  return connect(probe.get(), address, static_cast<socklen_t>(size)) == 0;
}

bool HasSpareDescriptors() {
  const auto another = [] { return epoll_create1(EPOLL_CLOEXEC); };
  const Descriptor spares[] = {Descriptor(another()), Descriptor(another()), Descriptor(another()),
                               Descriptor(another())};
  return spares[3].get() >= 0;
}

uint64_t ReceivedBytes(int fd) { return InfoOf(fd).tcpi_bytes_received; }

uint64_t SentBytes(int fd) { return InfoOf(fd).tcpi_bytes_sent; }

long SilentMs(int fd) { return static_cast<long>(InfoOf(fd).tcpi_last_data_recv); }

}  // namespace alerting::net
