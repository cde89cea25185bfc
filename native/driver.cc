// The low-level API's engine; see driver.h.
#include "driver.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "datagrams.h"
#include "probe.h"

namespace uring_net {

namespace {

// Bounded, so that timers and other handles get their share.
constexpr int kBatchesPerPoll = 4;
constexpr int32_t kBuffersMax = 1 << 20;
// The family of endpoints that are files.
constexpr int kFile = -1;
// The family of pipes.
constexpr int kPipe = -2;
// What a pipe holds at most: 64 pages, if the kernel allows it (pipe(7), pipe-user-pages-soft).
constexpr int kPipeBytes = 256 * 1024;

size_t WordsToBytes(size_t words) { return words * sizeof(int32_t); }

// Of a file only reading is an operation, of a pipe nothing; datagrams have their own.
bool Takes(const Endpoint& endpoint, int32_t opcode) {
  if (endpoint.family < 0) return endpoint.family == kFile && opcode == kReadFile;
  const bool of_datagrams = opcode == kReceiveDatagrams || opcode == kSendDatagram;
  return opcode != kReadFile && endpoint.datagram == of_datagrams;
}

// A stream socket that no operation receives from.
bool IsFreeToReceive(const Endpoint& endpoint) {
  return endpoint.family >= 0 && !endpoint.datagram && endpoint.operations[kReceiveKind] == nullptr;
}

// Splice is not there, or a sandbox does not let it through.
bool IsRefusal(ssize_t error) { return error == -ENOSYS || error == -EPERM || error == -EACCES; }

void CloseDescriptors(const Endpoint& endpoint) {
  close(endpoint.fd);
  if (endpoint.write_end != -1) close(endpoint.write_end);
}

}  // namespace

bool EndIsReset(const Endpoint& endpoint) {
  return endpoint.reset_taken && endpoint.family != AF_UNIX && IsTcpClosed(endpoint.fd);
}

Driver::Driver(napi_env env, EngineOwner* owner, const Options& options,
               std::unique_ptr<OperationBackend> backend)
    : LoopEngine(env, owner),
      options_(options),
      backend_(std::move(backend)),
      endpoints_(options.endpoints_max) {}

int Driver::Start(uv_loop_t* loop, napi_value dispatch) {
  commands_region_ =
      Region::Map(WordsToBytes(kCommandHeaderWords + kCommandWords * options_.command_capacity));
  completions_region_ =
      Region::Map(WordsToBytes(kCompletionHeaderWords + kCompletionWords * options_.batch_size));
  if (!commands_region_ || !completions_region_) return -ENOMEM;
  commands_ = reinterpret_cast<int32_t*>(commands_region_->data());
  completions_ = reinterpret_cast<int32_t*>(completions_region_->data());
  int error = backend_->Setup(this, options_, &counters_);
  if (error != 0) return error;
  if ((options_.disable & kSplice) == 0 && SpliceWorks()) counters_.features |= kSplice;
  error = StartTurns(loop, dispatch, backend_->poll_descriptor());
  if (error != 0) backend_->Teardown(false);
  return error;
}

// --- commands ---

uint32_t Driver::CommandCount() const {
  return static_cast<uint32_t>(
      std::clamp<int64_t>(commands_[0], 0, static_cast<int64_t>(options_.command_capacity)));
}

void Driver::TakeCommands() {
  while (!deferred_.empty() && Run(deferred_.front())) deferred_.pop_front();
  const uint32_t count = CommandCount();
  for (uint32_t i = 0; i < count; ++i) {
    const int32_t* words = commands_ + kCommandHeaderWords + i * kCommandWords;
    const Command command = {words[0], words[1], words[2], words[3],
                             words[4], words[5], words[6], words[7]};
    if (!deferred_.empty() || !Run(command)) deferred_.push_back(command);
  }
  commands_[0] = 0;
}

// False: no room for the command now; nothing has changed.
bool Driver::Run(const Command& command) {
  switch (command.opcode) {
    case kReceive:
    case kReceiveInto:
    case kSend:
    case kAccept:
    case kReadFile:
    case kPoll:
    case kReceiveDatagrams:
    case kSendDatagram:
      return RunStart(command);
    case kTo: {
      Operation* operation = operations_.At(command.token);
      URING_CHECK(operation != nullptr && operation->state == OpState::kFree);
      int32_t words[] = {command.id, command.a, command.b, command.c, command.d, command.e};
      SetPeer(*operation, words);
      return true;
    }
    case kPiece: {
      Operation* operation = operations_.At(command.token);
      URING_CHECK(operation != nullptr && operation->state == OpState::kFree);
      URING_CHECK(AddPiece(*operation, command) == 0);
      return true;
    }
    case kShutdown: {
      // IORING_OP_SHUTDOWN always goes through a kernel worker thread; the call itself does not
      // wait.
      const Endpoint* endpoint = FindOpen(command.id);
      const int error = endpoint == nullptr                          ? -EBADF
                        : endpoint->operations[kSendKind] != nullptr ? -EBUSY
                        : shutdown(endpoint->fd, SHUT_WR) == -1      ? -errno
                                                                     : 0;
      PostResult(command.token, error);
      return true;
    }
    case kCancel: {
      // Over already, or never there: nothing to do.
      CancelIfActive(FindOperation(command.token));
      return true;
    }
    case kClose:
      return RunClose(command);
    case kProvide:
      URING_CHECK(command.a >= 0 && command.a <= UINT16_MAX &&
                  static_cast<size_t>(command.a) < buffers_.size() &&
                  buffers_[static_cast<size_t>(command.a)].iov_len > 0);
      backend_->Provide(command.a);
      return true;
    case kWake:
      PostResult(command.token, 0);
      return true;
    default:
      URING_CHECK(!"a command that does not exist");
      return true;
  }
}

void Driver::CancelIfActive(Operation* operation) {
  if (operation == nullptr || !operation->active()) return;
  operation->state = OpState::kCancelling;
  backend_->Cancel(*operation);
}

int Driver::AddPiece(Operation& operation, const Command& command) {
  if (command.a < 0 || static_cast<size_t>(command.a) >= buffers_.size()) return -EINVAL;
  const iovec& buffer = buffers_[static_cast<size_t>(command.a)];
  const auto offset = static_cast<size_t>(command.b);
  const auto length = static_cast<size_t>(command.c);
  if (command.b < 0 || command.c <= 0 || offset > buffer.iov_len ||
      length > buffer.iov_len - offset || length > INT32_MAX - operation.length) {
    return -EINVAL;
  }
  operation.pieces.push_back({static_cast<uint8_t*>(buffer.iov_base) + offset, length});
  operation.length += static_cast<uint32_t>(length);
  return 0;
}

int Driver::Prepare(Operation& operation, Endpoint& endpoint, const Command& command) {
  switch (command.opcode) {
    case kAccept:
      return !endpoint.listening ? -EINVAL : 0;
    case kReceive:
      operation.once = command.a != 0;
      return 0;
    case kReceiveInto:
      operation.minimum = static_cast<uint32_t>(std::clamp(command.d, 1, std::max(command.c, 1)));
      return AddPiece(operation, command);
    case kSend:
      return AddPiece(operation, command);
    case kReadFile:
      operation.position = static_cast<uint64_t>(static_cast<uint32_t>(command.d)) |
                           static_cast<uint64_t>(static_cast<uint32_t>(command.e)) << 32;
      return AddPiece(operation, command);
    case kSendDatagram:
      if (command.d < 0 || command.d > UINT16_MAX) return -EINVAL;
      operation.segment = static_cast<uint16_t>(command.d);
      return command.c == 0 ? 0 : AddPiece(operation, command);
    default:
      return 0;
  }
}

bool Driver::RunStart(const Command& command) {
  Operation* operation = operations_.At(command.token);
  URING_CHECK(operation != nullptr && operation->state == OpState::kFree);
  Endpoint* endpoint = FindOpen(command.id);
  const bool is_send = command.opcode == kSend || command.opcode == kSendDatagram ||
                       (command.opcode == kPoll && command.a != 0);
  const Kind kind = is_send ? kSendKind : command.opcode == kAccept ? kAcceptKind : kReceiveKind;
  int error = endpoint == nullptr                     ? -EBADF
              : !Takes(*endpoint, command.opcode)     ? -EINVAL
              : endpoint->operations[kind] != nullptr ? -EALREADY
                                                      : 0;
  if (error == 0 && !backend_->HasRoom()) return false;
  if (error == 0) error = Prepare(*operation, *endpoint, command);
  if (error != 0) {
    operation->pieces.clear();
    operation->length = operation->peer_length = operation->segment = 0;
    PostResult(command.token, error);
    return true;
  }
  operation->token = command.token;
  Begin(*operation, *endpoint, command.opcode, kind);
  backend_->Start(*operation);
  return true;
}

void Driver::Begin(Operation& operation, Endpoint& endpoint, int32_t opcode, Kind kind) {
  URING_CHECK(operation.state == OpState::kFree && endpoint.operations[kind] == nullptr);
  operation.opcode = opcode;
  operation.kind = kind;
  operation.state = OpState::kInFlight;
  operation.endpoint = &endpoint;
  ++operation.generation;
  if (opcode == kSendDatagram) {
    endpoint.datagrams.Append(operation);
  } else {
    endpoint.operations[kind] = &operation;
  }
  ++endpoint.in_flight;
  ++counters_.in_flight;
  ++counters_.submissions;
}

bool Driver::RunClose(const Command& command) {
  Endpoint* endpoint = FindOpen(command.id);
  if (endpoint == nullptr) {
    PostResult(command.token, -EBADF);
    return true;
  }
  endpoint->closing = true;
  endpoint->close_token = command.token;
  endpoint->reset = command.a != 0;
  // Receives that brought bytes and were delivered: of more than these somebody has not heard.
  endpoint->receives -= static_cast<uint32_t>(command.b);
  // While an accept is in flight the kernel keeps the listening socket alive beyond close(2), and
  // it would go on taking connections. One that is shared stays: its accept is only cancelled.
  if (endpoint->listening && !endpoint->shared) shutdown(endpoint->fd, SHUT_RDWR);
  // Before the descriptor is closed, so that a successor's new socket of that name is not removed.
  if (!endpoint->path.empty()) unlink(endpoint->path.c_str());
  endpoint->path.clear();
  if (endpoint->in_flight == 0) {
    FinishClose(*endpoint);
    return true;
  }
  // What was started gets its attempt.
  backend_->Submit();
  for (Kind kind = kReceiveKind; kind < kKinds; kind = static_cast<Kind>(kind + 1)) {
    CancelIfActive(endpoint->operations[kind]);
  }
  Operation* next;
  for (Operation* send = endpoint->datagrams.first; send != nullptr; send = next) {
    next = send->next;
    CancelIfActive(send);
  }
  // The kernel must not hold the socket any more when it is closed: its FIN would wait for that.
  if (endpoint->in_flight > 0) backend_->AwaitEnd(*endpoint);
  return true;
}

// C1, C4: the descriptor goes only after the last completion of every operation on it. With bytes
// that were received and nobody has read, the connection is reset, as close(2) does with bytes that
// it still has (RFC 2525, 2.17).
void Driver::FinishClose(Endpoint& endpoint) {
  if (!endpoint.closing || endpoint.in_flight > 0) return;
  if (endpoint.reset || endpoint.receives > 0) SetResetOnClose(endpoint.fd);
  if (endpoint.shared) backend_->Unwatch(endpoint);
  CloseDescriptors(endpoint);
  completed_.push_back({endpoint.close_token, 0, 0, -1});
  endpoints_.Remove(endpoint);
}

// --- completions ---

void Driver::Complete(Operation& operation, int32_t result, bool more, int32_t extra) {
  Endpoint& endpoint = *operation.endpoint;
  if (operation.kind == kReceiveKind && endpoint.family != kFile && result > 0) {
    counters_.bytes_received += static_cast<uint32_t>(result);
    if (operation.opcode == kReceive) ++endpoint.receives;
    if (operation.opcode == kReceiveDatagrams) counters_.bytes_received -= kDatagramHeaderBytes;
  }
  if (operation.kind == kReceiveKind && result == -ENOBUFS) ++counters_.pool_exhausted;
  completed_.push_back({operation.token, result, more ? kFlagMore : 0, extra});
  if (more) return;
  if (operation.opcode == kSendDatagram) {
    endpoint.datagrams.Remove(operation);
  } else {
    endpoint.operations[operation.kind] = nullptr;
  }
  --endpoint.in_flight;
  --counters_.in_flight;
  operation.state = OpState::kFree;
  operation.pieces.clear();
  operation.first = operation.length = operation.done = operation.minimum = 0;
  operation.peer_length = operation.segment = 0;
  FinishClose(endpoint);
}

int32_t Driver::Admit(int fd, const Endpoint& listener) {
  Endpoint* endpoint = endpoints_.Add(fd, listener.family);
  if (endpoint == nullptr) {
    close(fd);
    return -ENFILE;
  }
  const int error = backend_->Watch(*endpoint);
  if (error == 0) return endpoint->id;
  close(fd);
  endpoints_.Remove(*endpoint);
  return error;
}

bool Driver::IsAcceptErrorAbsorbed(Endpoint& listener, int error) {
  if (listener.closing) return false;
  switch (error) {
    case -ECONNABORTED:
    case -EPROTO:
    case -EINTR:
    case -EAGAIN:
      return true;
    case -EMFILE:
    case -ENFILE:
      return spare_fd_.ShedLoad(listener.fd);
    default:
      return false;
  }
}

bool Driver::FillBatch() {
  int32_t count = 0;
  while (!completed_.empty() && count < static_cast<int32_t>(options_.batch_size)) {
    const Completion& completion = completed_.front();
    int32_t* words = completions_ + kCompletionHeaderWords + count++ * kCompletionWords;
    words[0] = completion.token;
    words[1] = completion.result;
    words[2] = completion.flags;
    words[3] = completion.extra;
    completed_.pop_front();
  }
  completions_[0] = count;
  completions_[1] = 0;
  return count > 0;
}

void Driver::Deliver() {
  for (int i = 0; i < kBatchesPerPoll && !closed(); ++i) {
    backend_->Reap();
    if (!FillBatch()) return;
    ++counters_.batches;
    counters_.completions += static_cast<uint64_t>(completions_[0]);
    Dispatch(&completions_[1], completions_[0]);
    if (!closed()) Submit();
  }
}

bool Driver::OnPrepare() {
  Submit();
  return HasWork();
}

void Driver::OnCheck() {
  if (HasWork()) Deliver();
}

int Driver::End() {
  int left = backend_->Drain();
  if (left > 0) {
    // What cannot be cancelled ends with its socket.
    endpoints_.ForEach([](Endpoint& endpoint) {
      if (!endpoint.shared) shutdown(endpoint.fd, SHUT_RDWR);
    });
    backend_->Drain();
    // A read from a disk that hangs ends with nothing: "disk IO requests cannot be canceled if
    // already started" (io_uring_enter(2)). Its memory is JavaScript's and goes with the thread,
    // so this waits without a bound, as Node does for its own file requests (CleanupHandles).
    left = backend_->AwaitReads();
  }
  endpoints_.ForEach([](Endpoint& endpoint) {
    if (!endpoint.path.empty()) unlink(endpoint.path.c_str());
    if (endpoint.reset) SetResetOnClose(endpoint.fd);
    CloseDescriptors(endpoint);
  });
  spare_fd_.Close();
  backend_->Teardown(left > 0);
  return left;
}

// --- calls ---

void Driver::Submit() {
  if (closed()) return;
  if (commands_[0] != 0 || !deferred_.empty()) TakeCommands();
  backend_->Submit();
}

Endpoint* Driver::FindOpen(int32_t id) {
  Endpoint* endpoint = endpoints_.Find(id);
  return endpoint != nullptr && !endpoint->closing ? endpoint : nullptr;
}

int Driver::Open(int32_t family) {
  if (endpoints_.full()) return -ENFILE;
  int domain = 0;
  const int fd = OpenSocket(family, backend_->nonblocking_sockets(), &domain);
  if (fd < 0) return fd;
  Endpoint* endpoint = endpoints_.Add(fd, domain);
  URING_CHECK(endpoint != nullptr);
  return endpoint->id;
}

int Driver::Adopt(int32_t fd) {
  if (endpoints_.full()) return -ENFILE;
  int family = 0;
  int error = PrepareForeign(fd, backend_->nonblocking_sockets(), &family);
  if (error != 0) return error;
  Endpoint* endpoint = endpoints_.Add(fd, family);
  error = backend_->Watch(*endpoint);
  if (error == 0) return endpoint->id;
  endpoints_.Remove(*endpoint);
  return error;
}

int Driver::OpenFile(int32_t fd) {
  if (endpoints_.full()) return -ENFILE;
  // libuv's: the fstat(2) of a C library before glibc 2.33 cannot be looked up at load time.
  uv_fs_t status;
  const int error = uv_fs_fstat(nullptr, &status, fd, nullptr);
  const uint64_t mode = status.statbuf.st_mode;
  uv_fs_req_cleanup(&status);
  if (error != 0) return error;
  if (!S_ISREG(mode)) return -EINVAL;
  const int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  return copy == -1 ? -errno : endpoints_.Add(copy, kFile)->id;
}

int Driver::OpenPipe() {
  if ((counters_.features & kSplice) == 0) return -ENOSYS;
  if (endpoints_.full()) return -ENFILE;
  int ends[2];
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) == -1) return -errno;
  fcntl(ends[1], F_SETPIPE_SZ, kPipeBytes);
  Endpoint* endpoint = endpoints_.Add(ends[0], kPipe);
  endpoint->write_end = ends[1];
  return endpoint->id;
}

