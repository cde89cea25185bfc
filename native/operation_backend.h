// How operations are carried out: one interface, with io_uring and with epoll behind it. Knows
// endpoints and operations; never calls JavaScript.
#pragma once

#include <cstdint>
#include <memory>

#include "operation.h"
#include "options.h"

namespace uring_net {

// Whom a backend works for.
class OperationHost {
 public:
  // Null when there is no such operation in flight.
  virtual Operation* FindOperation(int32_t token) = 0;
  virtual Endpoint* FindEndpoint(int32_t id) = 0;
  // One completion of an operation; the last one unless there is `more`.
  virtual void Complete(Operation& operation, int32_t result, bool more, int32_t extra) = 0;
  // A connection accepted on `listener`; the descriptor is the host's. The id of its endpoint, or
  // -errno with it closed.
  virtual int32_t Admit(int fd, const Endpoint& listener) = 0;
  // Whether accept's -errno is dealt with, so that accepting goes on.
  virtual bool IsAcceptErrorAbsorbed(Endpoint& listener, int error) = 0;
  // Buffer `index` of those that JavaScript has registered.
  virtual iovec BufferAt(int32_t index) = 0;

 protected:
  ~OperationHost() = default;
};

class OperationBackend {
 public:
  virtual ~OperationBackend() = default;

  // 0 or -errno.
  virtual int Setup(OperationHost* host, const Options& options, Counters* counters) = 0;
  // Becomes readable when there is something to reap.
  virtual int poll_descriptor() const = 0;
  virtual bool nonblocking_sockets() const = 0;
  // A connected, connecting or listening socket has come to be. 0 or -errno.
  virtual int Watch(Endpoint& endpoint) = 0;
  // A watched descriptor is closed whose socket lives on.
  virtual void Unwatch(Endpoint& endpoint) = 0;
  // A buffer for receives to pick. Receives give it back by their completion.
  virtual void Provide(int32_t index) = 0;
  // Whether an operation can be started now. May submit to make room.
  virtual bool HasRoom() = 0;
  // Starts an operation, which counts as in flight already. It ends by Complete(), at once perhaps.
  virtual void Start(Operation& operation) = 0;
  // Asks an operation in flight to end.
  virtual void Cancel(Operation& operation) = 0;
  // The operations of an endpoint, all of them asked to end, have ended when this returns, or will
  // not in a bounded time.
  virtual void AwaitEnd(Endpoint& endpoint) = 0;
  // Hands over to the kernel what was started.
  virtual void Submit() = 0;
  // Takes what has completed by now.
  virtual void Reap() = 0;
  // Whether there is work that no descriptor's readiness will announce.
  virtual bool HasUnannouncedWork() const = 0;
  // Ends all operations, waiting a bounded time; returns how many would not end.
  virtual int Drain() = 0;
  // Waits until no read from a file is in flight; returns how many operations still are.
  virtual int AwaitReads() = 0;
  // With `keep_mapped`, memory that the kernel may use stays.
  virtual void Teardown(bool keep_mapped) = 0;
};

// Whether an end of the stream that recv(2) reports is the connection's reset: a send had taken the
// error before. After an orderly end the kernel tells a send of EPIPE instead. Only of a connection
// that we have not shut down ourselves does TCP_CLOSE say that it was reset.
bool EndIsReset(const Endpoint& endpoint);

std::unique_ptr<OperationBackend> MakeUringOperations();
std::unique_ptr<OperationBackend> MakeEpollOperations();

}  // namespace uring_net
