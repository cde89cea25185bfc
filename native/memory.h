// Mapped memory that JavaScript and the kernel look at. Owns the mapping and its lifetime; never
// knows what is in it.
#pragma once

#include <napi.h>

#include <cstddef>
#include <cstdint>
#include <memory>

namespace uring_net {

// One anonymous mapping. Every holder (the driver, each ArrayBuffer over it) has a shared_ptr; the
// last one unmaps. A driver whose operations would not end keeps its pointer for ever: the kernel
// may still write there.
class Region {
 public:
  // Returns null when the kernel has no memory. `bytes` is rounded up to whole pages.
  static std::shared_ptr<Region> Map(size_t bytes);
  ~Region();
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;

  uint8_t* data() const { return data_; }
  size_t size() const { return size_; }
  // Keeps forked children from copying the pages (for memory pinned by the kernel).
  void DontFork();

 private:
  Region(uint8_t* data, size_t size) : data_(data), size_(size) {}
  uint8_t* data_;
  size_t size_;
};

// An ArrayBuffer over part of a region; it holds a reference to the region until it is collected or
// detached. Returns null when the engine refuses external memory.
napi_value MakeView(napi_env env, const std::shared_ptr<Region>& region, size_t offset,
                    size_t length);

}  // namespace uring_net
