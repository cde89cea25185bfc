// The epoll driver; see epoll_driver.h.
#include "epoll_driver.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace uring_net {

namespace {

constexpr int kEventsAtOnce = 512;
// What one endpoint may take per batch, so that none starves the others.
constexpr int kAcceptsAtOnce = 64;
constexpr int kReceivesAtOnce = 2;
constexpr uint32_t kReceiveBytes = 64 * 1024;
// A pool with less left than this part of it, or than one receive, counts as used up: what the peer
// wrote at once is not to be cut where the pool ends.
constexpr uint32_t kReceiveFloorPart = 4;

// Whether readiness for data will be reported. Where it never will (not connected, or a listener)
// the call is made at once, for its error.
bool Announces(const Slot& slot) { return slot.registered && !slot.listening; }

}  // namespace

int EpollDriver::Setup() {
  pool_ = Region::Map(std::max(options_.pool_bytes, kReceiveBytes));
  if (!pool_) return -ENOMEM;
  events_.resize(kEventsAtOnce);
  epoll_ = epoll_create1(EPOLL_CLOEXEC);
  return epoll_ == -1 ? -errno : 0;
}

int EpollDriver::Register(Slot& slot) {
  epoll_event event = {};
  // Edge-triggered and registered once: readiness is remembered in the slot, and no epoll_ctl is
  // needed after this.
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET;
  event.data.u64 = static_cast<uint32_t>(slot.id);
  // What failed to connect, and listens then, is known already.
  const int operation = slot.registered ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
  if (epoll_ctl(epoll_, operation, slot.fd, &event) == -1) return -errno;
  slot.registered = true;
  // A new connection can take bytes. What it has for us is reported by the first harvest.
  slot.writable = !slot.listening && slot.idle(kConnect);
  slot.readable = false;
  // Reads on Unix sockets end where the sender's credentials or descriptors change (unix(7)).
  slot.read_to_end = slot.family == AF_UNIX;
  return 0;
}

void EpollDriver::Teardown(bool) {
  close(epoll_);
  epoll_ = -1;
}

void EpollDriver::List(Slot& slot) {
  if (slot.listed) return;
  slot.listed = true;
  ready_.push_back(slot.id);
}

// --- starting ---

void EpollDriver::StartReceive(Slot& slot) {
  if (slot.readable || !Announces(slot)) List(slot);
}

void EpollDriver::StartAccept(Slot& slot) {
  if (slot.readable) List(slot);
}

void EpollDriver::StartSend(Slot& slot) {
  int32_t result = 0;
  if (Announces(slot) && !slot.writable) return;
  if (TrySend(slot, &result))
    Post(slot, kSend, result, result < 0 ? static_cast<int32_t>(slot.send.sent) : 0);
}

void EpollDriver::StartCancel(Slot& slot, int32_t op) {
  Post(slot, op, -ECANCELED, op == kSend ? static_cast<int32_t>(slot.send.sent) : 0);
}

// --- progress ---

