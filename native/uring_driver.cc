// The io_uring driver; see uring_driver.h.
#include "uring_driver.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <utility>

#include "uring_setup.h"

namespace uring_net {

namespace {

constexpr int kDrainStepMs = 50;
// Large buffers waste nothing when they are consumed incrementally; whole ones are sized for one
// typical segment train.
constexpr uint32_t kIncrementalBufferBytes = 64 * 1024;
constexpr uint32_t kWholeBufferBytes = 16 * 1024;
// Of what is told as one receive; libuv reads as much at a time.
constexpr uint32_t kReceiveBytes = 64 * 1024;
// Behind the last buffer: the rest of a receive that went on in the first.
constexpr uint32_t kSpillBytes = kReceiveBytes;
constexpr uint16_t kMainGroup = 0;
// For receives that found the main pool empty: one buffer each, so that nobody can take it all.
constexpr uint16_t kReserveGroup = 1;
constexpr uint32_t kReserveBuffers = 64;
constexpr uint32_t kReserveBufferBytes = 4 * 1024;
// A waiting send shows no progress until it is complete: large ones go in parts.
constexpr uint32_t kSendBytesAtOnce = 128 * 1024;

// user_data: target of a cancel, operation, endpoint id.
uint64_t Tag(int32_t op, int32_t id, int32_t target = 0) {
  return static_cast<uint64_t>(target) << 40 | static_cast<uint64_t>(op) << 32 |
         static_cast<uint32_t>(id);
}
int32_t TagId(uint64_t tag) { return static_cast<int32_t>(tag & 0xffffffff); }
int32_t TagOp(uint64_t tag) { return static_cast<int32_t>(tag >> 32 & 0xff); }
int32_t TagTarget(uint64_t tag) { return static_cast<int32_t>(tag >> 40 & 0xff); }

int64_t NowMs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1000000;
}

}  // namespace

// --- set-up ---

int UringDriver::SetupPool() {
  const uint32_t bytes = (options_.pool_bytes + kIncrementalBufferBytes - 1) /
                         kIncrementalBufferBytes * kIncrementalBufferBytes;
  pool_ = Region::Map(bytes + kSpillBytes + kReserveBuffers * kReserveBufferBytes);
  if (!pool_) return -ENOMEM;
  int error = -EINVAL;
  if ((options_.disable & kIncrementalBuffers) == 0) {
    const uint32_t count = bytes / kIncrementalBufferBytes;
    error = provided_.Setup(&ring_, pool_, {kMainGroup, 0, count, kIncrementalBufferBytes}, true);
    if (error == 0) features_ |= kIncrementalBuffers;
  }
  if (error == -EINVAL) {
    const uint32_t count = bytes / kWholeBufferBytes;
    error = provided_.Setup(&ring_, pool_, {kMainGroup, 0, count, kWholeBufferBytes}, false);
  }
  if (error != 0) return error;
  const ProvidedRing::Part reserve = {kReserveGroup, bytes + kSpillBytes, kReserveBuffers,
                                      kReserveBufferBytes};
  return reserve_.Setup(&ring_, pool_, reserve, false);
}

int UringDriver::Setup() {
  if (options_.disable & kBufferRing) return -EOPNOTSUPP;
  const int error = OpenRing(&ring_, options_, &features_, [this] { return SetupPool(); });
  counters_.submission_entries = ring_.sq.ring_entries;
  counters_.completion_entries = ring_.cq.ring_entries;
  return error;
}

// --- submission ---

bool UringDriver::Room(unsigned count) {
  if (io_uring_sq_space_left(&ring_) >= count) return true;
  Flush();
  return io_uring_sq_space_left(&ring_) >= count;
}

void UringDriver::Flush() {
  while (io_uring_sq_ready(&ring_) > 0) {
    ++counters_.enters;
    // -EAGAIN, -EBUSY, -EINTR: the entries stay queued, in order, and are tried again in the next
    // turn.
    if (io_uring_submit(&ring_) <= 0) return;
  }
}

