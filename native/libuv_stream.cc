// libuv's streams from below; see libuv_stream.h. libuv promises none of the following, which was
// read in src/unix/stream.c and core.c of 1.44.2 to 1.52.1. ProveLibuv() tries each.
//
//  1. Major version 1, and the structs have the sizes of the headers that this was compiled with.
//  2. A queue is a ring of {next, prev}. loop->handle_queue has the newest handle at its end.
//  3. A new stream has an empty write_queue and write_completed_queue, its io_watcher is in no
//     queue, and io_watcher.fd is the descriptor once there is one.
//  4. A write that is done at once is put into write_completed_queue, and io_watcher into
//     loop->pending_queue; uv_run then calls the callback, and does not sleep before.
//  5. A write that must wait is in write_queue, in order: bufs in bufsml or in memory of libuv's
//     own, nbufs, write_index of the first that is not sent whole, which is shortened in place.
//     write_queue_size is the sum.
//  6. io_watcher.pevents is what libuv wants to hear of, events what the kernel was told. Where
//     they differ it is in loop->watcher_queue until the next poll. loop->watchers[fd] is the
//     watcher, and nfds counts those.
//  7. connect_req is set while the stream connects.
//  8. With write_queue_size other than 0, uv_try_write says EAGAIN and uv_write only queues and
//     asks for POLLOUT.
//  9. POLLOUT can be taken out of pevents before the kernel was told; reading is not disturbed.
// 10. A request that was moved to write_completed_queue with all bufs used up (write_index equals
//     nbufs) ends with its `error` once io_watcher was put into loop->pending_queue. libuv frees
//     its bufs, and does what it does when the queue has drained, shutdown included.
// 11. A request that was shortened in place goes on from there, and libuv tries to write as soon as
//     io_watcher was put into loop->pending_queue.
// 12. A request with an error keeps its share of write_queue_size until its callback.
// 13. On a closing stream, what is in write_completed_queue ends with its own `error`, what is in
//     write_queue with ECANCELED; all of them before the close callback.
//
// UV_HANDLE_BLOCKING_WRITES, with which a held uv_write would abort, is set for terminals only.
#include "libuv_stream.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <new>

#include "contract.h"

