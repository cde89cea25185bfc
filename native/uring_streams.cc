// The io_uring backend of the stream engine: multishot receives into a buffer ring, and one
// submission for the sends of many sockets. Owns the ring and what the kernel was asked to do.
#include <liburing.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <vector>

#include "buffer_ring.h"
#include "contract.h"
#include "options.h"
#include "socket_calls.h"
#include "stream_backend.h"
#include "uring_setup.h"

namespace uring_net {

namespace {

// Each receive takes a whole buffer: which bytes it means follows from the buffer alone, in
// whatever order the kernel posts completions. No multiple of a page, or small messages would all
// lie in the same few sets of the cache.
constexpr uint32_t kBufferBytes = 2 * 1024 + 64;
// So many go round at first, and twice as many each time that they are too few: what is touched
// stays small, and in the cache.
constexpr uint32_t kBuffersAtFirst = 64;
// Entries that a buffer ring can have.
constexpr uint32_t kBuffersMax = 32768;
constexpr uint16_t kGroup = 0;
// What a receive brings at most before it is armed again: as much as libuv reads at a time. A
// reader that pauses then has not got more than that.
constexpr uint32_t kReceiveMax = 64 * 1024;
// After so many receives that found no buffer, libuv is to receive.
constexpr uint8_t kDryMax = 4;
constexpr int kDrainMs = 1000;
constexpr int kStepMs = 50;
// Of this few sends a system call each costs no more than a submission.
constexpr size_t kPlainSends = 2;

enum : uint64_t { kReceiveTag = 1, kCancelTag = 2, kSendTag = 3, kNoTag = 4 };
uint64_t Tag(uint64_t kind, uint32_t value) { return kind << 32 | value; }

class UringStreams final : public StreamBackend {
 public:
  int Setup(StreamHost* host, const Options& options) override;
  int poll_descriptor() const override { return ring_.ring_fd; }
  const std::shared_ptr<Region>& pool() const override { return pool_; }
  int Arm(Stream& stream) override;
  void Disarm(Stream& stream) override;
  void Announce() override;
  void Submit() override;
  void Reap() override;
  void SendAll(std::span<SendOp> ops) override;
  void Recycle(uint64_t delivered) override;
  bool HasUnannouncedWork() const override {
    return failure_ == 0 && (!arming_.empty() || io_uring_sq_ready(&ring_) > 0);
  }
  int failure() const override { return failure_; }
  int Drain() override;
  void Teardown(bool keep_mapped) override { CloseRing(&ring_, keep_mapped); }
  void FillStats(Counters* counters) const override;

 private:
  int SetupPool(const Options& options);
  void PrepareReceive(io_uring_sqe* sqe, int fd);
  bool KnowsLimit();
  void Provide(uint16_t id);
  void ProvideMore(uint32_t count);
  io_uring_sqe* NextEntry();
  bool Enter();
  void Wait();
  void Answered(int result);
  void Complete(const io_uring_cqe& cqe);
  void Received(int32_t id, int32_t result, bool more, uint32_t offset);
  void StartSend(const SendOp& op, uint32_t index);
  void GiveUpEntries();