// What others listen on as well: only a descriptor of it is ours.
int Driver::Share(int32_t fd) {
  if (endpoints_.full()) return -ENFILE;
  int family = 0;
  const int own = DuplicateSocket(fd, &family);
  if (own < 0) return own;
  if (const int error = SetMode(own, backend_->nonblocking_sockets()); error != 0) {
    close(own);
    return error;
  }
  Endpoint* endpoint = endpoints_.Add(own, family);
  endpoint->shared = true;
  return endpoint->id;
}

int Driver::Bind(int32_t id, std::string_view text, int32_t port, int32_t flags) {
  Endpoint* endpoint = FindOpen(id);
  if (endpoint == nullptr) return -EBADF;
  if (endpoint->datagram || (flags & ~(kBindV6Only | kBindReusePort)) != 0) return -EINVAL;
  Address address;
  int error = ParseAddress(endpoint->family, text, port, &address);
  if (error == 0) error = BindSocket(endpoint->fd, address, flags);
  if (error == 0 && endpoint->family == AF_UNIX && text[0] != '\0') endpoint->path = text;
  return error;
}

int Driver::Connect(int32_t token, int32_t id, std::string_view text, int32_t port) {
  Endpoint* endpoint = FindOpen(id);
  if (endpoint == nullptr) return -EBADF;
  Operation* operation = operations_.At(token);
  if (operation == nullptr || operation->state != OpState::kFree) return -EINVAL;
  if (endpoint->datagram) return -EINVAL;
  if (endpoint->operations[kConnectKind] != nullptr) return -EALREADY;
  Address address;
  int error = ParseAddress(endpoint->family, text, port, &address);
  if (error != 0) return error;
  // Not by the ring: what the kernel refuses at once (no route, no local port) is told at once.
  const int result = ConnectSocket(endpoint->fd, address);
  const bool waiting = result == -EINPROGRESS;
  // As in libuv the caller is told later of a refusal, and of everything on Unix sockets.
  const bool told_later = result == -ECONNREFUSED || endpoint->family == AF_UNIX;
  if (result != 0 && !waiting && !told_later) return result;
  operation->token = token;
  Begin(*operation, *endpoint, kConnect, kConnectKind);
  // After the call: a socket that is not connecting yet would be reported as hung up.
  if (result == 0 || waiting) error = backend_->Watch(*endpoint);
  if (waiting && error == 0 && backend_->HasRoom()) {
    backend_->Start(*operation);
  } else {
    Complete(*operation, error != 0 ? error : waiting ? -EAGAIN : result, false, -1);
  }
  return 0;
}

