// Datagram sockets; see datagrams.h.
#include "datagrams.h"

#include <arpa/inet.h>
#include <liburing.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <uv.h>

#include <cerrno>
#include <cstring>

#include "contract.h"

namespace uring_net {

namespace {

static_assert(sizeof(io_uring_recvmsg_out) + kDatagramNameBytes + kDatagramControlBytes ==
              kDatagramHeaderBytes);
static_assert(kDatagramHeaderBytes % alignof(cmsghdr) == 0);
static_assert(sizeof(sockaddr_in6) <= kDatagramNameBytes);

int Result(int value) { return value == -1 ? -errno : 0; }

template <typename Value>
int SetOption(int fd, int level, int name, const Value& value) {
  return Result(setsockopt(fd, level, name, &value, sizeof(value)));
}

int DomainOf(int32_t family) {
  return family == kFamilyInet ? AF_INET : family == kFamilyInet6 ? AF_INET6 : AF_UNSPEC;
}

// An IPv4 address, any one when there is no text.
int ParseInterface(std::string_view text, in_addr* out) {
  out->s_addr = htonl(INADDR_ANY);
  if (text.empty()) return 0;
  Address address;
  const int error = ParseAddress(AF_INET, text, 0, &address);
  if (error == 0) *out = reinterpret_cast<const sockaddr_in*>(&address.storage)->sin_addr;
  return error;
}

int ParseInterface(std::string_view text, uint32_t* scope) {
  *scope = 0;
  if (text.empty()) return 0;
  Address address;
  const int error = ParseAddress(AF_INET6, text, 0, &address);
  if (error == 0) *scope = reinterpret_cast<const sockaddr_in6*>(&address.storage)->sin6_scope_id;
  return error;
}

}  // namespace

int OpenDatagramSocket(int32_t family, bool nonblocking, int* domain) {
  *domain = DomainOf(family);
  if (*domain == AF_UNSPEC) return -EAFNOSUPPORT;
  const int type = SOCK_DGRAM | SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0);
  const int fd = socket(*domain, type, 0);
  return fd == -1 ? -errno : fd;
}

