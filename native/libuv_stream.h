// What libuv does not offer: to find a stream by its descriptor, to keep its writes from leaving at
// once, and to send what waits in its queue. Knows uv_stream_t and the facts listed in
// libuv_stream.cc; never makes a system call on a stream outside of the proof, and knows nothing of
// io_uring or JavaScript.
//
// The rules for callers, who are all on the loop's thread:
// 1. Nothing but ProveLibuv() is called when that says that a fact does not hold.
// 2. CollectWrites, the send and AdvanceWrites happen together, with no way back to libuv between
//    them. libuv sends from its queue whenever it looks at the stream (after poll, when it was fed
//    in this turn, and after a read callback that came with an error or a hang-up): a list of
//    iovecs from before that names bytes that have left and memory that is gone.
// 3. Sending is done before uv_shutdown and uv_close, or those cut off what they would not have.
#pragma once

#include <sys/types.h>
#include <sys/uio.h>
#include <uv.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace uring_net {

// Null when all that this file rests on holds for the libuv of this process, else a short text that
// names the first fact that does not. The trial is made once, on a loop of its own.
const char* ProveLibuv();

// The TCP or pipe stream with this descriptor that is not closing, or null. Handles are looked at
// from the newest back, so it is cheap right after accept and connect.
uv_stream_t* FindStream(uv_loop_t* loop, int fd);

// Between the two, uv_try_write says EAGAIN and uv_write queues without writing. Pairs may be
// nested, and the stream may be closed in between.
void HoldWrites(uv_stream_t* stream);
void ReleaseWrites(uv_stream_t* stream);

// Releases what this thread still holds, and says how many that were; a ReleaseWrites that comes
// later for them does nothing. libuv aborts when it finishes closing a held stream. To be called
// from prepare, which runs before that even while an environment is torn down; there is something
// to release only if JavaScript was terminated between the two calls.
size_t ReleaseHeldWrites();

bool HasQueuedWrites(const uv_stream_t* stream);

// The kernel had no room, and libuv waits for some: it would not send before that.
bool WaitsForRoom(const uv_stream_t* stream);

struct CollectLimits {
  size_t iovecs = 1024;  // IOV_MAX; more make sendmsg(2) fail
  size_t bytes = SIZE_MAX;
};

// Appends what the queue holds behind its first `skip_requests` requests. Only whole requests are
// taken: the first that does not fit, carries a handle or has no bytes is left to libuv, and so is
// what is behind it. Nothing is taken while the stream connects or closes. Returns the number of
// requests, adds to *bytes. libuv's wish to hear of room, if the kernel has not been told of it, is
// taken back, so AdvanceWrites must follow, whatever becomes of the bytes.
size_t CollectWrites(uv_stream_t* stream, size_t skip_requests, const CollectLimits& limits,
                     std::vector<iovec>* out, size_t* bytes);

// What the send of the beginning of the queue returned: bytes, or -errno. libuv calls the callbacks
// of what was sent whole in its own time, at depth 0, and writes the rest itself. An error of the
// socket goes to the first request, as with libuv's own write; one that says nothing about the
// socket (EAGAIN, or of the ring) counts as nothing sent. Works on a closing stream too: what was
// sent says so, the rest is cancelled.
void AdvanceWrites(uv_stream_t* stream, ssize_t result);

// Copies bytes that are still to be sent, for libuv to send before all that is written from now on.
// `done`, which may be null, is called at depth 0. Returns 0, or libuv's error: then nothing was
// queued.
int QueueRest(uv_stream_t* stream, const uint8_t* bytes, size_t length,
              void (*done)(void* data, int status), void* data);

}  // namespace uring_net
