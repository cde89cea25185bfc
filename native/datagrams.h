// Datagram sockets: the system calls on them that never wait, and where a received datagram lies in
// its buffer. Everything returns 0 (or a descriptor, or a count) or -errno. Keeps nothing.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <cstdint>
#include <span>
#include <string_view>

#include "operation.h"
#include "socket_calls.h"

namespace uring_net {

// A buffer begins with the kernel's io_uring_recvmsg_out, room for the sender's address and for a
// control message (io_uring_prep_recvmsg_multishot(3)); then follow the bytes, aligned for any
// element type. The epoll driver lays them out in the same way.
inline constexpr uint32_t kDatagramNameBytes = 32;
inline constexpr uint32_t kDatagramControlBytes = CMSG_SPACE(sizeof(int));
inline constexpr uint32_t kDatagramHeaderBytes = 72;
inline constexpr size_t kDatagramsAtOnce = 32;

// An IP address and port as words: the first four bytes of the sockaddr, the address (IPv4 has one
// word), and the scope of IPv6.
inline constexpr size_t kPeerWords = 6;
using PeerWords = std::span<int32_t, kPeerWords>;

int OpenDatagramSocket(int32_t family, bool nonblocking, int* domain);
int BindDatagramSocket(int fd, const Address& address, int32_t flags);
// Without text the socket is not connected any more.
int ConnectDatagramSocket(int fd, int domain, std::string_view text, int32_t port);
// `option` as in the contract, of those of datagram sockets.
int SetDatagramOption(int fd, int domain, int32_t option, int32_t value);
// `interface` is an address of it (IPv6: any with its %zone), or empty: the kernel chooses.
int SetMembership(int fd, int domain, std::string_view group, std::string_view interface,
                  bool join);
int SetMulticastInterface(int fd, int domain, std::string_view interface);

int ParsePeer(int32_t family, std::string_view text, int32_t port, PeerWords out);
int FormatPeer(PeerWords words, SocketName* out);
// Where the datagram of an operation goes to.
void SetPeer(Operation& operation, PeerWords words);

// The message of a receive into provided buffers.
void PrepareDatagramReceive(msghdr* message);
// The message of a datagram to be sent.
void PrepareDatagram(Operation& operation);

// Receives into as many buffers as there are datagrams, and fills in how much of each is used. How
// many. -EAGAIN when there is none.
int ReceiveDatagrams(int fd, std::span<const iovec> buffers, int32_t* used);
// Sends the datagrams of these operations, and fills in how many bytes each had. How many of them,
// from the first on, or the error of the first.
int SendDatagrams(int fd, std::span<Operation* const> operations, int32_t* sent);

}  // namespace uring_net
