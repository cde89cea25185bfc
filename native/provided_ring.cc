// The provided-buffer ring; see provided_ring.h.
#include "provided_ring.h"

#include <algorithm>
#include <bit>
#include <cerrno>

#include "contract.h"

namespace uring_net {

namespace {

// Entries the kernel accepts in one ring (io_register_pbuf_ring).
constexpr uint32_t kEntriesMax = 32768;
// IOU_PBUF_RING_INC, in what liburing 2.3 still calls padding (Linux 6.12).
constexpr uint16_t kIncremental = 2;

}  // namespace

int ProvidedRing::Setup(io_uring* ring, std::shared_ptr<Region> pool, const Part& part,
                        bool incremental) {
  incremental_ = incremental;
  offset_ = part.offset;
  buffer_bytes_ = part.buffer_bytes;
  const uint32_t count = std::min(part.count, kEntriesMax);
  // The ring's size is a power of two; the number of buffers in it need not be.
  const uint32_t entries = std::bit_ceil(count);
  pool_ = std::move(pool);
  entries_ = Region::Map(entries * sizeof(io_uring_buf));
  if (!pool_ || !entries_) return -ENOMEM;
  // The kernel pins these pages; a forked child needs no copy of them.
  entries_->DontFork();
  ring_ = reinterpret_cast<io_uring_buf_ring*>(entries_->data());
  mask_ = static_cast<uint16_t>(entries - 1);
  tail_ = 0;
  heads_.assign(count, 0);
  used_.clear();
  used_.reserve(count);

  io_uring_buf_reg registration = {};
  registration.ring_addr = reinterpret_cast<uintptr_t>(entries_->data());
  registration.ring_entries = entries;
  registration.bgid = part.group;
  registration.pad = incremental ? kIncremental : 0;
  // Lifetime: pool_ and entries_ belong to the kernel until the ring is gone and nothing is in
  // flight; whoever owns this object leaks it otherwise.
  const int error = io_uring_register_buf_ring(ring, &registration, 0);
  if (error != 0) return error;
  for (uint32_t id = 0; id < count; ++id) Provide(static_cast<uint16_t>(id));
  io_uring_smp_store_release(&ring_->tail, tail_);
  return 0;
}

void ProvidedRing::Provide(uint16_t id) {
  // Entry by entry: the tail lies in the first entry's padding and must not be overwritten.
  io_uring_buf* entry = &ring_->bufs[tail_ & mask_];
  entry->addr = reinterpret_cast<uintptr_t>(pool_->data()) + offset_ +
                static_cast<uint64_t>(id) * buffer_bytes_;
  entry->len = buffer_bytes_;
  entry->bid = id;
  heads_[id] = 0;
  ++tail_;
}

ProvidedRing::Taken ProvidedRing::Take(uint32_t cqe_flags, int32_t result, uint64_t mark) {
  const uint32_t id = cqe_flags >> IORING_CQE_BUFFER_SHIFT;
  URING_CHECK(id < heads_.size());
  const uint32_t offset = offset_ + id * buffer_bytes_ + heads_[id];
  const uint32_t bytes = result > 0 ? static_cast<uint32_t>(result) : 0;
  URING_CHECK(heads_[id] + bytes <= buffer_bytes_);
  heads_[id] += bytes;
  if (!incremental_ || (cqe_flags & IORING_CQE_F_BUF_MORE) == 0)
    used_.push_back({static_cast<uint16_t>(id), mark});
  return {offset, heads_[id] == buffer_bytes_};
}

void ProvidedRing::Recycle(uint64_t mark) {
  const auto end = std::find_if(used_.begin(), used_.end(),
                                [mark](const Used& used) { return used.mark > mark; });
  if (end == used_.begin()) return;
  for (auto used = used_.begin(); used != end; ++used) Provide(used->id);
  used_.erase(used_.begin(), end);
  io_uring_smp_store_release(&ring_->tail, tail_);
}

}  // namespace uring_net
