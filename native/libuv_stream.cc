// A loop's streams by descriptor; see libuv_stream.h. libuv promises none of the following, which
// was read in include/uv.h and src/queue.h of 1.44.2 to 1.52.1. ProveLibuv() tries each.
//
//  1. Major version 1, and the structs have the sizes of the headers that this was compiled with.
//  2. A queue is a ring of {next, prev}. All handles of a loop are in its handle_queue, by their
//     member of that name, the newest at the end.
#include "libuv_stream.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <mutex>
#include <utility>

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

uv_handle_t* HandleOf(Link* link) {
  return reinterpret_cast<uv_handle_t*>(reinterpret_cast<char*>(link) -
                                        offsetof(uv_handle_t, handle_queue));
}

bool IsStream(const uv_handle_t* handle, int fd) {
  const uv_handle_type type = uv_handle_get_type(handle);
  uv_os_fd_t has;
  // uv_fileno refuses a closing handle.
  return (type == UV_TCP || type == UV_NAMED_PIPE) && uv_fileno(handle, &has) == 0 && has == fd;
}

}  // namespace

uv_stream_t* FindStream(uv_loop_t* loop, int fd, uv_stream_t* near) {
  if (fd < 0) return nullptr;
  Link* head = LinkOf(&loop->handle_queue);
  Link* newer =
      near == nullptr ? head : LinkOf(&reinterpret_cast<uv_handle_t*>(near)->handle_queue)->next;
  for (Link* link = head->prev; link != head; link = link->prev) {
    if (IsStream(HandleOf(link), fd)) return reinterpret_cast<uv_stream_t*>(HandleOf(link));
    if (newer == head) continue;
    if (IsStream(HandleOf(newer), fd)) return reinterpret_cast<uv_stream_t*>(HandleOf(newer));
    newer = newer->next;
  }
  return nullptr;
}

bool HasQueuedWrites(const uv_stream_t* stream) {
  return uv_stream_get_write_queue_size(stream) > 0;
}

int QueueRest(uv_stream_t* stream, const uint8_t* bytes, size_t length) {
  // The bytes are behind the request. Lifetime: libuv's until the callback, which comes even when
  // the stream is closed.
  auto* request = static_cast<uv_write_t*>(std::malloc(sizeof(uv_write_t) + length));
  if (request == nullptr) return UV_ENOMEM;
  const uv_buf_t copy = uv_buf_init(reinterpret_cast<char*>(request + 1), length);
  std::memcpy(copy.base, bytes, length);
  const auto free_request = [](uv_write_t* ended, int) { std::free(ended); };
  const int error = uv_write(request, stream, &copy, 1, free_request);
  if (error != 0) std::free(request);
  return error;
}

// The proof. Addresses are compared before they are followed: with another layout than ours it has
// to come to a reason, not to a crash.
namespace {

#define PROVE(condition, reason)     \
  do {                               \
    if (!(condition)) return reason; \
  } while (0)

const char* ProveSizes() {
  PROVE(uv_version() >> 16 == 1, "1: libuv is not of major version 1");
  PROVE(uv_loop_size() == sizeof(uv_loop_t), "1: size of uv_loop_t");
  PROVE(uv_handle_size(UV_HANDLE) == sizeof(uv_handle_t), "1: size of uv_handle_t");
  PROVE(uv_handle_size(UV_STREAM) == sizeof(uv_stream_t), "1: size of uv_stream_t");
  PROVE(uv_handle_size(UV_TCP) == sizeof(uv_tcp_t), "1: size of uv_tcp_t");
  PROVE(uv_handle_size(UV_NAMED_PIPE) == sizeof(uv_pipe_t), "1: size of uv_pipe_t");
  PROVE(uv_req_size(UV_WRITE) == sizeof(uv_write_t), "1: size of uv_write_t");
  return nullptr;
}

// One end of a pair as a TCP handle, the other as a pipe: libuv does not mind.
struct Trial {
  uv_loop_t loop;
  uv_tcp_t tcp;
  uv_pipe_t pipe;
  int pair[2] = {-1, -1};
};

const char* ProveQueue(Trial* trial) {
  uv_loop_t* loop = &trial->loop;
  const Link* all = LinkOf(&loop->handle_queue);
  const Link* tcp = LinkOf(&trial->tcp.handle_queue);
  const Link* pipe = LinkOf(&trial->pipe.handle_queue);
  PROVE(all->prev == pipe && pipe->next == all, "2: the newest handle is not the last");
  PROVE(pipe->prev == tcp && tcp->next == pipe, "2: the second newest is not before it");
  PROVE(uv_tcp_open(&trial->tcp, trial->pair[0]) == 0, "a TCP handle cannot be opened");
  const int opened = std::exchange(trial->pair[0], -1);
  PROVE(uv_pipe_open(&trial->pipe, trial->pair[1]) == 0, "a pipe handle cannot be opened");
  const int peer = std::exchange(trial->pair[1], -1);
  const auto* stream = reinterpret_cast<uv_stream_t*>(&trial->tcp);
  PROVE(FindStream(loop, opened) == stream, "2: a TCP handle is not found");
  stream = reinterpret_cast<uv_stream_t*>(&trial->pipe);
  PROVE(FindStream(loop, peer) == stream, "2: a pipe handle is not found");
  // Through all of them: the loop has handles of its own.
  PROVE(FindStream(loop, uv_backend_fd(loop)) == nullptr, "2: a stream is found that is none");
  uv_close(reinterpret_cast<uv_handle_t*>(&trial->tcp), nullptr);
  PROVE(FindStream(loop, opened) == nullptr, "2: a closing stream is found");
  return nullptr;
}

void CleanUp(Trial* trial) {
  // Nothing of it was written by us, so libuv can do it whatever we think of the layout.
  for (auto* handle :
       {reinterpret_cast<uv_handle_t*>(&trial->tcp), reinterpret_cast<uv_handle_t*>(&trial->pipe)})
    if (!uv_is_closing(handle)) uv_close(handle, nullptr);
  uv_run(&trial->loop, UV_RUN_DEFAULT);
  uv_loop_close(&trial->loop);
}

const char* ProveOnce() {
  if (const char* reason = ProveSizes()) return reason;
  Trial trial;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, trial.pair) == -1) return "no sockets";
  const char* reason = "no loop";
  if (uv_loop_init(&trial.loop) == 0) {
    uv_tcp_init(&trial.loop, &trial.tcp);
    uv_pipe_init(&trial.loop, &trial.pipe, 0);
    reason = ProveQueue(&trial);
    CleanUp(&trial);
  }
  for (const int fd : trial.pair)
    if (fd != -1) close(fd);
  return reason;
}

#undef PROVE

}  // namespace

const char* ProveLibuv() {
  // Several threads may ask for the first time at once.
  static std::mutex mutex;
  static bool is_known = false;
  static const char* reason = nullptr;
  const std::lock_guard<std::mutex> lock(mutex);
  if (!std::exchange(is_known, true)) reason = ProveOnce();
  return reason;
}

}  // namespace uring_net