// Only after Room().
io_uring_sqe* UringDriver::NextEntry() {
  io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
  URING_CHECK(sqe != nullptr);
  return sqe;
}

// From here on the kernel counts as knowing the operation, although it is submitted later.
void UringDriver::Track(io_uring_sqe* sqe, const Slot& slot, int32_t op) {
  URING_CHECK(slot.fd != -1);
  sqe->user_data = Tag(op, slot.id);
  ++in_kernel_;
}

void UringDriver::StartReceive(Slot& slot) {
  io_uring_sqe* sqe = NextEntry();
  // Lifetime: the bytes land in the pool, which outlives the ring or is leaked.
  if (Uses(kMultishotReceive) && !slot.from_reserve) {
    io_uring_prep_recv_multishot(sqe, slot.fd, nullptr, 0, 0);
  } else {
    io_uring_prep_recv(sqe, slot.fd, nullptr, 0, 0);
  }
  sqe->flags |= IOSQE_BUFFER_SELECT;
  sqe->buf_group = slot.from_reserve ? kReserveGroup : kMainGroup;
  Track(sqe, slot, kReceive);
}

void UringDriver::StartSend(Slot& slot) {
  io_uring_sqe* sqe = NextEntry();
  const SendProgress& send = slot.send;
  const uint32_t length = std::min(send.length - send.sent, kSendBytesAtOnce);
  // Lifetime: the range belongs to the kernel until this operation's completion; it lies in the
  // arena region or in slot.send.heap, and both stay until then (or are leaked with the driver).
  io_uring_prep_send(sqe, slot.fd, send.bytes + send.sent, length, MSG_WAITALL | MSG_NOSIGNAL);
  Track(sqe, slot, kSend);
}

void UringDriver::StartAccept(Slot& slot) {
  io_uring_sqe* sqe = NextEntry();
  if (Uses(kMultishotAccept)) {
    io_uring_prep_multishot_accept(sqe, slot.fd, nullptr, nullptr, SOCK_CLOEXEC);
  } else {
    io_uring_prep_accept(sqe, slot.fd, nullptr, nullptr, SOCK_CLOEXEC);
  }
  Track(sqe, slot, kAccept);
}

void UringDriver::StartConnect(Slot& slot) {
  io_uring_sqe* sqe = NextEntry();
  // Not IORING_OP_CONNECT: of a connect that connect(2) has begun it says EALREADY.
  io_uring_prep_poll_add(sqe, slot.fd, POLLOUT);
  Track(sqe, slot, kConnect);
}

void UringDriver::StartCancel(Slot& slot, int32_t op) {
  io_uring_sqe* sqe = NextEntry();
  io_uring_prep_cancel64(sqe, Tag(op, slot.id), 0);
  // A cancel that found its target says nothing; the target does.
  sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
  sqe->user_data = Tag(kCancel, slot.id, op);
}

bool UringDriver::RunOwn(const Command& command) {
  Slot* slot = slots_.Find(command.id);
  if (slot == nullptr || slot->state(command.a) != OpState::kCancelling) return true;
  if (!Room(1)) return false;
  StartCancel(*slot, command.a);
  return true;
}

// --- completion ---

// Runs what the kernel has put off: completions that did not fit into the queue, and task work.
void UringDriver::RunKernelWork() {
  const unsigned flags = IO_URING_READ_ONCE(*ring_.sq.kflags);
  const bool overflow = (flags & IORING_SQ_CQ_OVERFLOW) != 0;
  if (overflow && !overflowing_) ++counters_.overflows;
  overflowing_ = overflow;
  if ((flags & (IORING_SQ_CQ_OVERFLOW | IORING_SQ_TASKRUN)) == 0) return;
  ++counters_.enters;
  io_uring_get_events(&ring_);
}