int Driver::Listen(int32_t id, int32_t backlog) {
  Endpoint* endpoint = FindOpen(id);
  if (endpoint == nullptr) return -EBADF;
  spare_fd_.Open();
  if (listen(endpoint->fd, backlog) == -1) return -errno;
  if (endpoint->listening) return 0;
  endpoint->listening = true;
  return backend_->Watch(*endpoint);
}

int Driver::Name(int32_t id, bool peer, SocketName* out) {
  const Endpoint* endpoint = FindOpen(id);
  return endpoint == nullptr ? -EBADF : GetName(endpoint->fd, peer, out);
}

int Driver::Descriptor(int32_t id) {
  const Endpoint* endpoint = FindOpen(id);
  return endpoint == nullptr ? -EBADF : endpoint->fd;
}

int Driver::SetOption(int32_t id, int32_t option, int32_t value) {
  const Endpoint* endpoint = FindOpen(id);
  if (endpoint == nullptr) return -EBADF;
  if (!endpoint->datagram) return SetSocketOption(endpoint->fd, option, value);
  return SetDatagramOption(endpoint->fd, endpoint->family, option, value);
}

// --- datagram sockets ---

Endpoint* Driver::FindDatagram(int32_t id) {
  Endpoint* endpoint = FindOpen(id);
  return endpoint != nullptr && endpoint->datagram ? endpoint : nullptr;
}

