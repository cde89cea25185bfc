// The receive pool as a provided-buffer ring: the kernel picks a buffer for each receive. Owns
// which part of the pool each completion means and when a buffer goes back; never looks at the
// bytes.
#pragma once

#include <liburing.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "memory.h"

// Not in liburing 2.3's copy of the header. include/uapi/linux/io_uring.h, Linux 6.12.
#ifndef IORING_CQE_F_BUF_MORE
#define IORING_CQE_F_BUF_MORE (1U << 4)
#endif

namespace uring_net {

class ProvidedRing {
 public:
  // The part of `pool` that a ring hands out.
  struct Part {
    uint16_t group;
    uint32_t offset;
    uint32_t count;
    uint32_t buffer_bytes;
  };

  // Registers a ring of the part's buffers. With `incremental` the kernel fills each buffer bit by
  // bit (Linux 6.12), so buffers can be large; -EINVAL when it does not know that. 0 or -errno.
  int Setup(io_uring* ring, std::shared_ptr<Region> pool, const Part& part, bool incremental);

  Region& pool() const { return *pool_; }

  // Where the bytes of a completion lie in the pool.
  struct Taken {
    uint32_t offset;
    // They reach to the end of their buffer, so that more may follow in the next.
    bool to_end;
  };

  // Accounts for a completion that names a buffer; the `mark`-th, for who gives buffers back by it.
  Taken Take(uint32_t cqe_flags, int32_t result, uint64_t mark = 0);

  // Where its part of the pool ends.
  uint32_t end() const { return offset_ + static_cast<uint32_t>(heads_.size()) * buffer_bytes_; }

  // Gives the buffers that were used up by the completion of that mark back to the kernel: after
  // the dispatch that carried their last bytes.
  void Recycle(uint64_t mark = UINT64_MAX);

 private:
  void Provide(uint16_t id);

  bool incremental_ = false;
  uint32_t offset_ = 0;
  uint32_t buffer_bytes_ = 0;
  uint16_t mask_ = 0;
  uint16_t tail_ = 0;
  std::shared_ptr<Region> pool_;
  // Lifetime: the kernel reads and (incremental) writes the entries while the ring descriptor
  // lives.
  std::shared_ptr<Region> entries_;
  io_uring_buf_ring* ring_ = nullptr;
  // How far each buffer is filled.
  std::vector<uint32_t> heads_;
  struct Used {
    uint16_t id;
    uint64_t mark;
  };
  // In the order of their marks.
  std::vector<Used> used_;
};

}  // namespace uring_net
