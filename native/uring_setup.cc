// Opening and closing rings; see uring_setup.h.
#include "uring_setup.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <iterator>

#include "contract.h"
#include "options.h"

namespace uring_net {

namespace {

constexpr uint32_t kSubmissionFloor = 8;
constexpr uint32_t kCompletionFloor = 16;
constexpr useconds_t kGiveBackUs = 20000;

// Rings and registered buffers count against RLIMIT_MEMLOCK on many kernels: what fits of the ring
// may leave no room for the pool, so both are tried with each size.
int SetupRing(io_uring* ring, const Options& options, uint32_t submission, uint32_t completion,
              uint32_t* features) {
  // COOP_TASKRUN spares the interrupt on every completion and TASKRUN_FLAG says when there is work
  // to run (both 5.19); SINGLE_ISSUER (6.0) spares locking. DEFER_TASKRUN is not among them: a
  // libuv loop that sleeps on the ring's descriptor is not woken by deferred work.
  const unsigned wanted =
      (options.disable & kCoopTaskrun ? 0 : IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG) |
      (options.disable & kSingleIssuer ? 0 : IORING_SETUP_SINGLE_ISSUER);
  const unsigned ladder[] = {wanted, wanted & ~IORING_SETUP_SINGLE_ISSUER, 0};
  size_t step = 0;
  for (;;) {
    io_uring_params params = {};
    params.flags = ladder[step] | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
    params.cq_entries = completion;
    const int error = io_uring_queue_init_params(submission, ring, &params);
    if (error == 0) {
      // Without it (before 5.5) the kernel drops completions when the queue is full.
      if ((params.features & IORING_FEAT_NODROP) == 0) {
        io_uring_queue_exit(ring);
        return -EOPNOTSUPP;
      }
      if (params.flags & IORING_SETUP_COOP_TASKRUN) *features |= kCoopTaskrun;
      if (params.flags & IORING_SETUP_SINGLE_ISSUER) *features |= kSingleIssuer;
      // Both came with 6.0, and only the set-up flag says so before the first use.
      if (step == 0) *features |= kMultishotReceive;
      return 0;
    }
    if (error != -EINVAL || step + 1 == std::size(ladder)) return error;
    ++step;
  }
}

}  // namespace

int OpenRing(io_uring* ring, const Options& options, uint32_t* features,
             const std::function<int()>& set_up_pool) {
  uint32_t submission = std::max(options.submission_entries, kSubmissionFloor);
  uint32_t completion = std::max(options.completion_entries, submission);
  const auto attempt = [&] {
    *features = 0;
    int error = SetupRing(ring, options, submission, completion, features);
    if (error != 0) return error;
    error = set_up_pool();
    if (error != 0) io_uring_queue_exit(ring);
    return error;
  };
  int error = attempt();
  while (error == -ENOMEM && (submission > kSubmissionFloor || completion > kCompletionFloor)) {
    // The memory of a ring that was closed (the probe's, the last attempt's) is given back by a
    // kernel worker, a moment later.
    usleep(kGiveBackUs);
    submission = std::max(submission / 2, kSubmissionFloor);
    completion = std::max({completion / 2, kCompletionFloor, submission});
    error = attempt();
  }
  if (error != 0) return error;
  // A forked child would share the rings' pages.
  io_uring_ring_dontfork(ring);
  // Both came with 5.19.
  *features |= kBufferRing | kMultishotAccept;
  *features &= ~options.disable;
  // Spares a descriptor look-up per enter (5.18); works without.
  io_uring_register_ring_fd(ring);
  return 0;
}

void CloseRing(io_uring* ring, bool keep_mapped) {
  if (!keep_mapped) return io_uring_queue_exit(ring);
  // Closing the descriptor ends nothing at once: the kernel may go on writing to the rings and to
  // our memory.
  io_uring_unregister_ring_fd(ring);
  close(ring->ring_fd);
}

}  // namespace uring_net
