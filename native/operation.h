// Endpoints and operations: what is open, what is in flight on it, and the memory that an operation
// needs until its last completion. Makes no system call.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "contract.h"

namespace uring_net {

// At most one operation of each kind is in flight on an endpoint. Datagrams are sent several at a
// time: see Endpoint::datagrams.
enum Kind : uint8_t { kReceiveKind, kSendKind, kAcceptKind, kConnectKind, kKinds };

enum class OpState : uint8_t {
  kFree,
  kInFlight,    // started, last completion not seen
  kCancelling,  // the same, and we asked the kernel to end it
};

struct Endpoint;

// Its memory, and all that it points to, is the kernel's while it is in flight.
struct Operation {
  int32_t token = 0;
  int32_t opcode = 0;
  OpState state = OpState::kFree;
  // Tells the uses of one token apart in what the kernel says late.
  uint16_t generation = 0;
  Kind kind = kReceiveKind;
  Endpoint* endpoint = nullptr;
  // What is to be moved; from `first` on, of which nothing has been moved yet.
  std::vector<iovec> pieces;
  size_t first = 0;
  uint32_t length = 0;
  uint32_t done = 0;
  // Of these, what the kernel was last asked to move.
  uint32_t asked = 0;
  // A receive ends with the first buffer.
  bool once = false;
  // Bytes that end a receive into memory.
  uint32_t minimum = 0;
  msghdr message = {};
  // Of a read from a file.
  uint64_t position = 0;
  // Of a datagram: where it goes to, unless the length is 0, and its neighbours in flight.
  sockaddr_in6 peer = {};
  socklen_t peer_length = 0;
  // Bytes of each of the datagrams that it is cut into; 0 when it is one. The message says it
  // there.
  uint16_t segment = 0;
  alignas(cmsghdr) uint8_t control[CMSG_SPACE(sizeof(uint16_t))] = {};
  Operation* next = nullptr;
  Operation* previous = nullptr;

  bool active() const { return state == OpState::kInFlight; }
  // `bytes` more have been moved.
  void Advance(uint32_t bytes) {
    done += bytes;
    URING_CHECK(done <= length);
    while (bytes > 0) {
      iovec& piece = pieces[first];
      const size_t part = bytes < piece.iov_len ? bytes : piece.iov_len;
      piece = {static_cast<uint8_t*>(piece.iov_base) + part, piece.iov_len - part};
      bytes -= static_cast<uint32_t>(part);
      if (piece.iov_len == 0) ++first;
    }
  }
};

// Operations in the order in which they were started.
struct OperationList {
  Operation* first = nullptr;
  Operation* last = nullptr;

  void Append(Operation& operation) {
    operation.previous = last;
    operation.next = nullptr;
    (last == nullptr ? first : last->next) = &operation;
    last = &operation;
  }
  void Remove(Operation& operation) {
    (operation.previous == nullptr ? first : operation.previous->next) = operation.next;
    (operation.next == nullptr ? last : operation.next->previous) = operation.previous;
  }
};

struct Endpoint {
  int32_t id = 0;
  int fd = -1;
  // Of a pipe, whose other end `fd` is.
  int write_end = -1;
  int family = 0;
  bool listening = false;
  // Its socket has other descriptors, which go on when this one is closed.
  bool shared = false;
  bool datagram = false;
  // Close was asked for; operations are still ending. Its token.
  bool closing = false;
  int32_t close_token = 0;
  // close(2) shall reset the connection.
  bool reset = false;
  // A send has met the connection's reset, and taken the error with it.
  bool reset_taken = false;
  Operation* operations[kKinds] = {};
  // Datagrams that are being sent.
  OperationList datagrams;
  uint32_t in_flight = 0;
  // Receives that brought bytes.
  uint32_t receives = 0;
  // Path of a bound Unix socket, unlinked on close.
  std::string path;

  // Used by the epoll backend only.
  bool watched = false;
  bool readable = false;
  bool writable = false;
  bool read_to_end = false;  // a short read does not mean that the socket is empty
  bool listed = false;
  bool sending = false;  // datagrams wait for Submit
};

// Endpoints never move. A freed place waits for others before it is used again, so that a stale id
// stays stale for long.
class EndpointTable {
 public:
  explicit EndpointTable(uint32_t max) : max_(max) {}

  // Null when `max` endpoints exist.
  Endpoint* Add(int fd, int family) {
    uint32_t index;
    if (free_.size() > kReuseDelay || (places_.size() == max_ && !free_.empty())) {
      index = free_.front();
      free_.pop_front();
    } else if (places_.size() < max_) {
      index = static_cast<uint32_t>(places_.size());
      places_.push_back(std::make_unique<Endpoint>());
      generations_.push_back(0);
    } else {
      return nullptr;
    }
    const uint32_t generation = generations_[index] = generations_[index] % kGenerationMax + 1;
    Endpoint& endpoint = *places_[index];
    endpoint.id = static_cast<int32_t>(generation << kSlotBits | index);
    endpoint.fd = fd;
    endpoint.family = family;
    ++count_;
    ++opened_;
    return &endpoint;
  }

  void Remove(Endpoint& endpoint) {
    URING_CHECK(endpoint.in_flight == 0);
    free_.push_back(static_cast<uint32_t>(endpoint.id) & kIndexMask);
    endpoint = Endpoint();
    --count_;
  }

  // Null for every id that is not that of an endpoint.
  Endpoint* Find(int32_t id) {
    const uint32_t index = static_cast<uint32_t>(id) & kIndexMask;
    if (id <= 0 || index >= places_.size()) return nullptr;
    return places_[index]->id == id ? places_[index].get() : nullptr;
  }

  template <typename Visit>
  void ForEach(Visit visit) {
    for (const auto& place : places_) {
      if (place->id != 0) visit(*place);
    }
  }

  uint32_t count() const { return count_; }
  uint64_t opened() const { return opened_; }
  bool full() const { return count_ >= max_; }

 private:
  static constexpr uint32_t kIndexMask = (1u << kSlotBits) - 1;
  static constexpr uint32_t kReuseDelay = 64;

  const uint32_t max_;
  uint32_t count_ = 0;
  uint64_t opened_ = 0;
  std::vector<std::unique_ptr<Endpoint>> places_;
  std::vector<uint16_t> generations_;
  std::deque<uint32_t> free_;
};

// Operations by the token that JavaScript gives them; they never move.
class OperationTable {
 public:
  // For a new operation. Null for a token out of range.
  Operation* At(int32_t token) {
    if (token <= 0 || token > kTokenMax) return nullptr;
    const auto index = static_cast<size_t>(token);
    while (index >= operations_.size()) operations_.push_back(std::make_unique<Operation>());
    return operations_[index].get();
  }

  // Null when it is not in flight.
  Operation* Find(int32_t token) {
    const auto index = static_cast<size_t>(token);
    if (token <= 0 || index >= operations_.size()) return nullptr;
    Operation* operation = operations_[index].get();
    return operation->state == OpState::kFree ? nullptr : operation;
  }

 private:
  static constexpr int32_t kTokenMax = 1 << 22;
  std::vector<std::unique_ptr<Operation>> operations_;
};

}  // namespace uring_net
