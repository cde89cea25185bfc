// The kernel probe and self-test; see probe.h. A sandbox may allow io_uring_setup and refuse what
// follows, so each thing a driver depends on is done once.
#include "probe.h"

#include <fcntl.h>
#include <liburing.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "buffer_ring.h"
#include "contract.h"

namespace uring_net {

namespace {

constexpr unsigned kEntries = 8;
constexpr uint16_t kGroup = 0;
constexpr uint32_t kPoolBytes = 16 * 1024;
constexpr char kGreeting[] = "uring";

bool SetupAccepts(unsigned flags) {
  io_uring ring;
  if (io_uring_queue_init(kEntries, &ring, flags) != 0) return false;
  io_uring_queue_exit(&ring);
  return true;
}

// Waits at most a second; a kernel that answers later is not one to rely on.
int WaitOne(io_uring* ring, io_uring_cqe* out) {
  io_uring_cqe* cqe = nullptr;
  __kernel_timespec limit = {1, 0};
  const int error = io_uring_wait_cqe_timeout(ring, &cqe, &limit);
  if (error != 0) return error;
  *out = *cqe;
  io_uring_cqe_seen(ring, cqe);
  return 0;
}

int TryNop(io_uring* ring) {
  io_uring_prep_nop(io_uring_get_sqe(ring));
  const int submitted = io_uring_submit(ring);
  if (submitted < 0) return submitted;
  io_uring_cqe cqe = {};
  const int error = WaitOne(ring, &cqe);
  return error != 0 ? error : cqe.res;
}

int TryOpcodes(io_uring* ring, uint32_t* features) {
  constexpr unsigned kOpcodes = 256;
  const std::unique_ptr<io_uring_probe, decltype(&std::free)> memory(
      static_cast<io_uring_probe*>(
          std::calloc(1, sizeof(io_uring_probe) + kOpcodes * sizeof(io_uring_probe_op))),
      &std::free);
  io_uring_probe* probe = memory.get();
  if (probe == nullptr) return -ENOMEM;
  if (const int error = io_uring_register_probe(ring, probe, kOpcodes); error != 0) return error;
  bool complete = true;
  for (const int opcode : {IORING_OP_SEND, IORING_OP_RECV, IORING_OP_ACCEPT, IORING_OP_CONNECT,
                           IORING_OP_ASYNC_CANCEL}) {
    complete = complete && io_uring_opcode_supported(probe, opcode);
  }
  // IORING_OP_SOCKET is of the same release as multishot accept (5.19), which has no bit of its
  // own.
  if (io_uring_opcode_supported(probe, IORING_OP_SOCKET)) *features |= kMultishotAccept;
  if (io_uring_opcode_supported(probe, IORING_OP_SEND_ZC)) *features |= kSendZeroCopy;
  return complete ? 0 : -EOPNOTSUPP;
}

struct Buffers {
  std::shared_ptr<Region> pool;
  BufferRing ring;
};

int TryBuffers(io_uring* ring, Buffers* buffers, uint32_t* features) {
  buffers->pool = Region::Map(kPoolBytes);
  if (!buffers->pool) return -ENOMEM;
  const int error = buffers->ring.Setup(ring, kGroup, 1);
  if (error != 0) return error;
  buffers->ring.Provide(0, buffers->pool->data(), kPoolBytes);
  buffers->ring.Publish();
  *features |= kBufferRing;
  return 0;
}

int ReceiveGreeting(io_uring* ring, Buffers* buffers, int fd, int peer, bool multishot) {
  io_uring_sqe* sqe = io_uring_get_sqe(ring);
  // Lifetime: the pool belongs to the caller, who leaves it mapped until the operation has ended.
  if (multishot) {
    io_uring_prep_recv_multishot(sqe, fd, nullptr, 0, 0);
  } else {
    io_uring_prep_recv(sqe, fd, nullptr, 0, 0);
  }
  sqe->flags |= IOSQE_BUFFER_SELECT;
  sqe->buf_group = kGroup;
  const int submitted = io_uring_submit(ring);
  if (submitted < 0) return submitted;
  if (write(peer, kGreeting, sizeof(kGreeting)) != sizeof(kGreeting)) return -errno;
  io_uring_cqe cqe = {};
  int error = WaitOne(ring, &cqe);
  if (error != 0) return error;
  if (cqe.res < 0) return cqe.res;
  if (cqe.res != sizeof(kGreeting) || (cqe.flags & IORING_CQE_F_BUFFER) == 0) return -EIO;
  if (std::memcmp(buffers->pool->data(), kGreeting, sizeof(kGreeting)) != 0) return -EIO;
  // The end of stream ends a multishot receive, so that nothing is in flight when the pool goes.
  shutdown(peer, SHUT_WR);
  while (cqe.flags & IORING_CQE_F_MORE) {
    error = WaitOne(ring, &cqe);
    if (error != 0) return error;
  }
  return 0;
}

int TryReceive(io_uring* ring, Buffers* buffers, uint32_t* features) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == -1) return -errno;
  int error = ReceiveGreeting(ring, buffers, pair[0], pair[1], true);
  if (error == 0) *features |= kMultishotReceive;
  close(pair[0]);
  close(pair[1]);
  // -EINVAL: a kernel before 6.0; one receive at a time works.
  if (error != -EINVAL || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == -1)
    return error;
  error = ReceiveGreeting(ring, buffers, pair[0], pair[1], false);
  close(pair[0]);
  close(pair[1]);
  return error;
}

}  // namespace

