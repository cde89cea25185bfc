// What the kernel offers, found out by trying it on a small ring that is gone afterwards.
#pragma once

#include <cstdint>

namespace uring_net {

struct ProbeResult {
  // 0, or the -errno of the step that failed.
  int error = 0;
  // '' | 'setup' | 'nop' | 'opcodes' | 'buffers' | 'receive'
  const char* step = "";
  uint32_t features = 0;
};

ProbeResult ProbeKernel();

// Whether splice(2) moves bytes between sockets and pipes, found out by doing it: a sandbox may
// refuse it. True when there are no descriptors to try it with.
bool SpliceWorks();

}  // namespace uring_net