int Driver::OpenDatagram(int32_t family) {
  if (endpoints_.full()) return -ENFILE;
  int domain = 0;
  const int fd = OpenDatagramSocket(family, backend_->nonblocking_sockets(), &domain);
  if (fd < 0) return fd;
  Endpoint* endpoint = endpoints_.Add(fd, domain);
  endpoint->datagram = true;
  const int error = backend_->Watch(*endpoint);
  if (error == 0) return endpoint->id;
  close(fd);
  endpoints_.Remove(*endpoint);
  return error;
}

int Driver::BindDatagram(int32_t id, std::string_view text, int32_t port, int32_t flags) {
  const Endpoint* endpoint = FindDatagram(id);
  if (endpoint == nullptr) return -EBADF;
  if ((flags & ~(kBindV6Only | kBindReusePort | kBindReuseAddress)) != 0) return -EINVAL;
  Address address;
  const int error = ParseAddress(endpoint->family, text, port, &address);
  return error != 0 ? error : BindDatagramSocket(endpoint->fd, address, flags);
}

int Driver::ConnectDatagram(int32_t id, std::string_view address, int32_t port) {
  const Endpoint* endpoint = FindDatagram(id);
  if (endpoint == nullptr) return -EBADF;
  return ConnectDatagramSocket(endpoint->fd, endpoint->family, address, port);
}

