// System calls on sockets; see socket_calls.h.
#include "socket_calls.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <uv.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "contract.h"

namespace uring_net {

namespace {

// Bounds the time one listener may hold the thread.
constexpr int kRefusedAtOnce = 1024;

int Result(int value) { return value == -1 ? -errno : 0; }

int SetOption(int fd, int level, int name, int value) {
  return Result(setsockopt(fd, level, name, &value, sizeof(value)));
}

// Of a stream socket of a family that we know.
int StreamFamily(int fd, int* family) {
  int type = 0;
  socklen_t length = sizeof(type);
  if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == -1) return -errno;
  length = sizeof(*family);
  if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, family, &length) == -1) return -errno;
  const bool known = *family == AF_INET || *family == AF_INET6 || *family == AF_UNIX;
  return type == SOCK_STREAM && known ? 0 : -EPROTOTYPE;
}

// For calls that have no flag of their own against waiting. The mode belongs to the open file
// description, which others may share, so it is put back as it was.
class NonblockingScope {
 public:
  explicit NonblockingScope(int fd) : fd_(fd) {
    const int flags = fcntl(fd, F_GETFL);
    changed_ = flags != -1 && (flags & O_NONBLOCK) == 0 && SetMode(fd, true) == 0;
  }
  ~NonblockingScope() {
    if (changed_) SetMode(fd_, false);
  }

 private:
  const int fd_;
  bool changed_;
};

int ParseUnix(std::string_view text, Address* out) {
  auto* un = reinterpret_cast<sockaddr_un*>(&out->storage);
  if (text.empty()) return -EINVAL;
  // As libuv, which does not truncate for Node (UV_PIPE_NO_TRUNCATE).
  if (text.size() > sizeof(un->sun_path)) return -EINVAL;
  const bool abstract = text[0] == '\0';
  // A path with a NUL inside would silently name another file.
  if (!abstract && text.find('\0') != std::string_view::npos) return -EINVAL;
  un->sun_family = AF_UNIX;
  std::memcpy(un->sun_path, text.data(), text.size());
  out->length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + text.size());
  // Room for the terminating NUL is optional (unix(7)), but what there is of it belongs to the
  // address.
  if (!abstract && text.size() < sizeof(un->sun_path)) ++out->length;
  return 0;
}

void NameInet6(const sockaddr_in6& in6, SocketName* out) {
  char text[INET6_ADDRSTRLEN + 1 + UV_IF_NAMESIZE];
  inet_ntop(AF_INET6, &in6.sin6_addr, text, sizeof(text));
  out->address = text;
  out->port = ntohs(in6.sin6_port);
  if (!IN6_IS_ADDR_LINKLOCAL(&in6.sin6_addr) || in6.sin6_scope_id == 0) return;
  char zone[UV_IF_NAMESIZE];
  size_t size = sizeof(zone);
  if (uv_if_indextoiid(in6.sin6_scope_id, zone, &size) == 0) out->address.append("%").append(zone);
}

}  // namespace

int OpenSocket(int32_t family, bool nonblocking, int* domain) {
  switch (family) {
    case kFamilyInet:
      *domain = AF_INET;
      break;
    case kFamilyInet6:
      *domain = AF_INET6;
      break;
    case kFamilyUnix:
      *domain = AF_UNIX;
      break;
    default:
      return -EAFNOSUPPORT;
  }
  const int fd = socket(*domain, SOCK_STREAM | SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0), 0);
  return fd == -1 ? -errno : fd;
}

int ParseAddress(int domain, std::string_view text, int32_t port, Address* out) {
  if (domain == AF_UNIX) return ParseUnix(text, out);
  if (port < 0 || port > 65535) return -EINVAL;
  if (text.find('\0') != std::string_view::npos) return -EINVAL;
  const std::string terminated(text);
  if (domain == AF_INET) {
    out->length = sizeof(sockaddr_in);
    return uv_ip4_addr(terminated.c_str(), port, reinterpret_cast<sockaddr_in*>(&out->storage));
  }
  out->length = sizeof(sockaddr_in6);
  return uv_ip6_addr(terminated.c_str(), port, reinterpret_cast<sockaddr_in6*>(&out->storage));
}

int DuplicateSocket(int fd, int* family) {
  const int error = StreamFamily(fd, family);
  if (error != 0) return error;
  const int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  return own == -1 ? -errno : own;
}

int SetMode(int fd, bool nonblocking) {
  int value = nonblocking;
  return Result(ioctl(fd, FIONBIO, &value));
}

int BindSocket(int fd, const Address& address, int32_t flags) {
  const int domain = address.storage.ss_family;
  int error = 0;
  if (domain != AF_UNIX) error = SetOption(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  if (error == 0 && domain == AF_INET6) {
    error = SetOption(fd, IPPROTO_IPV6, IPV6_V6ONLY, (flags & kBindV6Only) != 0);
  }
  if (error == 0 && (flags & kBindReusePort) != 0) {
    error = SetOption(fd, SOL_SOCKET, SO_REUSEPORT, 1);
  }
  if (error != 0) return error;
  return Result(::bind(fd, address.get(), address.length));
}

int PrepareForeign(int fd, bool nonblocking, int* family) {
  const int error = StreamFamily(fd, family);
  if (error != 0) return error;
  sockaddr_storage peer;
  socklen_t length = sizeof(peer);
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &length) == -1) return -errno;
  if (fcntl(fd, F_SETFD, FD_CLOEXEC) == -1) return -errno;
  return SetMode(fd, nonblocking);
}

