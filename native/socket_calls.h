// System calls on sockets that never wait and are the same for both drivers. Everything returns 0
// (or a descriptor) or -errno. Keeps nothing.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace uring_net {

struct Address {
  sockaddr_storage storage = {};
  socklen_t length = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

// What is to be sent, in order. Never more than the call that is given it looks at.
using IoVecs = std::span<const iovec>;

struct SocketName {
  int family = 0;
  std::string address;
  int port = 0;
};

// `family` as in the contract (4, 6, 1). Fills `domain` with AF_*.
int OpenSocket(int32_t family, bool nonblocking, int* domain);

// Reads an IP literal (IPv6 may carry %zone) or a Unix path (a leading NUL names an abstract one).
int ParseAddress(int domain, std::string_view text, int32_t port, Address* out);

// A connected stream socket that somebody else opened: sets its mode. 0 or -errno (-EPROTOTYPE when
// it is something else).
int PrepareForeign(int fd, bool nonblocking, int* family);

// Another descriptor, close-on-exec, of the stream socket behind `fd`, and its family; or -errno
// (-EPROTOTYPE when it is something else).
int DuplicateSocket(int fd, int* family);
// Whether calls on it return instead of waiting: of all descriptors of the socket at once.
int SetMode(int fd, bool nonblocking);

int BindSocket(int fd, const Address& address, int32_t flags);
// `option` as in the contract.
int SetSocketOption(int fd, int32_t option, int32_t value);
int SetResetOnClose(int fd);
// Whether a TCP connection is over (state TCP_CLOSE).
bool IsTcpClosed(int fd);
int GetName(int fd, bool peer, SocketName* out);
int FormatAddress(const Address& address, SocketName* out);

// recv(2) that never waits. Bytes, 0 at the end of the stream, or -errno.
ssize_t Receive(int fd, uint8_t* bytes, size_t length);
// How many bytes of at most IOV_MAX pieces the kernel took, or -errno; -EAGAIN when it has no room.
// Never waits.
ssize_t SendIoVecs(int fd, IoVecs pieces);
// splice(2) between a socket and a pipe that does not wait. Never waits for `socket` either. Bytes
// or -errno.
ssize_t Splice(int from, int to, int socket, size_t length);
// The same with bytes that splice(2) does not see. It stops at an urgent byte, and says that
// nothing is there, or after a FIN that this is the end.
ssize_t SpliceByHand(int socket, int pipe, size_t length);

// Never waits: 0, -EINPROGRESS (TCP: the socket becomes writable when it is decided) or -errno.
int ConnectSocket(int fd, const Address& address);
// How a connect that was in progress has ended. 0 or -errno.
int ConnectOutcome(int fd);

// A descriptor kept back so that, with the process out of descriptors, waiting connections can
// still be refused (otherwise they stay in the queue and every accept fails again at once).
class SpareFd {
 public:
  ~SpareFd() { Close(); }
  void Open();
  void Close();
  // After an accept that found no descriptor: accepts and closes what waits on `listener`, unless
  // there is a descriptor again by now. False when there was no reserve: nothing was done.
  bool ShedLoad(int listener);

 private:
  int fd_ = -1;
};

}  // namespace uring_net