int Driver::SendDatagramNow(int32_t id, int32_t index, int32_t offset, int32_t length,
                            int32_t* words) {
  const Endpoint* endpoint = FindDatagram(id);
  if (endpoint == nullptr) return -EBADF;
  Operation operation;
  const int error =
      length == 0 ? 0 : AddPiece(operation, {kSendDatagram, 0, id, index, offset, length, 0, 0});
  if (error != 0) return error;
  if (words != nullptr) SetPeer(operation, PeerWords(words, kPeerWords));
  Operation* const only = &operation;
  int32_t sent = 0;
  int taken;
  do {
    taken = SendDatagrams(endpoint->fd, {&only, 1}, &sent);
  } while (taken == -EINTR);
  if (taken < 0) return taken;
  ++counters_.submissions;
  counters_.bytes_sent += static_cast<uint32_t>(sent);
  return sent;
}

int Driver::Membership(int32_t id, std::string_view group, std::string_view interface, bool join) {
  const Endpoint* endpoint = FindDatagram(id);
  if (endpoint == nullptr) return -EBADF;
  return SetMembership(endpoint->fd, endpoint->family, group, interface, join);
}

int Driver::MulticastInterface(int32_t id, std::string_view interface) {
  const Endpoint* endpoint = FindDatagram(id);
  if (endpoint == nullptr) return -EBADF;
  return SetMulticastInterface(endpoint->fd, endpoint->family, interface);
}