void EpollDriver::Harvest() {
  ++counters_.enters;
  const int count = epoll_wait(epoll_, events_.data(), kEventsAtOnce, 0);
  harvest_ = count == kEventsAtOnce;
  for (int i = 0; i < count; ++i) {
    const uint32_t events = events_[i].events;
    // close(2) takes back the registration, but not an event that is in this list.
    Slot* slot = slots_.Find(static_cast<int32_t>(events_[i].data.u64));
    if (slot == nullptr) continue;
    if (events & (EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) slot->readable = true;
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) slot->writable = true;
    // No further edge will tell of the end of stream, and a read stops short at urgent data.
    if (events & (EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) slot->read_to_end = true;
    if (slot->in_flight > 0) List(*slot);
  }
}

void EpollDriver::Gather() {
  EmitPosted();
  if (harvest_) Harvest();
  visiting_.swap(ready_);
  size_t visited = 0;
  for (; visited < visiting_.size() && !BatchFull(); ++visited) {
    Slot* slot = slots_.Find(visiting_[visited]);
    if (slot == nullptr) continue;
    slot->listed = false;
    Progress(*slot);
  }
  // Those the batch had no place for come first in the next.
  ready_.insert(ready_.begin(), visiting_.begin() + static_cast<ptrdiff_t>(visited),
                visiting_.end());
  visiting_.clear();
  EmitPosted();
}

void EpollDriver::Progress(Slot& slot) {
  const int32_t id = slot.id;
  if (slot.active(kConnect) && slot.writable) FinishConnect(slot);
  // After a reset a send would take the error that the receive has to tell of.
  const bool receive_first = slot.read_to_end && slot.readable;
  if (receive_first && slot.active(kReceive)) ReceiveSome(slot);
  if (slot.active(kSend) && (slot.writable || !Announces(slot))) {
    int32_t result = 0;
    if (BatchFull()) return List(slot);
    if (TrySend(slot, &result)) {
      Emit(slot, kSend, false, result, result < 0 ? static_cast<int32_t>(slot.send.sent) : 0);
    }
  }
  if (slot.active(kAccept) && slot.readable) AcceptSome(slot);
  if (!receive_first && slot.active(kReceive) && (slot.readable || !Announces(slot))) {
    ReceiveSome(slot);
  }
  URING_CHECK(slot.id == id);
  if (slot.readable && (slot.active(kAccept) || slot.active(kReceive))) List(slot);
}

void EpollDriver::FinishConnect(Slot& slot) {
  Emit(slot, kConnect, false, ConnectOutcome(slot.fd));
}

bool EpollDriver::TrySend(Slot& slot, int32_t* result) {
  SendProgress& progress = slot.send;
  for (;;) {
    // Lifetime: the kernel copies within the call and keeps nothing.
    const ssize_t taken = send(slot.fd, progress.bytes + progress.sent,
                               progress.length - progress.sent, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (taken >= 0) {
      progress.sent += static_cast<uint32_t>(taken);
      counters_.bytes_sent += static_cast<uint64_t>(taken);
      if (progress.sent < progress.length) continue;
      *result = static_cast<int32_t>(progress.length);
      return true;
    }
    if (errno == EINTR) continue;
    // Only after EAGAIN is an edge certain to follow.
    if (errno == EAGAIN) {
      slot.writable = false;
      return false;
    }
    if (errno == ECONNRESET) slot.reset_taken = true;
    *result = -errno;
    return true;
  }
}

void EpollDriver::AcceptSome(Slot& slot) {
  for (int i = 0; i < kAcceptsAtOnce; ++i) {
    if (BatchFull()) return;
    const int fd = accept4(slot.fd, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd != -1) {
      Emit(slot, kAccept, true, Admit(fd, slot));
    } else if (errno == EAGAIN) {
      slot.readable = false;
      return;
    } else if (const int error = -errno; !AcceptErrorAbsorbed(slot, error)) {
      return Emit(slot, kAccept, false, error);
    }
  }
}

void EpollDriver::ReceiveSome(Slot& slot) {
  for (int i = 0; i < kReceivesAtOnce; ++i) {
    if (BatchFull()) return;
    const uint32_t size = static_cast<uint32_t>(pool_->size());
    const uint32_t left = size - pool_used_;
    if (left < std::min(kReceiveBytes, size / kReceiveFloorPart)) {
      ++counters_.pool_exhausted;
      return;
    }
    const uint32_t space = std::min(left, kReceiveBytes);
    // Lifetime: the kernel writes within the call; the range stays JavaScript's to read until
    // Recycle().
    const ssize_t received = recv(slot.fd, pool_->data() + pool_used_, space, MSG_DONTWAIT);
    if (received > 0) {
      const uint32_t bytes = static_cast<uint32_t>(received);
      counters_.bytes_received += bytes;
      Emit(slot, kReceive, true, static_cast<int32_t>(bytes), static_cast<int32_t>(pool_used_));
      pool_used_ += (bytes + 7) & ~7u;
      if (bytes == space || slot.read_to_end) continue;
      slot.readable = false;
      return;
    }
    if (received == -1 && errno == EINTR) continue;
    if (received == -1 && errno == EAGAIN) {
      slot.readable = false;
      return;
    }
    const int error = received == -1 ? -errno : EndIsReset(slot) ? -ECONNRESET : 0;
    return Emit(slot, kReceive, false, error);
  }
}

}  // namespace uring_net