// From a socket into a pipe, and out again.
bool SpliceWorks() {
  int sockets[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sockets) == -1)
    return errno == EMFILE || errno == ENFILE;
  int ends[2];
  bool works = true;
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0) {
    works = write(sockets[0], kGreeting, 1) == 1 &&
            splice(sockets[1], nullptr, ends[1], nullptr, 1, SPLICE_F_NONBLOCK) == 1 &&
            splice(ends[0], nullptr, sockets[1], nullptr, 1, SPLICE_F_NONBLOCK) == 1;
    close(ends[0]);
    close(ends[1]);
  }
  close(sockets[0]);
  close(sockets[1]);
  return works;
}

ProbeResult ProbeKernel() {
  ProbeResult result;
  if (SpliceWorks()) result.features |= kSplice;
  io_uring ring;
  const auto fail = [&result](const char* step, int error) {
    result.step = step;
    result.error = error;
    return error != 0;
  };
  if (const int error = io_uring_queue_init(kEntries, &ring, 0); error != 0) {
    fail("setup", error);
    return result;
  }
  // Leaked on purpose when the self-test leaves an operation in flight (C2).
  auto* buffers = new Buffers();
  int error = TryNop(&ring);
  bool failed = error != 0 && fail("nop", error);
  if (!failed)
    failed = (error = TryOpcodes(&ring, &result.features)) != 0 && fail("opcodes", error);
  if (!failed)
    failed = (error = TryBuffers(&ring, buffers, &result.features)) != 0 && fail("buffers", error);
  if (!failed)
    failed = (error = TryReceive(&ring, buffers, &result.features)) != 0 && fail("receive", error);
  io_uring_sync_cancel_reg cancel = {};
  cancel.fd = -1;
  cancel.timeout = {-1, -1};
  cancel.addr = ~0ull;
  // Nothing of that tag is in flight: -ENOENT is the answer of a kernel that understood (6.0).
  if (io_uring_register_sync_cancel(&ring, &cancel) == -ENOENT) result.features |= kSyncCancel;
  if (!failed || std::strcmp(result.step, "receive") != 0) delete buffers;
  io_uring_queue_exit(&ring);

  const unsigned single = IORING_SETUP_SINGLE_ISSUER;
  if (SetupAccepts(IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG))
    result.features |= kCoopTaskrun;
  if (SetupAccepts(single)) result.features |= kSingleIssuer;
  if (SetupAccepts(single | IORING_SETUP_DEFER_TASKRUN)) result.features |= kDeferTaskrun;
  return result;
}

}  // namespace uring_net