int Driver::Register(int32_t index, uint8_t* data, size_t length) {
  if (index < 0 || index >= kBuffersMax || length == 0 || length > INT32_MAX) return -EINVAL;
  if (static_cast<size_t>(index) >= buffers_.size()) {
    buffers_.resize(static_cast<size_t>(index) + 1);
  }
  buffers_[static_cast<size_t>(index)] = {data, length};
  return 0;
}

int32_t Driver::Unsent(int32_t token) {
  const Operation* operation = operations_.Find(token);
  return operation == nullptr ? 0 : static_cast<int32_t>(operation->length - operation->done);
}

Endpoint* Driver::FindPipe(int32_t id) {
  Endpoint* endpoint = FindOpen(id);
  return endpoint != nullptr && endpoint->family == kPipe ? endpoint : nullptr;
}

uint8_t* Driver::BeginningOf(int32_t index, int32_t length) const {
  if (index < 0 || static_cast<size_t>(index) >= buffers_.size()) return nullptr;
  const iovec& buffer = buffers_[static_cast<size_t>(index)];
  if (length <= 0 || static_cast<size_t>(length) > buffer.iov_len) return nullptr;
  return static_cast<uint8_t*>(buffer.iov_base);
}

int32_t Driver::Received(Endpoint& from, ssize_t result) {
  // Only after EAGAIN is an edge certain to follow.
  if (result == -EAGAIN) from.readable = false;
  if (result > 0) counters_.bytes_received += static_cast<uint64_t>(result);
  return result == 0 && EndIsReset(from) ? -ECONNRESET : static_cast<int32_t>(result);
}

