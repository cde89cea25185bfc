// Datagrams received for Node's UDP sockets; see datagram_engine.h.
#include "datagram_engine.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "contract.h"

namespace uring_net {

namespace {

// Sockets that are looked at in one go.
constexpr int kEventsAtOnce = 64;
// Sockets that have more are looked at again in one turn of the loop until there were so many
// batches: one socket gets 128 datagrams then, and each of many 32, as over libuv.
constexpr uint64_t kBatchesPerPoll = 4;
constexpr uint32_t kIndexMask = (1u << kSlotBits) - 1;

}  // namespace

int DatagramEngine::Start(uv_loop_t* loop, napi_value dispatch) {
  pieces_region_ = Region::Map((kHeaderWords + kPieceWords * kDatagramsAtOnce) * sizeof(int32_t));
  pool_ = Region::Map(kDatagramsAtOnce * kDatagramSlotBytes);
  if (!pieces_region_ || !pool_) return -ENOMEM;
  pieces_ = reinterpret_cast<int32_t*>(pieces_region_->data());
  epoll_ = epoll_create1(EPOLL_CLOEXEC);
  if (epoll_ == -1) return -errno;
  const int error = StartTurns(loop, dispatch, epoll_);
  if (error != 0) close(std::exchange(epoll_, -1));
  return error;
}

int DatagramEngine::End() {
  close(std::exchange(epoll_, -1));
  return 0;
}

// --- the table ---

int DatagramEngine::FdOf(int32_t id) const {
  const uint32_t index = static_cast<uint32_t>(id) & kIndexMask;
  if (id <= 0 || index >= watched_.size()) return -1;
  const Watched& watched = watched_[index];
  return watched.generation == static_cast<uint32_t>(id) >> kSlotBits ? watched.fd : -1;
}

int32_t DatagramEngine::Watch(int32_t fd) {
  if (closed()) return -EBADF;
  uint32_t index;
  if (!free_.empty()) {
    index = free_.front();
    free_.pop_front();
  } else if (watched_.size() <= kIndexMask) {
    index = static_cast<uint32_t>(watched_.size());
    watched_.emplace_back();
  } else {
    return -ENFILE;
  }
  Watched& watched = watched_[index];
  watched.generation = watched.generation % kGenerationMax + 1;
  const int32_t id = static_cast<int32_t>(watched.generation << kSlotBits | index);
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.u32 = static_cast<uint32_t>(id);
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) == -1) {
    free_.push_back(index);
    return -errno;
  }
  watched.fd = fd;
  ++counters_.endpoints;
  ++counters_.opened;
  return id;
}

int32_t DatagramEngine::Unwatch(int32_t id) {
  const int fd = FdOf(id);
  if (fd == -1) return -EBADF;
  const uint32_t index = static_cast<uint32_t>(id) & kIndexMask;
  watched_[index].fd = -1;
  free_.push_back(index);
  --counters_.endpoints;
  if (closed()) return 0;
  epoll_event event = {};
  return epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, &event) == -1 ? -errno : 0;
}

Counters DatagramEngine::Stats() const { return counters_; }

// --- receiving ---

void DatagramEngine::OnPoll() {
  epoll_event events[kEventsAtOnce];
  const uint64_t before = counters_.batches;
  for (;;) {
    const int ready = epoll_wait(epoll_, events, kEventsAtOnce, 0);
    ++counters_.enters;
    bool has_more = ready == kEventsAtOnce;
    for (int i = 0; i < ready; ++i) {
      // JavaScript may have closed it meanwhile, and another socket may have its descriptor.
      if (Receive(static_cast<int32_t>(events[i].data.u32))) has_more = true;
      if (closed()) return;
    }
    Deliver();
    // Never in the middle of a pass: epoll tells of the same sockets first, and the last would
    // starve.
    if (closed() || !has_more || counters_.batches - before >= kBatchesPerPoll) return;
  }
}

bool DatagramEngine::Receive(int32_t id) {
  if (static_cast<size_t>(pieces_[0]) == kDatagramsAtOnce) Deliver();
  const int fd = FdOf(id);
  if (closed() || fd == -1) return false;
  const auto first = static_cast<uint32_t>(pieces_[0]);
  iovec slots[kDatagramsAtOnce];
  int32_t used[kDatagramsAtOnce];
  const uint32_t room = kDatagramsAtOnce - first;
  for (uint32_t i = 0; i < room; ++i) {
    slots[i] = {pool_->data() + (first + i) * kDatagramSlotBytes, kDatagramSlotBytes};
  }
  const int received = ReceiveDatagrams(fd, std::span<const iovec>(slots, room), used);
  ++counters_.enters;
  if (received == -EAGAIN || received == -EINTR) return false;
  const auto add = [this, id](int32_t result) {
    int32_t* words = pieces_ + kHeaderWords + static_cast<uint32_t>(pieces_[0]++) * kPieceWords;
    words[0] = id;
    words[1] = result;
  };
  // As with libuv, an error is told and the socket goes on.
  if (received < 0) add(received);
  for (int i = 0; i < received; ++i) {
    add(used[i]);
    counters_.bytes_received += static_cast<uint32_t>(used[i]) - kDatagramHeaderBytes;
  }
  return received > 0 && static_cast<uint32_t>(received) == room;
}

void DatagramEngine::Deliver() {
  if (pieces_[0] == 0) return;
  ++counters_.batches;
  counters_.completions += static_cast<uint32_t>(pieces_[0]);
  pieces_[1] = 0;
  Dispatch(&pieces_[1], pieces_[0]);
  pieces_[0] = 0;
}

}  // namespace uring_net
