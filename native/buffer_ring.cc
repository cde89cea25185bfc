// The ring of provided buffers; see buffer_ring.h.
#include "buffer_ring.h"

#include <algorithm>
#include <bit>
#include <cerrno>

namespace uring_net {

namespace {

// Entries that the kernel accepts in one ring (io_register_pbuf_ring).
constexpr uint32_t kEntriesMax = 32768;

}  // namespace

int BufferRing::Setup(io_uring* ring, uint16_t group, uint32_t count) {
  const uint32_t entries = std::bit_ceil(std::clamp(count, 1u, kEntriesMax));
  entries_ = Region::Map(entries * sizeof(io_uring_buf));
  if (!entries_) return -ENOMEM;
  // The kernel pins these pages; a forked child needs no copy of them.
  entries_->DontFork();
  ring_ = reinterpret_cast<io_uring_buf_ring*>(entries_->data());
  mask_ = static_cast<uint16_t>(entries - 1);
  tail_ = 0;

  io_uring_buf_reg registration = {};
  registration.ring_addr = reinterpret_cast<uintptr_t>(entries_->data());
  registration.ring_entries = entries;
  registration.bgid = group;
  return io_uring_register_buf_ring(ring, &registration, 0);
}

void BufferRing::Provide(uint16_t id, uint8_t* data, uint32_t length) {
  // Member by member: the tail lies in the first entry's padding and must not be overwritten.
  io_uring_buf* entry = &ring_->bufs[tail_ & mask_];
  entry->addr = reinterpret_cast<uintptr_t>(data);
  entry->len = length;
  entry->bid = id;
  ++tail_;
}

void BufferRing::Publish() { io_uring_smp_store_release(&ring_->tail, tail_); }

}  // namespace uring_net