void UringDriver::Gather() {
  EmitPosted();
  RunKernelWork();
  unsigned head;
  unsigned seen = 0;
  io_uring_cqe* cqe;
  cut_ = {};
  io_uring_for_each_cqe(&ring_, head, cqe) {
    if (BatchFull()) break;
    Complete(*cqe);
    ++seen;
  }
  io_uring_cq_advance(&ring_, seen);
  EmitPosted();
}

void UringDriver::Complete(const io_uring_cqe& cqe) {
  const int32_t op = TagOp(cqe.user_data);
  Slot* slot = slots_.Find(TagId(cqe.user_data));
  if (op != kReceive) cut_ = {};
  if (op == kCancel) {
    CompleteCancel(slot, TagTarget(cqe.user_data), cqe.res);
    return;
  }
  // A slot is not freed while the kernel knows of an operation on it.
  URING_CHECK(slot != nullptr && !slot->idle(op));
  if ((cqe.flags & IORING_CQE_F_MORE) == 0) --in_kernel_;
  switch (op) {
    case kReceive:
      return CompleteReceive(*slot, cqe);
    case kSend:
      return CompleteSend(*slot, cqe.res);
    case kAccept:
      return CompleteAccept(*slot, cqe);
    case kConnect:
      return Emit(*slot, kConnect, false, cqe.res < 0 ? cqe.res : ConnectOutcome(slot->fd));
  }
  URING_CHECK(!"an operation that is never submitted");
}

void UringDriver::CompleteReceive(Slot& slot, const io_uring_cqe& cqe) {
  ProvidedRing::Taken taken = {};
  // Also without bytes a buffer may have been picked, and is ours again.
  if (cqe.flags & IORING_CQE_F_BUFFER) {
    taken = (slot.from_reserve ? reserve_ : provided_).Take(cqe.flags, cqe.res);
  }
  const uint32_t bytes = cqe.res > 0 ? static_cast<uint32_t>(cqe.res) : 0;
  counters_.bytes_received += bytes;
  if (cqe.res == -ENOBUFS) ++counters_.pool_exhausted;
  const bool more = cqe.flags & IORING_CQE_F_MORE;
  Cut cut = std::exchange(cut_, {});
  if (!JoinReceive(slot, taken.offset, bytes, more, &cut)) {
    const int32_t result = cqe.res == 0 && EndIsReset(slot) ? -ECONNRESET : cqe.res;
    Emit(slot, kReceive, more, result, static_cast<int32_t>(taken.offset));
    cut = {slot.id, bytes, taken.offset + bytes};
  }
  if (bytes > 0 && taken.to_end && more) cut_ = cut;
}

// Where a buffer ends says nothing about the peer's messages: what went on in the next one is told
// as one receive, as far as libuv would have read it in one. Buffers come back in the order they
// were used up in, so the next one mostly follows in memory; behind the last one lies the spill.
bool UringDriver::JoinReceive(Slot& slot, uint32_t offset, uint32_t bytes, bool more, Cut* cut) {
  if (cut->id != slot.id || bytes == 0 || cut->bytes + bytes > kReceiveBytes) return false;
  if (slot.life == Life::kClosing) return false;
  if (cut->end >= provided_.end()) {
    // Lifetime: the last buffer is not filled again before this batch is done, so neither is the
    // spill.
    std::memcpy(pool_->data() + cut->end, pool_->data() + offset, bytes);
  } else if (cut->end != offset) {
    return false;
  }
  cut->bytes += bytes;
  cut->end += bytes;
  ExtendReceive(slot, more, static_cast<int32_t>(bytes));
  return true;
}

