// The io_uring backend of the driver. Owns the ring, the ring of provided buffers and what the
// kernel was asked to do.
#include <liburing.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "buffer_ring.h"
#include "datagrams.h"
#include "operation_backend.h"
#include "socket_calls.h"
#include "uring_setup.h"

namespace uring_net {

namespace {

constexpr uint16_t kGroup = 0;
constexpr int kDrainMs = 1000;
constexpr int kStepMs = 50;
constexpr size_t kIoVecsMax = 1024;  // IOV_MAX, sendmsg(2)
// A waiting send shows no progress until it is complete: large ones go in parts.
constexpr uint32_t kSendBytesAtOnce = 256 * 1024;

// user_data: the kind, the operation's generation, its token.
enum : uint64_t { kOperationTag = 1, kCancelTag = 2 };
uint64_t Tag(uint64_t kind, const Operation& operation) {
  return kind << 48 | static_cast<uint64_t>(operation.generation) << 32 |
         static_cast<uint32_t>(operation.token);
}

// Errors of entering the kernel after which the same is to be tried again.
bool IsPassing(int error) { return error == -EAGAIN || error == -EBUSY || error == -EINTR; }

class UringOperations final : public OperationBackend {
 public:
  int Setup(OperationHost* host, const Options& options, Counters* counters) override;
  int poll_descriptor() const override { return ring_.ring_fd; }
  // The kernel waits for readiness by itself; with O_NONBLOCK it would answer -EAGAIN instead.
  bool nonblocking_sockets() const override { return false; }
  int Watch(Endpoint&) override { return 0; }
  void Unwatch(Endpoint&) override {}
  void Provide(int32_t index) override;
  bool HasRoom() override;
  void Start(Operation& operation) override;
  void Cancel(Operation& operation) override;
  void AwaitEnd(Endpoint& endpoint) override;
  void Submit() override;
  void Reap() override;
  bool HasUnannouncedWork() const override {
    return refused_ == 0 && (io_uring_sq_ready(&ring_) > 0 || !cancels_.empty());
  }
  int Drain() override;
  int AwaitReads() override;
  void Teardown(bool keep_mapped) override { CloseRing(&ring_, keep_mapped); }

 private:
  void PrepareEntry(io_uring_sqe* sqe, Operation& operation);
  bool StartCancel(const Operation& operation);
  void Wait();
  void RunKernelWork();
  void Complete(const io_uring_cqe& cqe);
  void CompleteReceive(Operation& operation, int32_t result, const io_uring_cqe& cqe);
  void CompleteDatagrams(Operation& operation, int32_t result, const io_uring_cqe& cqe);
  int32_t TakeBuffer(int32_t result, const io_uring_cqe& cqe);
  void CompleteTransfer(Operation& operation, int32_t result);
  void CompleteAccept(Operation& operation, int32_t result, bool more);
  void End(Operation& operation, int32_t result);
  void GiveUp(int error);

