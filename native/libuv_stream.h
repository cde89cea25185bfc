// What libuv does not offer: to find a stream by its descriptor. Beside it, what is asked of a
// stream's queue through libuv's own functions. Rests on the facts listed in libuv_stream.cc, and
// knows nothing of io_uring or JavaScript.
#pragma once

#include <uv.h>

#include <cstddef>
#include <cstdint>

namespace uring_net {

// Null when all that this file rests on holds for the libuv of this process, else a short text that
// names the first fact that does not: then nothing else here is called. The trial is made once, on
// a loop of its own.
const char* ProveLibuv();

// The TCP or pipe stream with this descriptor that is not closing, or null. Handles are looked at
// from the newest back, and from the one behind `near`, an open stream, on: so it is cheap right
// after accept, and for many that are connected in the order in which they were made.
uv_stream_t* FindStream(uv_loop_t* loop, int fd, uv_stream_t* near = nullptr);

bool HasQueuedWrites(const uv_stream_t* stream);

// Copies bytes that are still to be sent, for libuv to send before all that is written from now on.
// Returns 0, or libuv's error: then nothing was queued.
int QueueRest(uv_stream_t* stream, const uint8_t* bytes, size_t length);

}  // namespace uring_net
