// Mapping and views; see memory.h.
#include "memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include "contract.h"

namespace uring_net {

std::shared_ptr<Region> Region::Map(size_t bytes) {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t size = (bytes + page - 1) / page * page;
  void* data = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) return nullptr;
  return std::shared_ptr<Region>(new Region(static_cast<uint8_t*>(data), size));
}

Region::~Region() { munmap(data_, size_); }

void Region::DontFork() { madvise(data_, size_, MADV_DONTFORK); }

napi_value MakeView(napi_env env, const std::shared_ptr<Region>& region, size_t offset,
                    size_t length) {
  URING_CHECK(offset <= region->size() && length <= region->size() - offset);
  auto* reference = new std::shared_ptr<Region>(region);
  auto release = [](napi_env, void*, void* hint) {
    delete static_cast<std::shared_ptr<Region>*>(hint);
  };
  napi_value view = nullptr;
  if (napi_create_external_arraybuffer(env, region->data() + offset, length, release, reference,
                                       &view) != napi_ok) {
    delete reference;
    return nullptr;
  }
  return view;
}

}  // namespace uring_net