  OperationHost* host_ = nullptr;
  Counters* counters_ = nullptr;
  io_uring ring_ = {};
  BufferRing buffers_;
  uint32_t provided_ = 0;
  uint32_t provided_max_ = 0;
  bool overflowing_ = false;
  // Operations that the kernel knows of, or will with the next submission.
  uint32_t in_kernel_ = 0;
  // Of these, reads from files.
  uint32_t reads_ = 0;
  // Tokens of operations to be cancelled for which there was no entry.
  std::vector<int32_t> cancels_;
  // The -errno with which the kernel refused to be entered, for good.
  int refused_ = 0;
};

// --- set-up ---

int UringOperations::Setup(OperationHost* host, const Options& options, Counters* counters) {
  host_ = host;
  counters_ = counters;
  if (options.disable & kBufferRing) return -EOPNOTSUPP;
  provided_max_ = options.receive_buffers;
  const int error = OpenRing(&ring_, options, &counters->features, [&] {
    return buffers_.Setup(&ring_, kGroup, options.receive_buffers);
  });
  counters->submission_entries = ring_.sq.ring_entries;
  counters->completion_entries = ring_.cq.ring_entries;
  return error;
}

void UringOperations::Provide(int32_t index) {
  // More than the ring holds would take the place of others.
  URING_CHECK(provided_ < provided_max_);
  ++provided_;
  const iovec buffer = host_->BufferAt(index);
  // Lifetime: JavaScript keeps the memory until a completion gives the buffer back.
  buffers_.Provide(static_cast<uint16_t>(index), static_cast<uint8_t*>(buffer.iov_base),
                   static_cast<uint32_t>(buffer.iov_len));
  buffers_.Publish();
}

// --- submission ---

bool UringOperations::HasRoom() {
  // Refused operations need none.
  if (refused_ != 0 || io_uring_sq_space_left(&ring_) > 0) return true;
  Submit();
  return refused_ != 0 || io_uring_sq_space_left(&ring_) > 0;
}

void UringOperations::Submit() {
  while (!cancels_.empty()) {
    const Operation* operation = host_->FindOperation(cancels_.back());
    if (operation != nullptr && !StartCancel(*operation)) break;
    cancels_.pop_back();
  }
  while (refused_ == 0 && io_uring_sq_ready(&ring_) > 0) {
    ++counters_->enters;
    const int taken = io_uring_submit(&ring_);
    // The entries stay queued, in order, and are tried again in the next turn.
    if (taken == 0 || IsPassing(taken)) return;
    if (taken < 0) GiveUp(taken);
  }
}

// The kernel refuses to be entered from now on (a seccomp filter that was installed late). What it
// has not taken ends with that error. What it has ends by itself when the sockets are shut down.
void UringOperations::GiveUp(int error) {
  refused_ = error;
  const unsigned mask = ring_.sq.ring_mask;
  std::vector<int32_t> never_started;
  for (unsigned at = *ring_.sq.khead; at != ring_.sq.sqe_tail; ++at) {
    const uint64_t tag = ring_.sq.sqes[at & mask].user_data;
    if (tag >> 48 == kOperationTag) never_started.push_back(static_cast<int32_t>(tag));
  }
  for (const int32_t token : never_started) {
    Operation* operation = host_->FindOperation(token);
    shutdown(operation->endpoint->fd, SHUT_RDWR);
    End(*operation, error);
  }
  cancels_.clear();
}

void UringOperations::Start(Operation& operation) {
  ++in_kernel_;
  if (operation.opcode == kReadFile) ++reads_;
  if (refused_ != 0) {
    shutdown(operation.endpoint->fd, SHUT_RDWR);
    return End(operation, refused_);
  }
  io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
  URING_CHECK(sqe != nullptr);
  PrepareEntry(sqe, operation);
  sqe->user_data = Tag(kOperationTag, operation);
}

// Lifetime: what an entry points to (the operation's message and pieces, and the buffers they name)
// stays until the operation's last completion, or is leaked.
void UringOperations::PrepareEntry(io_uring_sqe* sqe, Operation& operation) {
  const int fd = operation.endpoint->fd;
  const size_t left = operation.pieces.size() - operation.first;
  switch (operation.opcode) {
    case kReceive:
      if (operation.once) {
        io_uring_prep_recv(sqe, fd, nullptr, 0, 0);
      } else {
        io_uring_prep_recv_multishot(sqe, fd, nullptr, 0, 0);
      }
      sqe->flags |= IOSQE_BUFFER_SELECT;
      sqe->buf_group = kGroup;
      return;
    case kReceiveDatagrams:
      PrepareDatagramReceive(&operation.message);
      io_uring_prep_recvmsg_multishot(sqe, fd, &operation.message, 0);
      sqe->flags |= IOSQE_BUFFER_SELECT;
      sqe->buf_group = kGroup;
      return;
    case kSendDatagram:
      PrepareDatagram(operation);
      io_uring_prep_sendmsg(sqe, fd, &operation.message, MSG_NOSIGNAL);
      return;
    case kReceiveInto: {
      const iovec& piece = operation.pieces[operation.first];
      // Not MSG_WAITALL: with bytes to tell of, the kernel would keep an error to itself.
      io_uring_prep_recv(sqe, fd, piece.iov_base, piece.iov_len, 0);
      return;
    }
    case kSend: {
      iovec* pieces = operation.pieces.data() + operation.first;
      size_t count = 1;
      size_t bytes = std::min<size_t>(pieces[0].iov_len, kSendBytesAtOnce);
      while (count < std::min(left, kIoVecsMax) &&
             bytes + pieces[count].iov_len <= kSendBytesAtOnce) {
        bytes += pieces[count++].iov_len;
      }
      operation.asked = static_cast<uint32_t>(bytes);
      if (count == 1) {
        io_uring_prep_send(sqe, fd, pieces[0].iov_base, bytes, MSG_WAITALL | MSG_NOSIGNAL);
        return;
      }
      operation.message = {};
      operation.message.msg_iov = pieces;
      operation.message.msg_iovlen = count;
      io_uring_prep_sendmsg(sqe, fd, &operation.message, MSG_WAITALL | MSG_NOSIGNAL);
      return;
    }
    case kReadFile: {
      const iovec& piece = operation.pieces[operation.first];
      io_uring_prep_read(sqe, fd, piece.iov_base, static_cast<unsigned>(piece.iov_len),
                         operation.position);
      return;
    }
    case kAccept:
      io_uring_prep_multishot_accept(sqe, fd, nullptr, nullptr, SOCK_CLOEXEC);
      return;
    case kPoll:
      io_uring_prep_poll_add(sqe, fd, operation.kind == kSendKind ? POLLOUT : POLLIN);
      return;
    case kConnect:
      // Not IORING_OP_CONNECT: of a connect that connect(2) has begun it says EALREADY.
      io_uring_prep_poll_add(sqe, fd, POLLOUT);
      return;
    default:
      URING_CHECK(!"an operation that does not exist");
  }
}

bool UringOperations::StartCancel(const Operation& operation) {
  io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
  if (sqe == nullptr) return false;
  io_uring_prep_cancel64(sqe, Tag(kOperationTag, operation), 0);
  // A cancel that found its target says nothing; the target does.
  sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
  sqe->user_data = Tag(kCancelTag, operation);
  return true;
}

void UringOperations::Cancel(Operation& operation) {
  if (refused_ != 0) {
    // All operations on a socket end with the connection.
    shutdown(operation.endpoint->fd, SHUT_RDWR);
  } else if (!StartCancel(operation)) {
    cancels_.push_back(operation.token);
  }
}

void UringOperations::AwaitEnd(Endpoint& endpoint) {
  const int32_t id = endpoint.id;
  for (int tries = 0; tries < kDrainMs / kStepMs; ++tries) {
    Submit();
    Reap();
    if (endpoint.id != id || endpoint.in_flight == 0 || refused_ != 0) return;
    Wait();
    Reap();
    if (endpoint.id != id || endpoint.in_flight == 0) return;
  }
}

void UringOperations::Wait() {
  io_uring_cqe* cqe = nullptr;
  __kernel_timespec step = {0, kStepMs * 1000000};
  ++counters_->enters;
  io_uring_submit_and_wait_timeout(&ring_, &cqe, 1, &step, nullptr);
}

// --- completion ---

// Runs what the kernel has put off: completions that did not fit into the queue, and task work.
void UringOperations::RunKernelWork() {
  const unsigned flags = IO_URING_READ_ONCE(*ring_.sq.kflags);
  const bool overflow = (flags & IORING_SQ_CQ_OVERFLOW) != 0;
  if (overflow && !overflowing_) ++counters_->overflows;
  overflowing_ = overflow;
  if ((flags & (IORING_SQ_CQ_OVERFLOW | IORING_SQ_TASKRUN)) == 0 || refused_ != 0) return;
  ++counters_->enters;
  io_uring_get_events(&ring_);
}

void UringOperations::Reap() {
  RunKernelWork();
  TakeCompletions(&ring_, [this](const io_uring_cqe& cqe) { Complete(cqe); });
}

void UringOperations::Complete(const io_uring_cqe& cqe) {
  const uint64_t kind = cqe.user_data >> 48;
  if (kind != kOperationTag && kind != kCancelTag) return;
  Operation* operation = host_->FindOperation(static_cast<int32_t>(cqe.user_data & 0xffffffff));
  const auto generation = static_cast<uint16_t>(cqe.user_data >> 32);
  if (operation != nullptr && operation->generation != generation) operation = nullptr;
  if (kind == kCancelTag) {
    // C5: the target's last completion would have come before this one, so it was between two
    // states of the kernel's where a cancel does not find it. Ask again.
    if (cqe.res == -ENOENT && operation != nullptr) Cancel(*operation);
    return;
  }
  if (operation == nullptr) {
    ++counters_->unexpected_completions;
    return;
  }
  const bool more = (cqe.flags & IORING_CQE_F_MORE) != 0;
  // Of a driver that was refused the connections were shut down, and that is why they end.
  const int32_t result = refused_ != 0 && cqe.res <= 0 ? refused_ : cqe.res;
  switch (operation->opcode) {
    case kReceive:
      return CompleteReceive(*operation, result, cqe);
    case kReceiveDatagrams:
      return CompleteDatagrams(*operation, result, cqe);
    case kSendDatagram:
      if (result > 0) counters_->bytes_sent += static_cast<uint32_t>(result);
      return End(*operation, result);
    case kAccept:
      return CompleteAccept(*operation, result, more);
    case kReadFile:
      return End(*operation, result);
    case kPoll:
      return End(*operation, std::min(result, 0));
    case kConnect:
      return End(*operation, result < 0 ? result : ConnectOutcome(operation->endpoint->fd));
    default:
      return CompleteTransfer(*operation, result);
  }
}

void UringOperations::End(Operation& operation, int32_t result) {
  --in_kernel_;
  if (operation.opcode == kReadFile) --reads_;
  host_->Complete(operation, result, false, static_cast<int32_t>(operation.done));
}

// The buffer that the kernel has picked, or -1.
int32_t UringOperations::TakeBuffer(int32_t result, const io_uring_cqe& cqe) {
  if ((cqe.flags & IORING_CQE_F_BUFFER) == 0) return -1;
  const auto index = static_cast<int32_t>(cqe.flags >> IORING_CQE_BUFFER_SHIFT);
  --provided_;
  if (result > 0) return index;
  // Also without bytes a buffer may have been picked: it goes back.
  Provide(index);
  return -1;
}

void UringOperations::CompleteDatagrams(Operation& operation, int32_t result,
                                        const io_uring_cqe& cqe) {
  const int32_t index = TakeBuffer(result, cqe);
  if (cqe.flags & IORING_CQE_F_MORE) return host_->Complete(operation, result, true, index);
  --in_kernel_;
  // An empty datagram ends the kernel's receive as an end of stream would, and so does a full
  // completion queue. (Linux, io_recvmsg)
  const bool goes_on = result > 0 && operation.active() && refused_ == 0 && HasRoom();
  host_->Complete(operation, result, goes_on, index);
  if (goes_on) Start(operation);
}

void UringOperations::CompleteReceive(Operation& operation, int32_t result,
                                      const io_uring_cqe& cqe) {
  const int32_t index = TakeBuffer(result, cqe);
  const bool more = (cqe.flags & IORING_CQE_F_MORE) != 0;
  if (!more) --in_kernel_;
  if (result == 0 && EndIsReset(*operation.endpoint)) result = -ECONNRESET;
  host_->Complete(operation, result, more, index);
}

// Of a send or of a receive into memory.
void UringOperations::CompleteTransfer(Operation& operation, int32_t result) {
  const bool is_send = operation.opcode == kSend;
  // MSG_WAITALL gives up early on an error of the connection, and does not say which; the next
  // attempt may find it gone.
  const bool cut =
      result > 0 && operation.active() && static_cast<uint32_t>(result) < operation.asked;
  if (is_send && (cut || result == -ECONNRESET)) operation.endpoint->reset_taken = true;
  if (result > 0) {
    operation.Advance(static_cast<uint32_t>(result));
    if (is_send) counters_->bytes_sent += static_cast<uint32_t>(result);
    const uint32_t enough = is_send ? operation.length : operation.minimum;
    if (operation.done >= enough) return End(operation, static_cast<int32_t>(operation.done));
  }
  const bool goes_on = result > 0 || result == -EINTR;
  if (goes_on && operation.active() && refused_ == 0 && HasRoom()) {
    --in_kernel_;
    return Start(operation);
  }
  if (result == 0 && !is_send) {
    const bool is_reset = operation.done == 0 && EndIsReset(*operation.endpoint);
    return End(operation, is_reset ? -ECONNRESET : static_cast<int32_t>(operation.done));
  }
  if (goes_on) return End(operation, refused_ != 0 ? refused_ : -ECANCELED);
  End(operation, result == 0 ? -EIO : result);
}

void UringOperations::CompleteAccept(Operation& operation, int32_t result, bool more) {
  if (!more) --in_kernel_;
  if (result >= 0) {
    return host_->Complete(operation, host_->Admit(result, *operation.endpoint), more, -1);
  }
  if (!more && operation.active() && host_->IsAcceptErrorAbsorbed(*operation.endpoint, result) &&
      HasRoom()) {
    return Start(operation);
  }
  // The shutdown(2) of a closing listener ends its accept with -EINVAL.
  const bool closing = operation.endpoint->closing && result == -EINVAL;
  host_->Complete(operation, closing ? -ECANCELED : result, more, -1);
}

int UringOperations::Drain() {
  for (int tries = 0; in_kernel_ > 0 && tries < kDrainMs / kStepMs; ++tries) {
    Submit();
    if (io_uring_sqe* sqe = io_uring_get_sqe(&ring_)) {
      io_uring_prep_cancel64(sqe, 0, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
      sqe->user_data = 0;
    }
    Wait();
    Reap();
  }
  return static_cast<int>(in_kernel_);
}

// By poll(2), which waits also when the kernel refuses to be entered.
int UringOperations::AwaitReads() {
  while (reads_ > 0) {
    Submit();
    pollfd ring = {ring_.ring_fd, POLLIN, 0};
    poll(&ring, 1, kStepMs);
    Reap();
  }
  return static_cast<int>(in_kernel_);
}

}  // namespace

std::unique_ptr<OperationBackend> MakeUringOperations() {
  return std::make_unique<UringOperations>();
}

}  // namespace uring_net