namespace uring_net {

namespace {

// libuv's queue.h is not installed, and its headers before 1.46 say void*[2].
struct Link {
  Link* next;
  Link* prev;
};

template <typename Field>
Link* LinkOf(Field* field) {
  static_assert(sizeof(Field) == sizeof(Link) && alignof(Field) == alignof(Link));
  return reinterpret_cast<Link*>(field);
}

template <typename Field>
const Link* LinkOf(const Field* field) {
  return LinkOf(const_cast<Field*>(field));
}

bool IsEmpty(const Link* link) { return link->next == link; }

void Init(Link* link) { link->next = link->prev = link; }

void Append(Link* head, Link* link) {
  link->next = head;
  link->prev = head->prev;
  link->prev->next = link;
  head->prev = link;
}

void Remove(Link* link) {
  link->prev->next = link->next;
  link->next->prev = link->prev;
}

uv_write_t* RequestOf(Link* link) {
  return reinterpret_cast<uv_write_t*>(reinterpret_cast<char*>(link) - offsetof(uv_write_t, queue));
}

uv_handle_t* HandleOf(Link* link) {
  return reinterpret_cast<uv_handle_t*>(reinterpret_cast<char*>(link) -
                                        offsetof(uv_handle_t, handle_queue));
}

const uv_handle_t* AsHandle(const uv_stream_t* stream) {
  return reinterpret_cast<const uv_handle_t*>(stream);
}

uv_handle_t* AsHandle(uv_stream_t* stream) { return reinterpret_cast<uv_handle_t*>(stream); }

size_t BytesOf(const uv_write_t* request) {
  size_t bytes = 0;
  for (unsigned i = request->write_index; i < request->nbufs; ++i) bytes += request->bufs[i].len;
  return bytes;
}

bool IsClosing(const uv_stream_t* stream) { return uv_is_closing(AsHandle(stream)) != 0; }

// uv__io_stop(POLLOUT), but what the kernel knows already it is not told again.
void ForgetRoom(uv_stream_t* stream) {
  uv__io_t* watcher = &stream->io_watcher;
  if ((watcher->pevents & POLLOUT) == 0 || (watcher->events & POLLOUT) != 0) return;
  watcher->pevents &= ~static_cast<unsigned>(POLLOUT);
  if (watcher->pevents != 0 && watcher->pevents != watcher->events) return;
  Remove(LinkOf(&watcher->watcher_queue));
  Init(LinkOf(&watcher->watcher_queue));
  if (watcher->pevents != 0) return;
  watcher->events = 0;
  uv_loop_t* loop = stream->loop;
  if (loop->watchers[watcher->fd] != watcher) return;
  loop->watchers[watcher->fd] = nullptr;
  --loop->nfds;
}

// uv__io_feed: libuv looks at the stream as if there were room.
void Feed(uv_stream_t* stream) {
  Link* pending = LinkOf(&stream->io_watcher.pending_queue);
  if (IsEmpty(pending)) Append(LinkOf(&stream->loop->pending_queue), pending);
}

// As uv__write_req_update does. Returns how many of `bytes` belong to the requests behind it.
size_t Consume(uv_write_t* request, size_t bytes) {
  while (request->write_index < request->nbufs) {
    uv_buf_t* buffer = &request->bufs[request->write_index];
    const size_t taken = std::min<size_t>(bytes, buffer->len);
    if (taken > 0) buffer->base += taken;
    buffer->len -= taken;
    bytes -= taken;
    if (buffer->len > 0) break;
    ++request->write_index;
  }
  return bytes;
}

void Complete(uv_stream_t* stream, uv_write_t* request, int error) {
  // bufs stay: only libuv knows what they were allocated with.
  request->error = error;
  Remove(LinkOf(&request->queue));
  Append(LinkOf(&stream->write_completed_queue), LinkOf(&request->queue));
}

// An error that is the socket's and that it may not say a second time.
bool IsOfSocket(ssize_t result) {
  switch (result) {
    case -EAGAIN:
    case -EBADF:
    case -ECANCELED:
    case -EFAULT:
    case -EINTR:
    case -EINVAL:
    case -EMSGSIZE:
    case -ENOBUFS:
    case -ENOMEM:
    case -EOPNOTSUPP:
      return false;
    default:
      return result < 0;
  }
}

// The holds in force on this thread; hardly ever more than one.
thread_local std::vector<uv_stream_t*> held;

}  // namespace

uv_stream_t* FindStream(uv_loop_t* loop, int fd) {
  if (fd < 0) return nullptr;
  Link* head = LinkOf(&loop->handle_queue);
  for (Link* link = head->prev; link != head; link = link->prev) {
    uv_handle_t* handle = HandleOf(link);
    const uv_handle_type type = uv_handle_get_type(handle);
    uv_os_fd_t has;
    // uv_fileno refuses a closing handle.
    if ((type == UV_TCP || type == UV_NAMED_PIPE) && uv_fileno(handle, &has) == 0 && has == fd)
      return reinterpret_cast<uv_stream_t*>(handle);
  }
  return nullptr;
}

void HoldWrites(uv_stream_t* stream) {
  held.push_back(stream);
  ++stream->write_queue_size;
}

void ReleaseWrites(uv_stream_t* stream) {
  const auto last = std::find(held.rbegin(), held.rend(), stream);
  if (last == held.rend()) return;
  URING_CHECK(stream->write_queue_size > 0);
  --stream->write_queue_size;
  held.erase(std::next(last).base());
}

size_t ReleaseHeldWrites() {
  const size_t count = held.size();
  for (uv_stream_t* stream : held) --stream->write_queue_size;
  held.clear();
  return count;
}

bool HasQueuedWrites(const uv_stream_t* stream) { return !IsEmpty(LinkOf(&stream->write_queue)); }

bool WaitsForRoom(const uv_stream_t* stream) {
  return (stream->io_watcher.pevents & stream->io_watcher.events & POLLOUT) != 0;
}

size_t CollectWrites(uv_stream_t* stream, size_t skip_requests, const CollectLimits& limits,
                     std::vector<iovec>* out, size_t* bytes) {
  if (stream->connect_req != nullptr || IsClosing(stream)) return 0;
  Link* head = LinkOf(&stream->write_queue);
  Link* link = head->next;
  for (; link != head && skip_requests > 0; --skip_requests) link = link->next;
  size_t requests = 0;
  size_t iovecs = 0;
  size_t total = 0;
  for (; link != head; link = link->next) {
    const uv_write_t* request = RequestOf(link);
    const size_t size = BytesOf(request);
    if (request->send_handle != nullptr || size == 0 || size > limits.bytes - total) break;
    const size_t count = request->nbufs - request->write_index;
    if (count > limits.iovecs - iovecs) break;
    for (unsigned i = request->write_index; i < request->nbufs; ++i)
      out->push_back({request->bufs[i].base, request->bufs[i].len});
    iovecs += count;
    total += size;
    ++requests;
  }
  if (requests > 0) ForgetRoom(stream);
  *bytes += total;
  return requests;
}

void AdvanceWrites(uv_stream_t* stream, ssize_t result) {
  Link* queue = LinkOf(&stream->write_queue);
  size_t bytes = result > 0 ? result : 0;
  URING_CHECK(stream->write_queue_size >= bytes);
  stream->write_queue_size -= bytes;
  while (bytes > 0) {
    URING_CHECK(!IsEmpty(queue));
    uv_write_t* request = RequestOf(queue->next);
    URING_CHECK(request->send_handle == nullptr);
    bytes = Consume(request, bytes);
    if (request->write_index == request->nbufs) Complete(stream, request, 0);
  }
  if (IsOfSocket(result) && !IsEmpty(queue))
    Complete(stream, RequestOf(queue->next), static_cast<int>(result));
  // A closing stream is finished without, and one that connects would take it for the connection.
  if (IsClosing(stream) || stream->connect_req != nullptr) return;
  if (!IsEmpty(queue) || !IsEmpty(LinkOf(&stream->write_completed_queue))) Feed(stream);
}

namespace {

struct Rest {
  uv_write_t request;
  void (*done)(void* data, int status);
  void* data;
  // The bytes are behind it.
};

void FreeRest(uv_write_t* request, int status) {
  Rest* rest = reinterpret_cast<Rest*>(request);
  const auto done = rest->done;
  void* data = rest->data;
  std::free(rest);
  if (done != nullptr) done(data, status);
}

}  // namespace

int QueueRest(uv_stream_t* stream, const uint8_t* bytes, size_t length,
              void (*done)(void* data, int status), void* data) {
  // Lifetime: libuv's until FreeRest, which comes even when the stream is closed.
  Rest* rest = static_cast<Rest*>(std::malloc(sizeof(Rest) + length));
  if (rest == nullptr) return UV_ENOMEM;
  rest->done = done;
  rest->data = data;
  char* copy = reinterpret_cast<char*>(rest + 1);
  std::memcpy(copy, bytes, length);
  const uv_buf_t buffer = uv_buf_init(copy, length);
  const int error = uv_write(&rest->request, stream, &buffer, 1, FreeRest);
  if (error != 0) std::free(rest);
  return error;
}

// The proof. What is only read is proven before anything is written, and addresses are compared
// before they are followed: with another layout than ours it has to come to a reason, not to a
// crash. After a fact that does not hold nothing of the trial is touched again, its memory and
// descriptors stay: to close them could make libuv look at what we changed.
namespace {

constexpr size_t kPayloadBytes = 40 * 1024;
constexpr size_t kLargeBytes = 16 * 1024;
constexpr int kTurnsMax = 200;

struct TrialWrite {
  uv_write_t request;  // first: the callback is given its address
  int calls = 0;
  int status = 1;
  int order = 0;
};

struct Trial;

struct Side {
  Trial* trial = nullptr;
  uv_stream_t* stream = nullptr;
  int fd = -1;
  int peer = -1;
  size_t written = 0;
  size_t received = 0;
  size_t reads = 0;
  int closed = 0;
};

struct Trial {
  uv_loop_t loop;
  uv_tcp_t tcp;
  uv_pipe_t pipe;
  uv_pipe_t shut;
  uv_pipe_t unconnected;
  uv_connect_t connect;
  uv_shutdown_t shutdown;
  TrialWrite writes[6];
  Side sides[3];  // of tcp, pipe and shut
  int scratch[2] = {-1, -1};
  int calls = 0;
  int connect_status = 1;
  int shutdown_order = 0;
  int shutdown_status = 1;
  bool ours = false;   // in a function of ours: no callback may come
  bool depth = false;  // one did
  char payload[kPayloadBytes];
  char sink[kPayloadBytes];
};

// libuv hands a request back, which says whose it is only by its address.
thread_local Trial* trial_now = nullptr;

void OnWritten(uv_write_t* request, int status) {
  TrialWrite* write = reinterpret_cast<TrialWrite*>(request);
  ++write->calls;
  write->status = status;
  write->order = ++trial_now->calls;
  if (trial_now->ours) trial_now->depth = true;
}

void OnConnected(uv_connect_t*, int status) { trial_now->connect_status = status; }

void OnShutdown(uv_shutdown_t*, int status) {
  trial_now->shutdown_status = status;
  trial_now->shutdown_order = ++trial_now->calls;
}

Side* SideOf(const void* handle) {
  for (Side& side : trial_now->sides)
    if (side.stream == handle) return &side;
  return nullptr;
}

void OnClosed(uv_handle_t* handle) {
  ++trial_now->calls;
  if (Side* side = SideOf(handle)) side->closed = trial_now->calls;
}

void OnAlloc(uv_handle_t*, size_t, uv_buf_t* buffer) {
  *buffer = uv_buf_init(trial_now->sink, sizeof(trial_now->sink));
}

void OnRead(uv_stream_t* stream, ssize_t length, const uv_buf_t*) {
  if (length > 0) SideOf(stream)->reads += length;
}

void Turn(Trial* trial) { uv_run(&trial->loop, UV_RUN_NOWAIT); }

// Whether `count` pointers can be read there; the kernel looks, so that we need not.
bool CanRead(Trial* trial, const void* at, size_t count) {
  const auto bytes = static_cast<ssize_t>(count * sizeof(void*));
  if (reinterpret_cast<uintptr_t>(at) % sizeof(void*) != 0) return false;
  if (send(trial->scratch[0], at, bytes, MSG_DONTWAIT | MSG_NOSIGNAL) != bytes) return false;
  return recv(trial->scratch[1], trial->sink, bytes, MSG_DONTWAIT) == bytes;
}

bool MakePair(int pair[2]) {
  return socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0;
}

uv_buf_t NextBytes(Side* side, size_t length) {
  const uv_buf_t buffer = uv_buf_init(side->trial->payload + side->written, length);
  side->written += length;
  return buffer;
}

// `count` buffers of `length` bytes each, the next of the payload.
int Write(Side* side, TrialWrite* write, unsigned count, size_t length) {
  uv_buf_t buffers[8];
  for (unsigned i = 0; i < count; ++i) buffers[i] = NextBytes(side, length);
  *write = TrialWrite();
  return uv_write(&write->request, side->stream, buffers, count, OnWritten);
}

int WriteHeld(Side* side, TrialWrite* write, unsigned count, size_t length) {
  HoldWrites(side->stream);
  const int error = Write(side, write, count, length);
  ReleaseWrites(side->stream);
  return error;
}

// Takes what has come to the peer; false if it is not the next of the payload.
bool Drain(Side* side) {
  Trial* trial = side->trial;
  for (;;) {
    const ssize_t length = recv(side->peer, trial->sink, sizeof(trial->sink), MSG_DONTWAIT);
    if (length <= 0) return true;
    if (side->received + length > side->written) return false;
    if (std::memcmp(trial->sink, trial->payload + side->received, length) != 0) return false;
    side->received += length;
  }
}

bool DrainAll(Side* side) { return Drain(side) && side->received == side->written; }

ssize_t SendNow(Side* side, std::vector<iovec>* list, size_t limit) {
  msghdr message = {};
  for (iovec& item : *list) {
    item.iov_len = std::min(item.iov_len, limit);
    limit -= item.iov_len;
  }
  message.msg_iov = list->data();
  message.msg_iovlen = list->size();
  const ssize_t sent = sendmsg(side->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  return sent < 0 ? -errno : sent;
}

void Advance(Side* side, ssize_t result) {
  side->trial->ours = true;
  AdvanceWrites(side->stream, result);
  side->trial->ours = false;
}

bool WasCalled(const TrialWrite& write, int status) {
  return write.calls == 1 && write.status == status;
}

// Exactly one link in this queue.
bool Holds(const Link* head, const Link* link) {
  return head->next == link && head->prev == link && link->next == head && link->prev == head;
}

// Runs the loop and takes at the peer until the write has ended.
bool RunUntilDone(Side* side, const TrialWrite& write) {
  for (int i = 0; i < kTurnsMax && write.calls == 0; ++i) {
    if (!Drain(side)) return false;
    Turn(side->trial);
  }
  return write.calls == 1;
}

#define PROVE(condition, reason)     \
  do {                               \
    if (!(condition)) return reason; \
  } while (0)

const char* ProveSizes() {
  PROVE(uv_version() >> 16 == 1, "1: libuv is not of major version 1");
  PROVE(uv_loop_size() == sizeof(uv_loop_t), "1: size of uv_loop_t");
  PROVE(uv_handle_size(UV_TCP) == sizeof(uv_tcp_t), "1: size of uv_tcp_t");
  PROVE(uv_handle_size(UV_NAMED_PIPE) == sizeof(uv_pipe_t), "1: size of uv_pipe_t");
  PROVE(uv_handle_size(UV_STREAM) == sizeof(uv_stream_t), "1: size of uv_stream_t");
  PROVE(uv_handle_size(UV_HANDLE) == sizeof(uv_handle_t), "1: size of uv_handle_t");
  PROVE(uv_req_size(UV_WRITE) == sizeof(uv_write_t), "1: size of uv_write_t");
  PROVE(uv_req_size(UV_CONNECT) == sizeof(uv_connect_t), "1: size of uv_connect_t");
  PROVE(uv_req_size(UV_SHUTDOWN) == sizeof(uv_shutdown_t), "1: size of uv_shutdown_t");
  return nullptr;
}

const char* ProveNew(const uv_stream_t* stream) {
  const uv__io_t* watcher = &stream->io_watcher;
  for (const Link* link : {LinkOf(&stream->write_queue), LinkOf(&stream->write_completed_queue),
                           LinkOf(&watcher->pending_queue), LinkOf(&watcher->watcher_queue)}) {
    PROVE(link->next == link && link->prev == link, "3: a queue of a new stream is not empty");
  }
  PROVE(stream->write_queue_size == 0, "3: write_queue_size of a new stream");
  PROVE(stream->connect_req == nullptr, "3: connect_req of a new stream");
  PROVE(watcher->pevents == 0 && watcher->events == 0, "3: a new stream is watched");
  PROVE(watcher->fd == -1, "3: descriptor of a new stream");
  return nullptr;
}

const char* ProveHandles(Trial* trial) {
  int pairs[3][2];
  PROVE(MakePair(trial->scratch), "no socket pairs");
  for (auto& pair : pairs) PROVE(MakePair(pair), "no socket pairs");
  PROVE(uv_loop_init(&trial->loop) == 0, "no loop");
  uv_loop_t* loop = &trial->loop;
  const Link* handles = LinkOf(&loop->handle_queue);
  const Link* tcp = LinkOf(&trial->tcp.handle_queue);
  const Link* pipe = LinkOf(&trial->pipe.handle_queue);
  PROVE(uv_tcp_init(loop, &trial->tcp) == 0, "no TCP handle");
  PROVE(handles->prev == tcp && tcp->next == handles, "2: the newest handle is not the last");
  PROVE(uv_pipe_init(loop, &trial->pipe, 0) == 0, "no pipe handle");
  PROVE(handles->prev == pipe && pipe->next == handles && pipe->prev == tcp && tcp->next == pipe,
        "2: the newest handle is not the last");
  PROVE(uv_pipe_init(loop, &trial->shut, 0) == 0, "no pipe handle");
  trial->sides[0].stream = reinterpret_cast<uv_stream_t*>(&trial->tcp);
  trial->sides[1].stream = reinterpret_cast<uv_stream_t*>(&trial->pipe);
  trial->sides[2].stream = reinterpret_cast<uv_stream_t*>(&trial->shut);
  for (int i = 0; i < 3; ++i) {
    Side* side = &trial->sides[i];
    side->trial = trial;
    side->fd = pairs[i][0];
    side->peer = pairs[i][1];
    PROVE(side->stream->loop == loop, "3: loop of a new stream");
    if (const char* reason = ProveNew(side->stream)) return reason;
    // The smallest that the kernel grants, so that a large write waits.
    const int least = 1;
    setsockopt(side->fd, SOL_SOCKET, SO_SNDBUF, &least, sizeof(least));
  }
  PROVE(uv_tcp_open(&trial->tcp, pairs[0][0]) == 0, "a TCP handle cannot be opened");
  PROVE(uv_pipe_open(&trial->pipe, pairs[1][0]) == 0, "a pipe handle cannot be opened");
  PROVE(uv_pipe_open(&trial->shut, pairs[2][0]) == 0, "a pipe handle cannot be opened");
  for (const Side& side : trial->sides) {
    PROVE(side.stream->io_watcher.fd == side.fd, "3: descriptor of a stream");
    PROVE(FindStream(loop, side.fd) == side.stream, "2: a stream is not found");
    PROVE(FindStream(loop, side.peer) == nullptr, "2: a stream is found that is none");
  }
  return nullptr;
}

const char* ProveConnecting(Trial* trial) {
  PROVE(uv_pipe_init(&trial->loop, &trial->unconnected, 0) == 0, "no pipe handle");
  uv_stream_t* stream = reinterpret_cast<uv_stream_t*>(&trial->unconnected);
  // There is no such thing, which is told later.
  uv_pipe_connect(&trial->connect, &trial->unconnected, "/dev/null/none", OnConnected);
  PROVE(stream->connect_req == &trial->connect, "7: connect_req while connecting");
  Turn(trial);
  PROVE(trial->connect_status < 0, "7: a connect did not end");
  PROVE(stream->connect_req == nullptr, "7: connect_req after connecting");
  uv_close(AsHandle(stream), OnClosed);
  Turn(trial);
  return nullptr;
}

const char* ProveWriteAtOnce(Side* side) {
  Trial* trial = side->trial;
  uv_stream_t* stream = side->stream;
  TrialWrite* write = &trial->writes[0];
  const Link* fed = LinkOf(&trial->loop.pending_queue);
  const Link* pending = LinkOf(&stream->io_watcher.pending_queue);
  PROVE(fed->next == fed && fed->prev == fed, "4: pending_queue of a new loop");
  PROVE(Write(side, write, 1, 8) == 0 && DrainAll(side), "4: a write did not leave");
  PROVE(!HasQueuedWrites(stream) && stream->write_queue_size == 0, "4: a finished write is queued");
  PROVE(Holds(LinkOf(&stream->write_completed_queue), LinkOf(&write->request.queue)),
        "4: a finished write is not in write_completed_queue");
  PROVE(RequestOf(LinkOf(&stream->write_completed_queue)->next) == &write->request,
        "4: place of the queue in a request");
  PROVE(Holds(fed, pending), "4: io_watcher is not in pending_queue");
  PROVE(uv_backend_timeout(&trial->loop) == 0, "4: the loop would sleep");
  PROVE(write->calls == 0, "4: a callback came too early");
  Turn(trial);
  PROVE(WasCalled(*write, 0), "4: callback of a finished write");
  PROVE(IsEmpty(fed) && IsEmpty(pending), "4: pending_queue after the turn");
  PROVE(IsEmpty(LinkOf(&stream->write_completed_queue)), "4: write_completed_queue after the turn");
  return nullptr;
}

const char* ProveRequest(const TrialWrite& write, const uv_stream_t* stream, unsigned count) {
  const uv_write_t* request = &write.request;
  PROVE(request->nbufs == count && request->write_index == 0, "5: nbufs or write_index");
  PROVE(request->error == 0 && request->send_handle == nullptr, "5: error or send_handle");
  PROVE(request->handle == stream, "5: handle of a request");
  PROVE(count > std::size(request->bufsml) || request->bufs == request->bufsml, "5: bufs");
  return nullptr;
}

const char* ProveWaiting(Side* side, bool reading) {
  Trial* trial = side->trial;
  uv_loop_t* loop = &trial->loop;
  uv_stream_t* stream = side->stream;
  uv__io_t* watcher = &stream->io_watcher;
  TrialWrite* writes = trial->writes;
  const Link* changed = LinkOf(&loop->watcher_queue);
  const Link* link = LinkOf(&watcher->watcher_queue);
  const unsigned known = reading ? POLLIN : 0;
  const unsigned nfds = loop->nfds;
  PROVE(changed->next == changed && changed->prev == changed, "6: watcher_queue between turns");
  PROVE(watcher->pevents == known && watcher->events == known, "6: pevents or events at rest");

  char* large = trial->payload + side->written;
  PROVE(Write(side, &writes[0], 1, kLargeBytes) == 0, "5: a large write failed");
  PROVE(Write(side, &writes[1], 6, 8) == 0 && Write(side, &writes[2], 2, 8) == 0,
        "5: a write behind a large one failed");
  for (int i = 0; i < 3; ++i) {
    if (const char* reason = ProveRequest(writes[i], stream, i == 0 ? 1 : i == 1 ? 6 : 2))
      return reason;
  }
  const Link* queue = LinkOf(&stream->write_queue);
  const Link* links[] = {queue, LinkOf(&writes[0].request.queue), LinkOf(&writes[1].request.queue),
                         LinkOf(&writes[2].request.queue), queue};
  for (int i = 0; i < 4; ++i)
    PROVE(links[i]->next == links[i + 1] && links[i + 1]->prev == links[i],
          "5: order of the queue");
  const uv_buf_t* rest = writes[0].request.bufs;
  PROVE(rest->len > 0 && rest->len < kLargeBytes && rest->base == large + kLargeBytes - rest->len,
        "5: a write that was short");
  PROVE(CanRead(trial, writes[1].request.bufs, 12), "5: bufs of a long request");
  PROVE(writes[1].request.bufs[5].base == large + kLargeBytes + 40 &&
            writes[1].request.bufs[5].len == 8,
        "5: bufs of a long request");
  PROVE(stream->write_queue_size == rest->len + 64 &&
            uv_stream_get_write_queue_size(stream) == rest->len + 64,
        "5: write_queue_size");

  PROVE(watcher->pevents == (known | POLLOUT) && watcher->events == known,
        "6: pevents or events of a write that waits");
  PROVE(Holds(changed, link), "6: the watcher is not in watcher_queue");
  PROVE(loop->nfds == nfds + (reading ? 0 : 1), "6: nfds");
  PROVE(loop->nwatchers > static_cast<unsigned>(side->fd), "6: nwatchers");
  PROVE(CanRead(trial, loop->watchers, loop->nwatchers < 16 ? loop->nwatchers : 16) &&
            CanRead(trial, loop->watchers + side->fd, 1),
        "6: watchers");
  PROVE(loop->watchers[side->fd] == watcher, "6: watchers");
  PROVE(!WaitsForRoom(stream), "6: the kernel was told too early");
  Turn(trial);
  PROVE(watcher->events == (known | POLLOUT) && WaitsForRoom(stream) && IsEmpty(changed) &&
            IsEmpty(link),
        "6: what the kernel was told");
  PROVE(writes[0].calls == 0, "5: a write that waits has ended");
  PROVE(RunUntilDone(side, writes[2]) && DrainAll(side), "5: writes that waited did not leave");
  for (int i = 0; i < 3; ++i) PROVE(WasCalled(writes[i], 0), "5: callback of a write that waited");
  PROVE(stream->write_queue_size == 0 && !HasQueuedWrites(stream), "5: the queue is not empty");
  Turn(trial);
  PROVE(watcher->pevents == known && watcher->events == known && loop->nfds == nfds,
        "6: pevents or nfds after the last write");
  return nullptr;
}

const char* StartReading(Side* side) {
  PROVE(uv_read_start(side->stream, OnAlloc, OnRead) == 0, "6: no reading");
  PROVE(side->stream->io_watcher.pevents == POLLIN, "6: pevents of a stream that reads");
  Turn(side->trial);
  PROVE(side->stream->io_watcher.events == POLLIN, "6: events of a stream that reads");
  return nullptr;
}

// From here on we write.
const char* ProveHeld(Side* side, bool reading) {
  Trial* trial = side->trial;
  uv_loop_t* loop = &trial->loop;
  uv_stream_t* stream = side->stream;
  uv__io_t* watcher = &stream->io_watcher;
  TrialWrite* writes = trial->writes;
  const unsigned known = reading ? POLLIN : 0;
  const unsigned nfds = loop->nfds;
  const uv_buf_t probe = uv_buf_init(trial->payload, 1);
  HoldWrites(stream);
  const int tried = uv_try_write(stream, &probe, 1);
  ReleaseWrites(stream);
  PROVE(tried == UV_EAGAIN, "8: uv_try_write writes");
  PROVE(WriteHeld(side, &writes[0], 1, 8) == 0 && WriteHeld(side, &writes[1], 6, 8) == 0,
        "8: uv_write fails");
  PROVE(recv(side->peer, trial->sink, 1, MSG_DONTWAIT) == -1, "8: uv_write writes");
  PROVE(stream->write_queue_size == 56 && watcher->pevents == (known | POLLOUT) &&
            watcher->events == known && watcher->fd == side->fd,
        "8: a held write");

  std::vector<iovec> list;
  size_t bytes = 0;
  PROVE(CollectWrites(stream, 0, {}, &list, &bytes) == 2 && bytes == 56 && list.size() == 7,
        "9: what was collected");
  PROVE(watcher->pevents == known && IsEmpty(LinkOf(&loop->watcher_queue)) && loop->nfds == nfds,
        "9: POLLOUT was not taken back");
  PROVE(SendNow(side, &list, bytes) == 56, "no room in a socket");
  Advance(side, 56);
  PROVE(!HasQueuedWrites(stream) && stream->write_queue_size == 0, "10: the queue is not empty");
  PROVE(uv_backend_timeout(loop) == 0, "10: the loop would sleep");
  if (reading) PROVE(send(side->peer, "r", 1, MSG_NOSIGNAL) == 1, "no room in a socket");
  const size_t reads = side->reads;
  Turn(trial);
  PROVE(!trial->depth, "10: a callback came too early");
  PROVE(
      WasCalled(writes[0], 0) && WasCalled(writes[1], 0) && writes[0].order + 1 == writes[1].order,
      "10: callbacks of what we sent");
  PROVE(side->reads == reads + (reading ? 1 : 0), "9: reading is disturbed");
  PROVE(watcher->pevents == known && watcher->events == known && loop->nfds == nfds,
        "9: pevents or nfds after our send");
  PROVE(DrainAll(side), "10: what we sent is not what came");
  return nullptr;
}

const char* ProveShort(Side* side) {
  uv_stream_t* stream = side->stream;
  TrialWrite* writes = side->trial->writes;
  // In the middle of a buffer, then nothing at all.
  for (const size_t sent : {size_t{27}, size_t{0}}) {
    PROVE(WriteHeld(side, &writes[0], 1, 8) == 0 && WriteHeld(side, &writes[1], 6, 8) == 0,
          "8: uv_write fails");
    std::vector<iovec> list;
    size_t bytes = 0;
    CollectWrites(stream, 0, {}, &list, &bytes);
    const ssize_t result = sent > 0 ? SendNow(side, &list, sent) : -EAGAIN;
    PROVE(sent == 0 || result == static_cast<ssize_t>(sent), "no room in a socket");
    Advance(side, result);
    PROVE(stream->write_queue_size == 56 - sent, "11: write_queue_size");
    PROVE(RunUntilDone(side, writes[1]), "11: libuv does not send the rest");
    PROVE(WasCalled(writes[0], 0) && WasCalled(writes[1], 0), "11: callbacks");
    PROVE(DrainAll(side), "11: the rest is not what was left");
    PROVE(stream->write_queue_size == 0 && !side->trial->depth, "11: write_queue_size");
  }
  return nullptr;
}

const char* ProveFailed(Side* side) {
  uv_stream_t* stream = side->stream;
  TrialWrite* writes = side->trial->writes;
  const size_t start = side->written;
  PROVE(WriteHeld(side, &writes[0], 6, 8) == 0 && WriteHeld(side, &writes[1], 1, 8) == 0,
        "8: uv_write fails");
  std::vector<iovec> list;
  size_t bytes = 0;
  CollectWrites(stream, 0, {}, &list, &bytes);
  Advance(side, -ECONNRESET);
  PROVE(stream->write_queue_size == 56, "12: write_queue_size after an error");
  side->received = start + 48;  // these are lost
  Turn(side->trial);
  PROVE(WasCalled(writes[0], UV_ECONNRESET) && WasCalled(writes[1], 0), "12: callbacks");
  PROVE(stream->write_queue_size == 0 && DrainAll(side), "12: what is behind an error");
  return nullptr;
}

const char* ProveShutdown(Side* side) {
  Trial* trial = side->trial;
  uv_stream_t* stream = side->stream;
  TrialWrite* write = &trial->writes[0];
  PROVE(WriteHeld(side, write, 1, 8) == 0, "8: uv_write fails");
  std::vector<iovec> list;
  size_t bytes = 0;
  PROVE(uv_shutdown(&trial->shutdown, stream, OnShutdown) == 0, "10: no shutdown");
  CollectWrites(stream, 0, {}, &list, &bytes);
  Advance(side, SendNow(side, &list, bytes));
  PROVE(trial->shutdown_order == 0, "10: shutdown came too early");
  Turn(trial);
  PROVE(WasCalled(*write, 0) && trial->shutdown_status == 0 &&
            trial->shutdown_order == write->order + 1,
        "10: shutdown behind what we sent");
  PROVE(DrainAll(side), "10: what we sent is not what came");
  PROVE(recv(side->peer, trial->sink, 1, MSG_DONTWAIT) == 0, "10: no end of stream");
  return nullptr;
}

const char* ProveClose(Side* side, bool before) {
  uv_stream_t* stream = side->stream;
  TrialWrite* writes = side->trial->writes;
  for (int i = 0; i < 3; ++i) PROVE(WriteHeld(side, &writes[i], 6, 8) == 0, "8: uv_write fails");
  std::vector<iovec> list;
  size_t bytes = 0;
  PROVE(CollectWrites(stream, 1, {}, &list, &bytes) == 2, "13: what was collected");
  list.clear();
  CollectWrites(stream, 0, {}, &list, &bytes);
  const ssize_t sent = SendNow(side, &list, 50);
  if (before) Advance(side, sent);
  HoldWrites(stream);
  uv_close(AsHandle(stream), OnClosed);
  ReleaseWrites(stream);
  if (!before) Advance(side, sent);
  PROVE(FindStream(stream->loop, side->fd) == nullptr, "2: a closing stream is found");
  Turn(side->trial);
  PROVE(!side->trial->depth && WasCalled(writes[0], 0) && WasCalled(writes[1], UV_ECANCELED) &&
            WasCalled(writes[2], UV_ECANCELED),
        "13: callbacks of a closed stream");
  PROVE(side->closed > writes[2].order, "13: the close callback is not the last");
  PROVE(Drain(side) && side->received + 94 == side->written, "13: what was sent before the close");
  PROVE(recv(side->peer, side->trial->sink, 1, MSG_DONTWAIT) == 0, "13: no end of stream");
  return nullptr;
}

const char* ProveSide(Side* side) {
  const char* reason = ProveWriteAtOnce(side);
  if (reason == nullptr) reason = ProveWaiting(side, false);
  if (reason == nullptr) reason = StartReading(side);
  if (reason == nullptr) reason = ProveWaiting(side, true);
  if (reason == nullptr) reason = ProveHeld(side, true);
  if (reason != nullptr) return reason;
  uv_read_stop(side->stream);
  reason = ProveHeld(side, false);
  if (reason == nullptr) reason = ProveShort(side);
  if (reason == nullptr) reason = ProveFailed(side);
  return reason;
}

const char* Prove(Trial* trial) {
  for (size_t i = 0; i < kPayloadBytes; ++i)
    trial->payload[i] = static_cast<char>(i * 31 + (i >> 8) * 7);
  const char* reason = ProveHandles(trial);
  if (reason == nullptr) reason = ProveConnecting(trial);
  if (reason == nullptr) reason = ProveSide(&trial->sides[0]);
  if (reason == nullptr) reason = ProveSide(&trial->sides[1]);
  if (reason == nullptr) reason = ProveClose(&trial->sides[0], true);
  if (reason == nullptr) reason = ProveClose(&trial->sides[1], false);
  if (reason == nullptr) reason = ProveShutdown(&trial->sides[2]);
  if (reason != nullptr) return reason;
  uv_close(AsHandle(trial->sides[2].stream), OnClosed);
  Turn(trial);
  PROVE(!uv_loop_alive(&trial->loop) && uv_loop_close(&trial->loop) == 0, "13: the loop is in use");
  for (const Side& side : trial->sides) close(side.peer);
  close(trial->scratch[0]);
  close(trial->scratch[1]);
  return nullptr;
}

#undef PROVE

const char* ProveOnce() {
  if (const char* reason = ProveSizes()) return reason;
  Trial* trial = new (std::nothrow) Trial;
  if (trial == nullptr) return "no memory";
  trial_now = trial;
  const char* reason = Prove(trial);
  trial_now = nullptr;
  if (reason == nullptr) delete trial;
  return reason;
}

}  // namespace

const char* ProveLibuv() {
  static const char* const reason = ProveOnce();
  return reason;
}

}  // namespace uring_net