int BindDatagramSocket(int fd, const Address& address, int32_t flags) {
  int error = 0;
  if (address.storage.ss_family == AF_INET6) {
    const int only = (flags & kBindV6Only) != 0;
    error = SetOption(fd, IPPROTO_IPV6, IPV6_V6ONLY, only);
  }
  if (error == 0 && (flags & kBindReuseAddress) != 0) {
    error = SetOption(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  }
  if (error == 0 && (flags & kBindReusePort) != 0) {
    error = SetOption(fd, SOL_SOCKET, SO_REUSEPORT, 1);
  }
  return error != 0 ? error : Result(::bind(fd, address.get(), address.length));
}

int ConnectDatagramSocket(int fd, int domain, std::string_view text, int32_t port) {
  Address address;
  if (text.empty()) {
    address.storage.ss_family = AF_UNSPEC;
    address.length = sizeof(sockaddr);
  } else if (const int error = ParseAddress(domain, text, port, &address); error != 0) {
    return error;
  }
  int error;
  do {
    error = Result(::connect(fd, address.get(), address.length));
  } while (error == -EINTR);
  return error;
}

int SetDatagramOption(int fd, int domain, int32_t option, int32_t value) {
  const bool v6 = domain == AF_INET6;
  switch (option) {
    case kTimeToLive:
      return v6 ? SetOption(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, value)
                : SetOption(fd, IPPROTO_IP, IP_TTL, value);
    case kMulticastTimeToLive:
      return v6 ? SetOption(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, value)
                : SetOption(fd, IPPROTO_IP, IP_MULTICAST_TTL, value);
    case kMulticastLoopback:
      return v6 ? SetOption(fd, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, value)
                : SetOption(fd, IPPROTO_IP, IP_MULTICAST_LOOP, value);
    case kBroadcast:
      return SetOption(fd, SOL_SOCKET, SO_BROADCAST, value);
    case kCoalesce:
      return SetOption(fd, SOL_UDP, UDP_GRO, value);
    default:
      return SetSocketOption(fd, option, value);
  }
}

int SetMembership(int fd, int domain, std::string_view group, std::string_view interface,
                  bool join) {
  Address address;
  int error = ParseAddress(domain, group, 0, &address);
  if (error != 0) return error;
  if (domain == AF_INET) {
    ip_mreq request = {};
    request.imr_multiaddr = reinterpret_cast<const sockaddr_in*>(&address.storage)->sin_addr;
    error = ParseInterface(interface, &request.imr_interface);
    if (error != 0) return error;
    return SetOption(fd, IPPROTO_IP, join ? IP_ADD_MEMBERSHIP : IP_DROP_MEMBERSHIP, request);
  }
  const auto& in6 = *reinterpret_cast<const sockaddr_in6*>(&address.storage);
  ipv6_mreq request = {};
  request.ipv6mr_multiaddr = in6.sin6_addr;
  uint32_t scope = in6.sin6_scope_id;
  if (!interface.empty()) error = ParseInterface(interface, &scope);
  if (error != 0) return error;
  request.ipv6mr_interface = scope;
  return SetOption(fd, IPPROTO_IPV6, join ? IPV6_ADD_MEMBERSHIP : IPV6_DROP_MEMBERSHIP, request);
}

int SetMulticastInterface(int fd, int domain, std::string_view interface) {
  if (domain == AF_INET) {
    in_addr address;
    const int error = ParseInterface(interface, &address);
    return error != 0 ? error : SetOption(fd, IPPROTO_IP, IP_MULTICAST_IF, address);
  }
  uint32_t scope;
  const int error = ParseInterface(interface, &scope);
  return error != 0 ? error : SetOption(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, scope);
}

// --- addresses as words ---

int ParsePeer(int32_t family, std::string_view text, int32_t port, PeerWords out) {
  const int domain = DomainOf(family);
  if (domain == AF_UNSPEC) return -EAFNOSUPPORT;
  Address address;
  const int error = ParseAddress(domain, text, port, &address);
  if (error != 0) return error;
  std::memset(out.data(), 0, out.size_bytes());
  std::memcpy(&out[0], &address.storage, sizeof(int32_t));
  if (domain == AF_INET) {
    const auto& in = *reinterpret_cast<const sockaddr_in*>(&address.storage);
    std::memcpy(&out[1], &in.sin_addr, sizeof(in.sin_addr));
  } else {
    const auto& in6 = *reinterpret_cast<const sockaddr_in6*>(&address.storage);
    std::memcpy(&out[1], &in6.sin6_addr, sizeof(in6.sin6_addr));
    out[5] = static_cast<int32_t>(in6.sin6_scope_id);
  }
  return 0;
}

// Its length; 0 when the words are no address.
static socklen_t ReadPeer(PeerWords words, sockaddr_in6* out) {
  *out = {};
  std::memcpy(out, &words[0], sizeof(int32_t));
  if (out->sin6_family == AF_INET) {
    auto* in = reinterpret_cast<sockaddr_in*>(out);
    std::memcpy(&in->sin_addr, &words[1], sizeof(in->sin_addr));
    return sizeof(sockaddr_in);
  }
  if (out->sin6_family != AF_INET6) return 0;
  std::memcpy(&out->sin6_addr, &words[1], sizeof(out->sin6_addr));
  out->sin6_scope_id = static_cast<uint32_t>(words[5]);
  return sizeof(sockaddr_in6);
}

int FormatPeer(PeerWords words, SocketName* out) {
  Address address;
  sockaddr_in6 peer;
  address.length = ReadPeer(words, &peer);
  std::memcpy(&address.storage, &peer, sizeof(peer));
  return address.length == 0 ? -EAFNOSUPPORT : FormatAddress(address, out);
}

void SetPeer(Operation& operation, PeerWords words) {
  operation.peer_length = ReadPeer(words, &operation.peer);
}

// --- messages ---

void PrepareDatagramReceive(msghdr* message) {
  *message = {};
  message->msg_namelen = kDatagramNameBytes;
  message->msg_controllen = kDatagramControlBytes;
}

void PrepareDatagram(Operation& operation) {
  msghdr& message = operation.message;
  message = {};
  if (operation.peer_length > 0) {
    message.msg_name = &operation.peer;
    message.msg_namelen = operation.peer_length;
  }
  message.msg_iov = operation.pieces.data();
  message.msg_iovlen = operation.pieces.size();
  if (operation.segment == 0) return;
  message.msg_control = operation.control;
  message.msg_controllen = sizeof(operation.control);
  cmsghdr* control = CMSG_FIRSTHDR(&message);
  control->cmsg_level = SOL_UDP;
  control->cmsg_type = UDP_SEGMENT;
  control->cmsg_len = CMSG_LEN(sizeof(operation.segment));
  std::memcpy(CMSG_DATA(control), &operation.segment, sizeof(operation.segment));
}

int ReceiveDatagrams(int fd, std::span<const iovec> buffers, int32_t* used) {
  mmsghdr messages[kDatagramsAtOnce] = {};
  iovec bytes[kDatagramsAtOnce];
  const size_t count = std::min(buffers.size(), kDatagramsAtOnce);
  for (size_t i = 0; i < count; ++i) {
    auto* data = static_cast<uint8_t*>(buffers[i].iov_base);
    if (buffers[i].iov_len <= kDatagramHeaderBytes) return -EFAULT;
    bytes[i] = {data + kDatagramHeaderBytes, buffers[i].iov_len - kDatagramHeaderBytes};
    msghdr& message = messages[i].msg_hdr;
    message.msg_name = data + sizeof(io_uring_recvmsg_out);
    message.msg_namelen = kDatagramNameBytes;
    message.msg_iov = &bytes[i];
    message.msg_iovlen = 1;
    message.msg_control = data + kDatagramHeaderBytes - kDatagramControlBytes;
    message.msg_controllen = kDatagramControlBytes;
  }
  // Lifetime: the kernel writes within the call.
  const int received = recvmmsg(fd, messages, static_cast<unsigned>(count), MSG_DONTWAIT, nullptr);
  if (received == -1) return -errno;
  for (int i = 0; i < received; ++i) {
    const msghdr& message = messages[i].msg_hdr;
    const io_uring_recvmsg_out header = {
        message.msg_namelen, static_cast<uint32_t>(message.msg_controllen), messages[i].msg_len,
        static_cast<uint32_t>(message.msg_flags)};
    std::memcpy(buffers[static_cast<size_t>(i)].iov_base, &header, sizeof(header));
    used[i] = static_cast<int32_t>(kDatagramHeaderBytes + messages[i].msg_len);
  }
  return received;
}

int SendDatagrams(int fd, std::span<Operation* const> operations, int32_t* sent) {
  mmsghdr messages[kDatagramsAtOnce];
  const size_t count = std::min(operations.size(), kDatagramsAtOnce);
  for (size_t i = 0; i < count; ++i) {
    PrepareDatagram(*operations[i]);
    messages[i] = {operations[i]->message, 0};
  }
  // Lifetime: the kernel copies within the call and keeps nothing.
  const int taken =
      sendmmsg(fd, messages, static_cast<unsigned>(count), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (taken == -1) return -errno;
  for (int i = 0; i < taken; ++i) sent[i] = static_cast<int32_t>(messages[i].msg_len);
  return taken;
}

}  // namespace uring_net
