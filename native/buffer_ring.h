// A ring of buffers from which the kernel picks one for each receive. Owns the memory of the
// entries; the buffers, and which of them are free, are its user's. Never looks at bytes.
#pragma once

#include <liburing.h>

#include <cstdint>
#include <memory>

#include "memory.h"

namespace uring_net {

class BufferRing {
 public:
  // Registers a ring of at least `count` entries, 32768 at most. 0 or -errno. Its user leaks it
  // when an operation would not end: the kernel reads the entries while the io_uring lives.
  int Setup(io_uring* ring, uint16_t group, uint32_t count);

  // One entry more, which the kernel sees after Publish(). Of at most as many as were asked for.
  void Provide(uint16_t id, uint8_t* data, uint32_t length);
  void Publish();

 private:
  std::shared_ptr<Region> entries_;
  io_uring_buf_ring* ring_ = nullptr;
  uint16_t mask_ = 0;
  uint16_t tail_ = 0;
};

}  // namespace uring_net