  StreamHost* host_ = nullptr;
  io_uring ring_ = {};
  uint32_t features_ = 0;
  bool has_limit_ = false;
  // Lifetime: the kernel's until nothing is in flight; leaked otherwise.
  std::shared_ptr<Region> pool_;
  BufferRing buffers_;
  uint32_t buffer_count_ = 0;
  // The first so many are in use; of these, those that the kernel may pick.
  uint32_t going_round_ = 0;
  uint32_t free_ = 0;
  struct Used {
    uint16_t id;
    // The number of the piece that lies in it.
    uint64_t piece;
  };
  // In the order of their pieces.
  std::deque<Used> used_;
  // Streams to be armed with the next submission.
  std::vector<int32_t> arming_;
  std::vector<msghdr> messages_;
  std::span<SendOp> sending_;
  size_t unanswered_ = 0;
  // Receives that the kernel knows.
  uint32_t in_kernel_ = 0;
  uint64_t enters_ = 0;
  int failure_ = 0;
  // Receives that found no buffer.
  uint64_t dry_ = 0;
};

int UringStreams::Setup(StreamHost* host, const Options& options) {
  host_ = host;
  const auto pool = [&] { return SetupPool(options); };
  const int error = OpenRing(&ring_, options, &features_, pool);
  if (error == 0) has_limit_ = KnowsLimit();
  return error;
}

void UringStreams::PrepareReceive(io_uring_sqe* sqe, int fd) {
  // Lifetime: the bytes land in the pool, which outlives the ring or is leaked.
  io_uring_prep_recv_multishot(sqe, fd, nullptr, 0, 0);
  sqe->flags |= IOSQE_BUFFER_SELECT;
  sqe->buf_group = kGroup;
  // `optlen`, which liburing 2.3 does not know.
  if (has_limit_) sqe->file_index = kReceiveMax;
}

// Whether a multishot receive can be told how much it is to bring (Linux 6.17). Without, the kernel
// goes on for as long as there are bytes and buffers. An older one refuses before it looks at the
// descriptor.
bool UringStreams::KnowsLimit() {
  has_limit_ = true;
  io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
  PrepareReceive(sqe, -1);
  sqe->user_data = Tag(kCancelTag, 0);
  io_uring_cqe* cqe = nullptr;
  if (io_uring_submit(&ring_) != 1 || io_uring_peek_cqe(&ring_, &cqe) != 0) return false;
  const int result = cqe->res;
  io_uring_cqe_seen(&ring_, cqe);
  return result == -EBADF;
}

int UringStreams::SetupPool(const Options& options) {
  buffer_count_ = std::clamp(options.pool_bytes / kBufferBytes, 1u, kBuffersMax);
  pool_ = Region::Map(buffer_count_ * kBufferBytes);
  if (!pool_) return -ENOMEM;
  int error = buffers_.Setup(&ring_, kGroup, buffer_count_);
  // The entries are pinned, and count against RLIMIT_MEMLOCK.
  while (error == -ENOMEM && buffer_count_ > kBuffersAtFirst) {
    buffer_count_ /= 2;
    error = buffers_.Setup(&ring_, kGroup, buffer_count_);
  }
  if (error != 0) return error;
  free_ = going_round_ = 0;
  ProvideMore(kBuffersAtFirst);
  return 0;
}

// --- buffers ---

void UringStreams::Provide(uint16_t id) {
  buffers_.Provide(id, pool_->data() + id * kBufferBytes, kBufferBytes);
  ++free_;
}

void UringStreams::ProvideMore(uint32_t count) {
  const uint32_t end = std::min(going_round_ + count, buffer_count_);
  for (; going_round_ < end; ++going_round_) Provide(static_cast<uint16_t>(going_round_));
  buffers_.Publish();
}

void UringStreams::Recycle(uint64_t delivered) {
  for (; !used_.empty() && used_.front().piece <= delivered; used_.pop_front()) {
    Provide(used_.front().id);
  }
  buffers_.Publish();
}

// --- submission ---

// True when the kernel has taken all entries.
bool UringStreams::Enter() {
  while (failure_ == 0 && io_uring_sq_ready(&ring_) > 0) {
    ++enters_;
    const int taken = io_uring_submit(&ring_);
    if (taken == -EINTR) continue;
    Answered(taken);
    if (taken <= 0) return false;
  }
  return failure_ == 0;
}

// Until something completes, a moment at most.
void UringStreams::Wait() {
  io_uring_cqe* cqe = nullptr;
  __kernel_timespec step = {0, kStepMs * 1000000};
  ++enters_;
  Answered(io_uring_wait_cqe_timeout(&ring_, &cqe, &step));
}

// What the kernel has answered to io_uring_enter. One that refuses for good can neither be asked to
// receive nor to stop, and libuv is to receive.
void UringStreams::Answered(int result) {
  if (result >= 0 || failure_ != 0) return;
  switch (result) {
    // The entries stay queued, in order, and are tried again in the next turn.
    case -EAGAIN:
    case -EBUSY:
    case -EINTR:
    case -ENOMEM:
    case -ETIME:
    // It has lost a completion for want of memory, and says so once.
    case -EBADR:
      return;
  }
  failure_ = result;
  // A receive that the kernel has would take bytes of libuv's. It ends at the next ones, and leaves
  // them, when it cannot write them here; what has come can still be read.
  mprotect(pool_->data(), pool_->size(), PROT_READ);
  // What the kernel has not taken it never will.
  for (unsigned at = *ring_.sq.khead; at != ring_.sq.sqe_tail; ++at) {
    const uint64_t tag = ring_.sq.sqes[at & ring_.sq.ring_mask].user_data;
    if (tag >> 32 != kReceiveTag) continue;
    --in_kernel_;
    Stream* stream = host_->FindStreamById(static_cast<int32_t>(tag));
    if (stream != nullptr) stream->in_kernel = false;
  }
}

io_uring_sqe* UringStreams::NextEntry() {
  if (failure_ != 0) return nullptr;
  io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
  if (sqe != nullptr || !Enter()) return sqe;
  return io_uring_get_sqe(&ring_);
}

int UringStreams::Arm(Stream& stream) {
  URING_CHECK(!stream.armed);
  if (failure_ != 0) return failure_;
  stream.armed = true;
  stream.in_kernel = false;
  arming_.push_back(stream.id);
  return 0;
}

void UringStreams::Announce() {
  io_uring_sqe* sqe = NextEntry();
  if (sqe == nullptr) return;
  io_uring_prep_nop(sqe);
  sqe->user_data = Tag(kNoTag, 0);
}

void UringStreams::Submit() {
  if (failure_ != 0) return;
  size_t done = 0;
  // Without a buffer a receive would end at once.
  for (; done < arming_.size() && free_ > 0; ++done) {
    Stream* stream = host_->FindStreamById(arming_[done]);
    // Disarmed meanwhile, or armed twice.
    if (stream == nullptr || !stream->armed || stream->in_kernel) continue;
    io_uring_sqe* sqe = NextEntry();
    if (sqe == nullptr) break;
    PrepareReceive(sqe, stream->fd);
    sqe->user_data = Tag(kReceiveTag, static_cast<uint32_t>(stream->id));
    stream->in_kernel = true;
    ++in_kernel_;
  }
  arming_.erase(arming_.begin(), arming_.begin() + static_cast<ptrdiff_t>(done));
  Enter();
}

// The kernel must not hold the socket any more when libuv closes it: its FIN would wait for that.
void UringStreams::Disarm(Stream& stream) {
  stream.armed = false;
  for (int tries = 0; stream.in_kernel && tries < kDrainMs / kStepMs; ++tries) {
    if (io_uring_sqe* sqe = NextEntry()) {
      io_uring_prep_cancel64(sqe, Tag(kReceiveTag, static_cast<uint32_t>(stream.id)), 0);
      sqe->user_data = Tag(kCancelTag, 0);
    }
    Enter();
    Reap();
    if (failure_ != 0 || !stream.in_kernel) break;
    // Between two states of the kernel's where a cancel does not find it.
    Wait();
    Reap();
  }
}

// --- completion ---

void UringStreams::Reap() {
  const unsigned flags = IO_URING_READ_ONCE(*ring_.sq.kflags);
  if (failure_ == 0 && (flags & (IORING_SQ_CQ_OVERFLOW | IORING_SQ_TASKRUN)) != 0) {
    ++enters_;
    Answered(io_uring_get_events(&ring_));
  }
  TakeCompletions(&ring_, [this](const io_uring_cqe& cqe) { Complete(cqe); });
}

void UringStreams::Complete(const io_uring_cqe& cqe) {
  const auto value = static_cast<uint32_t>(cqe.user_data);
  switch (cqe.user_data >> 32) {
    case kSendTag:
      if (failure_ != 0 && unanswered_ == 0) return;
      URING_CHECK(value < sending_.size() && unanswered_ > 0);
      sending_[value].result = cqe.res == -EINTR ? -EAGAIN : cqe.res;
      --unanswered_;
      return;
    case kReceiveTag:
      break;
    default:
      return;
  }
  // Also without bytes a buffer may have been picked, and is ours again.
  const bool has_buffer = cqe.flags & IORING_CQE_F_BUFFER;
  const uint32_t buffer = has_buffer ? cqe.flags >> IORING_CQE_BUFFER_SHIFT : 0;
  URING_CHECK(buffer < buffer_count_ && (!has_buffer || free_ > 0));
  if (has_buffer) --free_;
  const uint64_t before = host_->arrived();
  Received(static_cast<int32_t>(value), cqe.res, cqe.flags & IORING_CQE_F_MORE,
           buffer * kBufferBytes);
  if (!has_buffer) return;
  if (host_->arrived() > before) {
    used_.push_back({static_cast<uint16_t>(buffer), host_->arrived()});
  } else {
    Provide(static_cast<uint16_t>(buffer));
    buffers_.Publish();
  }
}

void UringStreams::Received(int32_t id, int32_t result, bool more, uint32_t offset) {
  Stream* stream = host_->FindStreamById(id);
  if (!more) --in_kernel_;
  // A stream is forgotten only when nothing of it is in flight, or the kernel would not let it go.
  if (stream == nullptr) return;
  if (!more) stream->in_kernel = false;
  if (result == -ECANCELED) return;
  // The end of the stream libuv will meet, and the others are ours. An error of the socket is told
  // once.
  if (failure_ != 0 && (result == 0 || result == -EFAULT || result == -ENOBUFS)) return;
  if (result == -ENOBUFS) {
    ++dry_;
    ProvideMore(going_round_);
    // Many small messages at once: it is armed again when their buffers are free.
    if (stream->armed && ++stream->dry < kDryMax) return arming_.push_back(stream->id);
  }
  if (result > 0) stream->dry = 0;
  host_->OnArrived(*stream, result, offset);
  if (more || !stream->armed) return;
  if (result > 0) {
    arming_.push_back(stream->id);
  } else {
    stream->armed = false;
  }
}

// --- sending ---

void UringStreams::StartSend(const SendOp& op, uint32_t index) {
  io_uring_sqe* sqe = NextEntry();
  if (sqe == nullptr) {
    sending_[index].result = SendIoVecs(op.stream->fd, IoVecs(op.pieces, op.count));
    return;
  }
  // MSG_DONTWAIT: it is over when it is submitted, whatever comes of it.
  constexpr int kFlags = MSG_DONTWAIT | MSG_NOSIGNAL;
  if (op.count == 1) {
    io_uring_prep_send(sqe, op.stream->fd, op.pieces->iov_base, op.pieces->iov_len, kFlags);
  } else {
    msghdr& message = messages_[index];
    message = {};
    message.msg_iov = op.pieces;
    message.msg_iovlen = std::min<size_t>(op.count, 1024);
    io_uring_prep_sendmsg(sqe, op.stream->fd, &message, kFlags);
  }
  sqe->user_data = Tag(kSendTag, index);
  sending_[index].result = -EIO;
  ++unanswered_;
}

// Lifetime: the pieces are the caller's until this returns, so nothing may be in flight then.
void UringStreams::SendAll(std::span<SendOp> ops) {
  if (ops.size() <= kPlainSends || failure_ != 0) return SendPlainly(ops);
  sending_ = ops;
  messages_.resize(ops.size());
  for (uint32_t i = 0; i < ops.size(); ++i) {
    if (ops[i].is_due()) StartSend(ops[i], i);
  }
  if (!Enter()) GiveUpEntries();
  Reap();
  while (unanswered_ > 0 && failure_ == 0) {
    Wait();
    Reap();
  }
  unanswered_ = 0;
  sending_ = {};
}

// The kernel takes no entries now. They are made harmless in place, and the sends done without it.
void UringStreams::GiveUpEntries() {
  const unsigned mask = ring_.sq.ring_mask;
  for (unsigned at = *ring_.sq.khead; at != ring_.sq.sqe_tail; ++at) {
    io_uring_sqe* sqe = &ring_.sq.sqes[at & mask];
    if (sqe->user_data >> 32 != kSendTag) continue;
    SendOp& op = sending_[static_cast<uint32_t>(sqe->user_data)];
    io_uring_prep_nop(sqe);
    sqe->user_data = Tag(kCancelTag, 0);
    op.result = SendIoVecs(op.stream->fd, IoVecs(op.pieces, op.count));
    --unanswered_;
  }
}

int UringStreams::Drain() {
  for (int tries = 0; in_kernel_ > 0 && failure_ == 0 && tries < kDrainMs / kStepMs; ++tries) {
    if (io_uring_sqe* sqe = NextEntry()) {
      io_uring_prep_cancel64(sqe, 0, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
      sqe->user_data = Tag(kCancelTag, 0);
    }
    Enter();
    Wait();
    Reap();
  }
  return static_cast<int>(in_kernel_);
}

void UringStreams::FillStats(Counters* counters) const {
  counters->features |= features_;
  counters->enters += enters_;
  counters->pool_exhausted += dry_;
  counters->in_flight += in_kernel_;
  counters->submission_entries = ring_.sq.ring_entries;
  counters->completion_entries = ring_.cq.ring_entries;
}

}  // namespace

std::unique_ptr<StreamBackend> MakeUringStreams() { return std::make_unique<UringStreams>(); }

}  // namespace uring_net
