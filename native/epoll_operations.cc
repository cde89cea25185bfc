// The epoll backend of the driver: the same completions from system calls that do not wait, for
// kernels and containers that refuse io_uring. Owns an epoll descriptor, the buffers that wait for
// receives, and the list of endpoints that may make progress.
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <utility>
#include <vector>

#include "datagrams.h"
#include "operation_backend.h"
#include "socket_calls.h"

namespace uring_net {

namespace {

constexpr int kEventsAtOnce = 512;
// What one endpoint may take before it is the others' turn.
constexpr int kAcceptsAtOnce = 64;
constexpr int kReceivesAtOnce = 2;
constexpr int kSendsAtOnce = 8;
constexpr size_t kIoVecsMax = 1024;  // IOV_MAX, sendmsg(2)

class EpollOperations final : public OperationBackend {
 public:
  int Setup(OperationHost* host, const Options& options, Counters* counters) override;
  int poll_descriptor() const override { return epoll_; }
  bool nonblocking_sockets() const override { return true; }
  int Watch(Endpoint& endpoint) override;
  void Unwatch(Endpoint& endpoint) override;
  void Provide(int32_t index) override { buffers_.push_back(index); }
  bool HasRoom() override { return true; }
  void Start(Operation& operation) override;
  void Cancel(Operation& operation) override { End(operation, -ECANCELED); }
  // A cancelled operation has ended.
  void AwaitEnd(Endpoint&) override {}
  void Submit() override;
  void Reap() override;
  bool HasUnannouncedWork() const override { return !ready_.empty(); }
  int Drain() override { return 0; }
  // None is ever in flight: a read is one call of pread(2).
  int AwaitReads() override { return 0; }
  void Teardown(bool) override { close(std::exchange(epoll_, -1)); }

 private:
  void Harvest();
  void List(Endpoint& endpoint);
  void Progress(Endpoint& endpoint);
  void Send(Operation& operation);
  void Accept(Operation& operation);
  void Receive(Operation& operation);
  void ReceiveInto(Operation& operation);
  void ReadFile(Operation& operation);
  void ProgressDatagrams(Endpoint& endpoint);
  void SendDatagramsOf(Endpoint& endpoint);
  void ReceiveDatagramsOf(Operation& operation);
  void End(Operation& operation, int32_t result) {
    host_->Complete(operation, result, false, static_cast<int32_t>(operation.done));
  }