int32_t Driver::ReceiveNow(int32_t id, int32_t index, int32_t length) {
  Endpoint* from = FindOpen(id);
  if (from == nullptr) return -EBADF;
  uint8_t* bytes = BeginningOf(index, length);
  if (bytes == nullptr || !IsFreeToReceive(*from)) return -EINVAL;
  return Received(*from, Receive(from->fd, bytes, static_cast<size_t>(length)));
}

int32_t Driver::FillPipe(int32_t pipe, int32_t id, int32_t length) {
  const Endpoint* into = FindPipe(pipe);
  Endpoint* from = FindOpen(id);
  if (into == nullptr || from == nullptr) return -EBADF;
  if (length <= 0 || !IsFreeToReceive(*from)) return -EINVAL;
  const auto bytes = static_cast<size_t>(length);
  ssize_t moved = Splice(from->fd, into->write_end, from->fd, bytes);
  if (IsRefusal(moved)) {
    // A filter can come later than the driver.
    counters_.features &= ~static_cast<uint32_t>(kSplice);
    return -ENOSYS;
  }
  if (moved == -EAGAIN || moved == 0) moved = SpliceByHand(from->fd, into->write_end, bytes);
  return Received(*from, moved);
}

int32_t Driver::DrainPipe(int32_t pipe, int32_t id, int32_t length) {
  const Endpoint* from = FindPipe(pipe);
  Endpoint* to = FindOpen(id);
  if (from == nullptr || to == nullptr) return -EBADF;
  if (length <= 0 || to->family < 0) return -EINVAL;
  const ssize_t moved = Splice(from->fd, to->fd, to->fd, static_cast<size_t>(length));
  if (moved == -EAGAIN) to->writable = false;
  // A splice is several sends. A reset between two of them ends it short, and nothing tells of it.
  const bool is_cut = moved > 0 && moved < length && IsTcpClosed(to->fd);
  if (moved == -ECONNRESET || is_cut) to->reset_taken = true;
  if (moved > 0) counters_.bytes_sent += static_cast<uint64_t>(moved);
  return static_cast<int32_t>(moved);
}

int32_t Driver::ReadPipe(int32_t pipe, int32_t index, int32_t length) {
  const Endpoint* endpoint = FindPipe(pipe);
  if (endpoint == nullptr) return -EBADF;
  uint8_t* bytes = BeginningOf(index, length);
  if (bytes == nullptr) return -EINVAL;
  const ssize_t taken = read(endpoint->fd, bytes, static_cast<size_t>(length));
  return taken == -1 ? -errno : static_cast<int32_t>(taken);
}

// The send in flight may be over, and only the news of it still to come.
int32_t Driver::Offer(int32_t id, IoVecs pieces) {
  Submit();
  backend_->Reap();
  Endpoint* endpoint = FindOpen(id);
  if (endpoint == nullptr) return -EBADF;
  if (endpoint->operations[kSendKind] != nullptr) return 0;
  const ssize_t taken = SendIoVecs(endpoint->fd, pieces);
  if (taken == -ECONNRESET) endpoint->reset_taken = true;
  if (taken < 0) return taken == -EAGAIN ? 0 : static_cast<int32_t>(taken);
  counters_.bytes_sent += static_cast<uint64_t>(taken);
  return static_cast<int32_t>(taken);
}

Counters Driver::Stats() const {
  Counters counters = counters_;
  counters.endpoints = endpoints_.count();
  counters.opened = endpoints_.opened();
  return counters;
}

}  // namespace uring_net