int SetSocketOption(int fd, int32_t option, int32_t value) {
  switch (option) {
    case kNoDelay:
      return SetOption(fd, IPPROTO_TCP, TCP_NODELAY, value != 0);
    case kKeepAliveSeconds: {
      const int error = SetOption(fd, SOL_SOCKET, SO_KEEPALIVE, value > 0);
      return error == 0 && value > 0 ? SetOption(fd, IPPROTO_TCP, TCP_KEEPIDLE, value) : error;
    }
    case kSendBufferBytes:
      return SetOption(fd, SOL_SOCKET, SO_SNDBUF, value);
    case kReceiveBufferBytes:
      return SetOption(fd, SOL_SOCKET, SO_RCVBUF, value);
    default:
      return -EINVAL;
  }
}

int SetResetOnClose(int fd) {
  const linger option = {1, 0};
  return Result(setsockopt(fd, SOL_SOCKET, SO_LINGER, &option, sizeof(option)));
}

bool IsTcpClosed(int fd) {
  tcp_info info;
  socklen_t length = sizeof(info);
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) == -1) return false;
  return info.tcpi_state == TCP_CLOSE;
}

int GetName(int fd, bool peer, SocketName* out) {
  Address address;
  address.length = sizeof(address.storage);
  auto* raw = reinterpret_cast<sockaddr*>(&address.storage);
  const int result =
      peer ? getpeername(fd, raw, &address.length) : getsockname(fd, raw, &address.length);
  return result == -1 ? -errno : FormatAddress(address, out);
}

int FormatAddress(const Address& address, SocketName* out) {
  out->family = address.storage.ss_family;
  if (out->family == AF_INET) {
    const auto* in = reinterpret_cast<const sockaddr_in*>(&address.storage);
    char text[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text));
    out->address = text;
    out->port = ntohs(in->sin_port);
  } else if (out->family == AF_INET6) {
    NameInet6(*reinterpret_cast<const sockaddr_in6*>(&address.storage), out);
  } else if (out->family == AF_UNIX) {
    const auto* un = reinterpret_cast<const sockaddr_un*>(&address.storage);
    const size_t header = offsetof(sockaddr_un, sun_path);
    const size_t length = address.length > header ? address.length - header : 0;
    // An abstract name is all of its bytes; a path ends at its NUL, if it has one (unix(7)).
    const bool abstract = length > 0 && un->sun_path[0] == '\0';
    out->address.assign(un->sun_path, abstract ? length : strnlen(un->sun_path, length));
  } else {
    return -EAFNOSUPPORT;
  }
  return 0;
}

ssize_t Receive(int fd, uint8_t* bytes, size_t length) {
  ssize_t received;
  do {
    received = recv(fd, bytes, length, MSG_DONTWAIT);
  } while (received == -1 && errno == EINTR);
  return received == -1 ? -errno : received;
}

ssize_t SendIoVecs(int fd, IoVecs pieces) {
  constexpr int kFlags = MSG_DONTWAIT | MSG_NOSIGNAL;
  msghdr message = {};
  message.msg_iov = const_cast<iovec*>(pieces.data());
  message.msg_iovlen = pieces.size();
  // Lifetime: the kernel copies within the call and keeps nothing.
  ssize_t taken;
  do {
    taken = pieces.size() == 1 ? send(fd, pieces[0].iov_base, pieces[0].iov_len, kFlags)
                               : sendmsg(fd, &message, kFlags);
  } while (taken == -1 && errno == EINTR);
  return taken == -1 ? -errno : taken;
}

ssize_t Splice(int from, int to, int socket, size_t length) {
  // SPLICE_F_NONBLOCK is of the pipe alone (splice(2)).
  const NonblockingScope scope(socket);
  ssize_t moved;
  do {
    moved = splice(from, nullptr, to, nullptr, length, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  } while (moved == -1 && errno == EINTR);
  return moved == -1 ? -errno : moved;
}

ssize_t SpliceByHand(int socket, int pipe, size_t length) {
  // No more than a pipe takes as a whole (PIPE_BUF).
  uint8_t bytes[4096];
  const ssize_t received = Receive(socket, bytes, std::min(length, sizeof(bytes)));
  if (received <= 0) return received;
  URING_CHECK(write(pipe, bytes, static_cast<size_t>(received)) == received);
  return received;
}

int ConnectSocket(int fd, const Address& address) {
  // A Unix socket would wait while the listener's backlog is full; as in libuv that is EAGAIN.
  const NonblockingScope scope(fd);
  int error;
  do {
    error = Result(::connect(fd, address.get(), address.length));
  } while (error == -EINTR);
  return error;
}

int ConnectOutcome(int fd) {
  int error = 0;
  socklen_t length = sizeof(error);
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == -1) return -errno;
  return -error;
}

void SpareFd::Open() {
  if (fd_ == -1) fd_ = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

void SpareFd::Close() {
  if (fd_ != -1) close(fd_);
  fd_ = -1;
}

bool SpareFd::ShedLoad(int listener) {
  if (fd_ == -1) return false;
  // Descriptors may be there again: then nobody is to be refused.
  if (const int spare = open("/dev/null", O_RDONLY | O_CLOEXEC); spare != -1) {
    close(spare);
    return true;
  }
  Close();
  const NonblockingScope scope(listener);
  bool refused = false;
  for (int i = 0; i < kRefusedAtOnce; ++i) {
    const int accepted = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (accepted != -1) {
      close(accepted);
    } else if (errno != EINTR && errno != ECONNABORTED) {
      // Still without descriptors: another thread took the one we gave back.
      refused = errno == EAGAIN;
      break;
    }
    refused = true;
  }
  Open();
  return refused;
}

}  // namespace uring_net
