// How a ring is opened and closed, whoever uses it. Owns nothing.
#pragma once

#include <liburing.h>

#include <cstdint>
#include <functional>

namespace uring_net {

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