  OperationHost* host_ = nullptr;
  Counters* counters_ = nullptr;
  int epoll_ = -1;
  // Indices of buffers for receives.
  std::deque<int32_t> buffers_;
  // Ids of endpoints that may make progress, each once (Endpoint::listed).
  std::vector<int32_t> ready_;
  std::vector<int32_t> visiting_;
  // Ids of endpoints with datagrams that were started, each once (Endpoint::sending).
  std::vector<int32_t> sending_;
  std::vector<epoll_event> events_;
};

// Whether readiness for data will be reported. Where it never will (not connected) the call is made
// at once, for its error.
bool Announces(const Endpoint& endpoint) { return endpoint.watched && !endpoint.listening; }

int EpollOperations::Setup(OperationHost* host, const Options&, Counters* counters) {
  host_ = host;
  counters_ = counters;
  events_.resize(kEventsAtOnce);
  epoll_ = epoll_create1(EPOLL_CLOEXEC);
  return epoll_ == -1 ? -errno : 0;
}

int EpollOperations::Watch(Endpoint& endpoint) {
  epoll_event event = {};
  // Edge-triggered and registered once: readiness is remembered in the endpoint, and no epoll_ctl
  // is needed after this.
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET;
  event.data.u64 = static_cast<uint32_t>(endpoint.id);
  // What failed to connect, and listens then, is known already.
  const int action = endpoint.watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
  if (epoll_ctl(epoll_, action, endpoint.fd, &event) == -1) return -errno;
  endpoint.watched = true;
  // A new connection can take bytes. What it has for us is reported by the first harvest.
  endpoint.writable = !endpoint.listening && endpoint.operations[kConnectKind] == nullptr;
  endpoint.readable = false;
  // Reads on Unix sockets end where the sender's credentials or descriptors change (unix(7)).
  endpoint.read_to_end = endpoint.family == AF_UNIX;
  return 0;
}

void EpollOperations::Unwatch(Endpoint& endpoint) {
  if (endpoint.watched) epoll_ctl(epoll_, EPOLL_CTL_DEL, endpoint.fd, nullptr);
}

void EpollOperations::List(Endpoint& endpoint) {
  if (endpoint.listed) return;
  endpoint.listed = true;
  ready_.push_back(endpoint.id);
}

void EpollOperations::Start(Operation& operation) {
  Endpoint& endpoint = *operation.endpoint;
  switch (operation.kind) {
    case kSendKind:
      if (endpoint.datagram) {
        // Together with those that follow.
        if (endpoint.writable && !std::exchange(endpoint.sending, true))
          sending_.push_back(endpoint.id);
        return;
      }
      if (endpoint.writable || !Announces(endpoint)) Send(operation);
      return;
    case kConnectKind:
      // An edge tells.
      return;
    case kReceiveKind:
      if (operation.opcode == kReadFile) return ReadFile(operation);
      [[fallthrough]];
    default:
      if (endpoint.readable || !endpoint.watched) List(endpoint);
  }
}

// --- progress ---

void EpollOperations::Harvest() {
  ++counters_->enters;
  int count;
  do {
    count = epoll_wait(epoll_, events_.data(), kEventsAtOnce, 0);
    for (int i = 0; i < count; ++i) {
      const uint32_t events = events_[i].events;
      // close(2) takes back the registration, but not an event that is in this list.
      Endpoint* endpoint = host_->FindEndpoint(static_cast<int32_t>(events_[i].data.u64));
      if (endpoint == nullptr) continue;
      if (events & (EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        endpoint->readable = true;
      if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) endpoint->writable = true;
      // No further edge will tell of the end of stream, and a read stops short at urgent data.
      if (events & (EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) endpoint->read_to_end = true;
      if (endpoint->in_flight > 0) List(*endpoint);
    }
  } while (count == kEventsAtOnce);
}

void EpollOperations::Reap() {
  Harvest();
  visiting_.swap(ready_);
  for (const int32_t id : visiting_) {
    Endpoint* endpoint = host_->FindEndpoint(id);
    if (endpoint == nullptr) continue;
    endpoint->listed = false;
    Progress(*endpoint);
  }
  visiting_.clear();
}

void EpollOperations::Progress(Endpoint& endpoint) {
  if (endpoint.datagram) return ProgressDatagrams(endpoint);
  const auto active = [&endpoint](Kind kind) {
    Operation* operation = endpoint.operations[kind];
    return operation != nullptr && operation->active() ? operation : nullptr;
  };
  const auto receive = [&] {
    Operation* operation = active(kReceiveKind);
    if (operation == nullptr || !(endpoint.readable || !Announces(endpoint))) return;
    if (operation->opcode == kPoll) return End(*operation, 0);
    operation->opcode == kReceive ? Receive(*operation) : ReceiveInto(*operation);
  };
  if (Operation* connect = active(kConnectKind); connect != nullptr && endpoint.writable)
    End(*connect, ConnectOutcome(endpoint.fd));
  // After a reset a send would take the error that the receive has to tell of.
  const bool receive_first = endpoint.read_to_end && endpoint.readable;
  if (receive_first) receive();
  Operation* send = active(kSendKind);
  if (send != nullptr && (endpoint.writable || !Announces(endpoint))) Send(*send);
  if (Operation* accept = active(kAcceptKind); accept != nullptr && endpoint.readable)
    Accept(*accept);
  if (!receive_first) receive();
  send = active(kSendKind);
  const bool more_to_take = endpoint.readable && (active(kAcceptKind) || active(kReceiveKind));
  if (more_to_take || (send != nullptr && endpoint.writable)) List(endpoint);
}

void EpollOperations::Send(Operation& operation) {
  if (operation.opcode == kPoll) return End(operation, 0);
  Endpoint& endpoint = *operation.endpoint;
  for (int i = 0; i < kSendsAtOnce; ++i) {
    const IoVecs pieces(operation.pieces.data() + operation.first,
                        std::min(operation.pieces.size() - operation.first, kIoVecsMax));
    const ssize_t taken = SendIoVecs(endpoint.fd, pieces);
    // Only after EAGAIN is an edge certain to follow.
    if (taken == -EAGAIN) {
      endpoint.writable = false;
      return;
    }
    if (taken == -ECONNRESET) endpoint.reset_taken = true;
    if (taken < 0) return End(operation, static_cast<int32_t>(taken));
    counters_->bytes_sent += static_cast<uint64_t>(taken);
    operation.Advance(static_cast<uint32_t>(taken));
    if (operation.done == operation.length)
      return End(operation, static_cast<int32_t>(operation.done));
  }
  List(endpoint);
}

void EpollOperations::Accept(Operation& operation) {
  Endpoint& endpoint = *operation.endpoint;
  for (int i = 0; i < kAcceptsAtOnce; ++i) {
    const int fd = accept4(endpoint.fd, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd != -1) {
      host_->Complete(operation, host_->Admit(fd, endpoint), true, -1);
    } else if (errno == EAGAIN) {
      endpoint.readable = false;
      return;
    } else if (const int error = -errno; !host_->IsAcceptErrorAbsorbed(endpoint, error)) {
      return End(operation, error);
    }
  }
}

void EpollOperations::Receive(Operation& operation) {
  Endpoint& endpoint = *operation.endpoint;
  for (int i = 0; i < kReceivesAtOnce; ++i) {
    if (buffers_.empty()) return End(operation, -ENOBUFS);
    const iovec buffer = host_->BufferAt(buffers_.front());
    // Lifetime: the kernel writes within the call.
    const ssize_t received = recv(endpoint.fd, buffer.iov_base, buffer.iov_len, MSG_DONTWAIT);
    if (received > 0) {
      const int32_t index = buffers_.front();
      buffers_.pop_front();
      const bool may_have_more =
          static_cast<size_t>(received) == buffer.iov_len || endpoint.read_to_end;
      if (!may_have_more) endpoint.readable = false;
      const bool goes_on = !operation.once;
      host_->Complete(operation, static_cast<int32_t>(received), goes_on, index);
      if (!may_have_more || !goes_on) return;
      continue;
    }
    if (received == -1 && errno == EINTR) continue;
    if (received == -1 && errno == EAGAIN) {
      endpoint.readable = false;
      return;
    }
    const int error = received == -1 ? -errno : EndIsReset(endpoint) ? -ECONNRESET : 0;
    host_->Complete(operation, error, false, -1);
    return;
  }
}

void EpollOperations::ReceiveInto(Operation& operation) {
  Endpoint& endpoint = *operation.endpoint;
  for (int i = 0; i < kReceivesAtOnce; ++i) {
    const iovec& piece = operation.pieces[operation.first];
    const ssize_t received = recv(endpoint.fd, piece.iov_base, piece.iov_len, MSG_DONTWAIT);
    if (received == -1 && errno == EINTR) continue;
    if (received == -1 && errno == EAGAIN) {
      endpoint.readable = false;
      return;
    }
    if (received == -1) return End(operation, -errno);
    operation.Advance(static_cast<uint32_t>(received));
    if (received == 0 && operation.done == 0 && EndIsReset(endpoint))
      return End(operation, -ECONNRESET);
    if (received == 0 || operation.done >= operation.minimum)
      return End(operation, static_cast<int32_t>(operation.done));
  }
}

// Files have no readiness. What is not in the page cache keeps the thread waiting.
void EpollOperations::ReadFile(Operation& operation) {
  const iovec& piece = operation.pieces[operation.first];
  const ssize_t bytes = pread(operation.endpoint->fd, piece.iov_base, piece.iov_len,
                              static_cast<off_t>(operation.position));
  End(operation, bytes == -1 ? -errno : static_cast<int32_t>(bytes));
}

// --- datagrams ---

void EpollOperations::Submit() {
  for (const int32_t id : sending_) {
    Endpoint* endpoint = host_->FindEndpoint(id);
    if (endpoint == nullptr) continue;
    endpoint->sending = false;
    SendDatagramsOf(*endpoint);
  }
  sending_.clear();
}

void EpollOperations::ProgressDatagrams(Endpoint& endpoint) {
  if (endpoint.writable) SendDatagramsOf(endpoint);
  Operation* receive = endpoint.operations[kReceiveKind];
  if (receive != nullptr && endpoint.readable) ReceiveDatagramsOf(*receive);
  if (endpoint.readable && endpoint.operations[kReceiveKind] != nullptr) List(endpoint);
}

// With the last of them a closing endpoint is gone.
void EpollOperations::SendDatagramsOf(Endpoint& endpoint) {
  Operation* operations[kDatagramsAtOnce];
  int32_t sent[kDatagramsAtOnce];
  while (endpoint.datagrams.first != nullptr) {
    size_t count = 0;
    for (Operation* next = endpoint.datagrams.first; next != nullptr && count < kDatagramsAtOnce;
         next = next->next) {
      operations[count++] = next;
    }
    const int taken = SendDatagrams(endpoint.fd, {operations, count}, sent);
    if (taken == -EAGAIN) {
      endpoint.writable = false;
      return;
    }
    if (taken < 0 && taken != -EINTR) End(*operations[0], taken);
    for (int i = 0; i < taken; ++i) {
      counters_->bytes_sent += static_cast<uint32_t>(sent[i]);
      End(*operations[i], sent[i]);
    }
  }
}

void EpollOperations::ReceiveDatagramsOf(Operation& operation) {
  iovec buffers[kDatagramsAtOnce];
  int32_t used[kDatagramsAtOnce];
  for (int i = 0; i < kReceivesAtOnce; ++i) {
    const size_t count = std::min(buffers_.size(), kDatagramsAtOnce);
    if (count == 0) return End(operation, -ENOBUFS);
    for (size_t at = 0; at < count; ++at) buffers[at] = host_->BufferAt(buffers_[at]);
    const int received = ReceiveDatagrams(operation.endpoint->fd, {buffers, count}, used);
    if (received == -EINTR) continue;
    // Only after EAGAIN is an edge certain to follow: an error may wait behind the last datagram.
    if (received == -EAGAIN) {
      operation.endpoint->readable = false;
      return;
    }
    if (received < 0) return End(operation, received);
    for (int at = 0; at < received; ++at) {
      const int32_t index = buffers_.front();
      buffers_.pop_front();
      host_->Complete(operation, used[at], true, index);
    }
  }
}

}  // namespace

std::unique_ptr<OperationBackend> MakeEpollOperations() {
  return std::make_unique<EpollOperations>();
}

}  // namespace uring_net
