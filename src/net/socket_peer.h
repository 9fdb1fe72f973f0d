// What the kernel knows of a connected socket. Sender, and backends that test a webhook.
#ifndef ALERTING_NET_SOCKET_PEER_H_
#define ALERTING_NET_SOCKET_PEER_H_

#include <cstddef>
#include <cstdint>
#include <optional>

#include "core/address_policy.h"

struct sockaddr;

namespace alerting::net {

// nullopt: of a family that is neither IPv4 nor 6. `size`: of what lies there.
std::optional<IpAddress> AddressOf(const sockaddr* address, size_t size);

struct SocketEnds {
  struct Peer {
    IpAddress address;
    int port = 0;
    bool operator==(const Peer&) const = default;
  };
  Peer peer;
  int local_port = 0;
  bool operator==(const SocketEnds&) const = default;
};

// nullopt: it is not connected.
std::optional<SocketEnds> EndsOf(int fd);

// Whether this machine has an address to send from to this one.
bool HasSourceFor(const sockaddr* address, size_t size);

// Whether this process may open a few files more.
bool HasSpareDescriptors();

// How many bytes have come so far; 0: unknown.
uint64_t ReceivedBytes(int fd);

// How many bytes were handed to the network so far, again ones too; 0: unknown.
uint64_t SentBytes(int fd);

// Since when nothing has come, in milliseconds; 0: unknown.
long SilentMs(int fd);

}  // namespace alerting::net

#endif  // ALERTING_NET_SOCKET_PEER_H_
