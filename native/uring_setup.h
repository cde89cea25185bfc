// How a ring is opened and closed, whoever uses it. Owns nothing.
#pragma once

#include <liburing.h>

#include <cstddef>
#include <cstdint>
#include <functional>

namespace uring_net {

// What the kernel and this process share is the same on every processor (linux/io_uring.h).
static_assert(sizeof(io_uring_sqe) == 64 && sizeof(io_uring_cqe) == 16);
static_assert(offsetof(io_uring_sqe, user_data) == 32 && offsetof(io_uring_sqe, buf_group) == 40);
static_assert(offsetof(io_uring_cqe, res) == 8 && offsetof(io_uring_cqe, flags) == 12);
static_assert(sizeof(io_uring_buf) == 16 && offsetof(io_uring_buf, bid) == 12);
static_assert(offsetof(io_uring_buf_ring, tail) == 14 && sizeof(io_uring_buf_reg) == 40);
static_assert(sizeof(io_uring_recvmsg_out) == 16 && sizeof(io_uring_sync_cancel_reg) == 64);

struct Options;

// Opens a ring and calls `set_up_pool`, both with smaller sizes where memory is short. Adds what
// is in use to `features`. 0 or -errno; after an error there is no ring.
int OpenRing(io_uring* ring, const Options& options, uint32_t* features,
             const std::function<int()>& set_up_pool);

// Gives each completion in the queue to `visit` and takes them out of it.
template <typename Visit>
void TakeCompletions(io_uring* ring, Visit visit) {
  unsigned head;
  unsigned seen = 0;
  io_uring_cqe* cqe;
  io_uring_for_each_cqe(ring, head, cqe) {
    visit(*cqe);
    ++seen;
  }
  io_uring_cq_advance(ring, seen);
}

// With `keep_mapped` its memory stays: the kernel may go on using it.
void CloseRing(io_uring* ring, bool keep_mapped);

}  // namespace uring_net