void UringDriver::CompleteSend(Slot& slot, int32_t result) {
  SendProgress& send = slot.send;
  // MSG_WAITALL gives up early on an error of the connection, and does not say which; the next
  // attempt may find it gone.
  const bool cut =
      result > 0 && slot.state(kSend) != OpState::kCancelling &&
      static_cast<uint32_t>(result) < std::min(send.length - send.sent, kSendBytesAtOnce);
  if (cut || result == -ECONNRESET) slot.reset_taken = true;
  if (result > 0) {
    send.sent += static_cast<uint32_t>(result);
    counters_.bytes_sent += static_cast<uint32_t>(result);
    URING_CHECK(send.sent <= send.length);
    if (send.sent == send.length)
      return Emit(slot, kSend, false, static_cast<int32_t>(send.length));
  }
  const bool cancelled = slot.state(kSend) == OpState::kCancelling;
  if (!cancelled && (result > 0 || result == -EINTR)) return Resume(slot, kSend);
  const int32_t error = result > 0 ? -ECANCELED : result == 0 ? -EIO : result;
  Emit(slot, kSend, false, error, static_cast<int32_t>(send.sent));
}

void UringDriver::CompleteAccept(Slot& slot, const io_uring_cqe& cqe) {
  const bool more = cqe.flags & IORING_CQE_F_MORE;
  if (cqe.res >= 0) return Emit(slot, kAccept, more, Admit(cqe.res, slot));
  if (!more && AcceptErrorAbsorbed(slot, cqe.res)) return Resume(slot, kAccept);
  // The shutdown(2) of a closing listener ends its accept with -EINVAL.
  const bool closing = slot.life == Life::kClosing && cqe.res == -EINVAL;
  Emit(slot, kAccept, more, closing ? -ECANCELED : cqe.res);
}

void UringDriver::CompleteCancel(Slot* slot, int32_t target, int32_t result) {
  // C5: the target's last completion would have come before this one, so it was between two states
  // of the kernel's where a cancel does not find it. Ask again.
  if (result != -ENOENT || slot == nullptr) return;
  if (slot->state(target) == OpState::kCancelling) Defer({kRepeatCancel, slot->id, target, 0});
}

// Looks at the completions that wait in the queue and leaves them there.
bool UringDriver::SendIsWhole(const Slot& slot) const {
  unsigned head;
  io_uring_cqe* cqe;
  io_uring_for_each_cqe(&ring_, head, cqe) {
    if (cqe->user_data != Tag(kSend, slot.id)) continue;
    return cqe->res > 0 && slot.send.sent + static_cast<uint32_t>(cqe->res) == slot.send.length;
  }
  return false;
}

bool UringDriver::HasReceived(const Slot& slot) const {
  unsigned head;
  io_uring_cqe* cqe;
  io_uring_for_each_cqe(&ring_, head, cqe) {
    if (cqe->user_data == Tag(kReceive, slot.id) && cqe->res > 0) return true;
  }
  return false;
}

// --- teardown ---

int UringDriver::Drain() {
  const int64_t deadline = NowMs() + kDrainMs;
  while (in_kernel_ > 0 && NowMs() < deadline) {
    Flush();
    if (io_uring_sqe* sqe = io_uring_get_sqe(&ring_)) {
      io_uring_prep_cancel64(sqe, 0, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
      sqe->user_data = Tag(kCancel, 0);
    }
    io_uring_cqe* cqe = nullptr;
    __kernel_timespec step = {0, kDrainStepMs * 1000000};
    io_uring_submit_and_wait_timeout(&ring_, &cqe, 1, &step, nullptr);
    unsigned head;
    unsigned seen = 0;
    io_uring_for_each_cqe(&ring_, head, cqe) {
      ++seen;
      const int32_t op = TagOp(cqe->user_data);
      if (op < kReceive || op > kOperationMax) continue;
      if (op == kAccept && cqe->res >= 0) close(cqe->res);
      if ((cqe->flags & IORING_CQE_F_MORE) == 0) --in_kernel_;
    }
    io_uring_cq_advance(&ring_, seen);
  }
  return static_cast<int>(in_kernel_);
}

void UringDriver::Teardown(bool keep_mapped) { CloseRing(&ring_, keep_mapped); }

void UringDriver::FillStats(Counters* counters) { counters->features = features_; }

}  // namespace uring_net
