// Gathered writes; see send_batch.h.
#include "send_batch.h"

#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <utility>

#include "contract.h"
#include "socket_calls.h"

namespace uring_net {

namespace {

constexpr double kWeight = 0.2;
constexpr double kGoalPart = 0.85;

int64_t NowNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<int64_t>(now.tv_sec) * 1000000000 + now.tv_nsec;
}

// When an environment ends, Node closes its handles and asks nobody.
bool IsOpen(const Stream& stream) {
  int fd = -1;
  return uv_fileno(reinterpret_cast<const uv_handle_t*>(stream.handle), &fd) == 0 &&
         fd == stream.fd;
}

}  // namespace

SendBatch::~SendBatch() {
  if (has_thread_) {
    stopping_ = true;
    SetTimer(1);
    uv_thread_join(&thread_);
  }
  if (timer_ != -1) close(timer_);
}

bool SendBatch::Map() {
  entries_ = Region::Map((kHeaderWords + kEntryWords * kEntriesMax) * sizeof(int32_t));
  bytes_ = Region::Map(kBytes);
  if (!entries_ || !bytes_) return false;
  words_ = reinterpret_cast<uint32_t*>(entries_->data());
  words_[1] = limit_;
  late_results_.resize(kEntriesMax);
  return true;
}

int SendBatch::Begin() {
  if (timer_ == -1) {
    timer_ = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    if (timer_ == -1) return -errno;
    if (const int error = StartThread(); error != 0) {
      close(std::exchange(timer_, -1));
      return error;
    }
  }
  began_ns_ = NowNs();
  timed_ = true;
  is_armed_ = true;
  SetTimer(delay_us_);
  return 0;
}

int SendBatch::StartThread() {
  // Signals are for the program's own threads.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const auto watch = [](void* self) { static_cast<SendBatch*>(self)->Watch(); };
  const int error = uv_thread_create(&thread_, watch, this);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (error != 0) return error;
  has_thread_ = true;
  pthread_setname_np(thread_, "uring-net");
  return 0;
}

void SendBatch::SetTimer(int64_t us) {
  const itimerspec when = {{0, 0}, {0, us * 1000}};
  timerfd_settime(timer_, 0, &when, nullptr);
}

void SendBatch::Watch() {
  while (!stopping_) {
    uint64_t expirations;
    if (read(timer_, &expirations, sizeof expirations) < 0 && errno != EINTR) return;
    if (!stopping_) SendLate();
  }
}

// The loop's thread is busy: what waits goes out from here. Results are left for Flush().
void SendBatch::SendLate() {
  const std::lock_guard<std::mutex> lock(mutex_);
  // The timer is armed by the first entry only. An entry that is made from now on is seen here, or
  // whoever makes it sees this, and flushes at once.
  std::atomic_ref<uint32_t>(words_[1]).store(0, std::memory_order_seq_cst);
  // Streams that took less than all: nothing of theirs may follow.
  std::vector<int32_t> blocked;
  for (; late_ < count(); ++late_) {
    iovec piece = {};
    const Stream* stream = Read(late_, &piece);
    ssize_t result = 0;
    if (stream != nullptr && !stream->has_rest &&
        std::find(blocked.begin(), blocked.end(), stream->id) == blocked.end()) {
      result = SendIoVecs(stream->fd, IoVecs(&piece, 1));
      if (result < static_cast<ssize_t>(piece.iov_len)) blocked.push_back(stream->id);
    } else if (stream != nullptr) {
      result = -EAGAIN;
    }
    late_results_[late_] = result;
  }
}

Stream* SendBatch::Read(uint32_t index, iovec* piece) {
  const uint32_t* words = words_ + kHeaderWords + index * kEntryWords;
  const uint32_t offset = words[1];
  const uint32_t length = words[2];
  if (length == 0 || length > kBytes || offset > kBytes - length) return nullptr;
  *piece = {bytes_->data() + offset, length};
  return find_(host_, static_cast<int32_t>(words[0]));
}

// All of one stream is one op: of two, the second could find room that the first had not found.
std::span<SendOp> SendBatch::Flush(StreamBackend& backend) {
  const uint32_t end = count();
  if (end == 0) return {};
  const std::lock_guard<std::mutex> lock(mutex_);
  ops_.clear();
  pieces_.clear();
  owners_.clear();
  for (uint32_t i = 0; i < end; ++i) {
    iovec piece = {};
    Stream* stream = Read(i, &piece);
    if (stream == nullptr || !IsOpen(*stream)) continue;
    if (stream->op >= ops_.size() || ops_[stream->op].stream != stream) {
      stream->op = static_cast<uint32_t>(ops_.size());
      ops_.push_back({.stream = stream, .is_blocked = stream->has_rest});
    }
    SendOp& op = ops_[stream->op];
    if (i < late_) TakeLateResult(&op, late_results_[i], &piece);
    if (piece.iov_len == 0) continue;
    op.length += piece.iov_len;
    // What lies one behind the other is one piece.
    if (!owners_.empty() && owners_.back() == stream->op &&
        static_cast<uint8_t*>(pieces_.back().iov_base) + pieces_.back().iov_len == piece.iov_base) {
      pieces_.back().iov_len += piece.iov_len;
      continue;
    }
    ++op.count;
    pieces_.push_back(piece);
    owners_.push_back(stream->op);
  }
  PlacePieces();
  backend.SendAll(ops_);
  AdaptLimit(end);
  late_ = 0;
  words_[1] = limit_;
  words_[3] = 0;
  std::atomic_ref<uint32_t>(words_[0]).store(0, std::memory_order_release);
  return ops_;
}

// What the thread has sent of an entry goes from its piece.
void SendBatch::TakeLateResult(SendOp* op, ssize_t result, iovec* piece) {
  if (result < 0 && result != -EAGAIN) {
    op->result = result;
    op->is_blocked = true;
    return;
  }
  const size_t taken = result < 0 ? 0 : static_cast<size_t>(result);
  op->sent_before += taken;
  if (taken < piece->iov_len) op->is_blocked = true;
  *piece = {static_cast<uint8_t*>(piece->iov_base) + taken, piece->iov_len - taken};
}

// Sorts the pieces by their op, in order.
void SendBatch::PlacePieces() {
  if (!std::is_sorted(owners_.begin(), owners_.end())) {
    placed_.resize(pieces_.size());
    std::vector<size_t> next(ops_.size());
    size_t at = 0;
    for (size_t i = 0; i < ops_.size(); ++i) {
      next[i] = at;
      at += ops_[i].count;
    }
    for (size_t i = 0; i < pieces_.size(); ++i) placed_[next[owners_[i]]++] = pieces_[i];
    pieces_.swap(placed_);
  }
  iovec* at = pieces_.data();
  for (SendOp& op : ops_) {
    op.pieces = at;
    at += op.count;
  }
}

// So many entries that they are made in most of the time that they may wait: what the thread sends
// costs more.
void SendBatch::AdaptLimit(uint32_t entries) {
  if (!timed_) return;
  timed_ = false;
  const double us = static_cast<double>(NowNs() - began_ns_) / 1000 / entries;
  entry_us_ += kWeight * (us - entry_us_);
  const double limit = kGoalPart * delay_us_ / std::max(entry_us_, 0.1);
  limit_ = static_cast<uint32_t>(
      std::clamp(limit, static_cast<double>(kLimitFloor), static_cast<double>(kEntriesMax) / 2));
}

// Nothing waits, and the loop is about to.
void SendBatch::Rest() {
  if (std::exchange(is_armed_, false)) SetTimer(0);
}

}  // namespace uring_net
