// What receives and sends below libuv's streams: one interface, with io_uring and with plain system
// calls behind it. Knows streams and bytes; never calls JavaScript.
#pragma once

#include <sys/types.h>
#include <sys/uio.h>
#include <uv.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <span>

#include "memory.h"

namespace uring_net {

struct Options;
struct Counters;

// A stream of libuv's that the engine reads from and writes to. The descriptor and the handle stay
// libuv's; StreamEngine::Detach comes before they are closed.
struct Stream {
  int32_t id = 0;
  int fd = -1;
  uv_stream_t* handle = nullptr;
  bool is_unix = false;
  // JavaScript wants what arrives.
  bool wanted = false;
  // The backend receives for it, or will with its next Submit().
  bool armed = false;
  // The kernel has a receive of it in flight.
  bool in_kernel = false;
  // Receives in a row that found no buffer.
  uint8_t dry = 0;
  // The numbers of the first and the last of its pieces that wait to be delivered; 0: none.
  uint64_t first_waiting = 0;
  uint64_t last_waiting = 0;
  // 1 and the errno of its end, when that waits for a later turn; else 0.
  int32_t late_end = 0;
  // The loop's turn in which bytes of it were last delivered.
  uint64_t turn = 0;
  // Where its last piece lies in the batch under construction.
  uint64_t batch = 0;
  uint32_t place = 0;
  // libuv may still have bytes of ours in its queue: nothing may be sent past it.
  bool has_rest = false;
  // How a send failed that had been told as done, or 0.
  int32_t failed = 0;
  // Its place among the ops of the flush under way.
  uint32_t op = 0;
};

// One receive: bytes at `offset` of the pool, or the end of the stream (0), or -errno.
struct Piece {
  int32_t id;
  int32_t result;
  uint32_t offset;
  // The number of the next one of the same stream, or 0.
  uint64_t next = 0;
};

// What one stream sends in one go. The memory is the caller's and stays until SendAll() returns.
struct SendOp {
  Stream* stream = nullptr;
  iovec* pieces = nullptr;
  uint32_t count = 0;
  // Of the pieces.
  size_t length = 0;
  // Bytes that the kernel took of them, or -errno.
  ssize_t result = 0;
  // Bytes before them that were sent already.
  size_t sent_before = 0;
  // Less than all was taken before: they have to wait.
  bool is_blocked = false;

  bool is_due() const { return count > 0 && !is_blocked; }
};

// Where a backend puts what has arrived, and finds streams.
class StreamHost {
 public:
  virtual Stream* FindStreamById(int32_t id) = 0;
  virtual void OnArrived(Stream& stream, int32_t result, uint32_t offset) = 0;
  // Pieces that have arrived so far.
  virtual uint64_t arrived() const = 0;

 protected:
  ~StreamHost() = default;
};

class StreamBackend {
 public:
  virtual ~StreamBackend() = default;

  // 0 or -errno.
  virtual int Setup(StreamHost* host, const Options& options) = 0;
  // Becomes readable when there is something to reap; -1 when there never is.
  virtual int poll_descriptor() const = 0;
  // Where received bytes lie.
  virtual const std::shared_ptr<Region>& pool() const = 0;
  // From the next Submit() on what arrives is received. 0 or -errno; -ENOTSUP when libuv receives.
  virtual int Arm(Stream& stream) = 0;
  // Nothing of the stream is in flight when it returns, but see failure(); what was received has
  // arrived.
  virtual void Disarm(Stream& stream) = 0;
  // With the next Submit() the descriptor becomes readable, whatever arrives.
  virtual void Announce() {}
  // Hands over to the kernel what was armed.
  virtual void Submit() = 0;
  // Takes what has arrived by now.
  virtual void Reap() = 0;
  // Sends all of it without waiting; the kernel has copied the bytes when it returns.
  virtual void SendAll(std::span<SendOp> ops) = 0;
  // The first `delivered` pieces that arrived are not looked at any more.
  virtual void Recycle(uint64_t delivered) = 0;
  // Whether there is work that no descriptor's readiness will announce.
  virtual bool HasUnannouncedWork() const = 0;
  // -errno when it cannot receive any more, and libuv has to: whatever it still had in flight takes
  // no bytes then, and ends when the socket does. Else 0.
  virtual int failure() const { return 0; }
  // Ends all receives, waiting a bounded time; returns how many would not end.
  virtual int Drain() = 0;
  // With `keep_mapped`, memory that the kernel may use stays.
  virtual void Teardown(bool keep_mapped) = 0;
  virtual void FillStats(Counters*) const {}
};

// A system call for each op.
void SendPlainly(std::span<SendOp> ops);

std::unique_ptr<StreamBackend> MakeUringStreams();
std::unique_ptr<StreamBackend> MakeEpollStreams();

}  // namespace uring_net
