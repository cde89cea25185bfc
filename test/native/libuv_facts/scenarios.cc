// native/libuv_stream.cc with nothing of the engine around it, in scenarios that its proof leaves
// out because they say no more about libuv. Each runs on a loop and sockets of its own.
#include <node_api.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "libuv_stream.h"

namespace {

using uring_net::AdvanceWrites;
using uring_net::CollectLimits;
using uring_net::CollectWrites;
using uring_net::FindStream;
using uring_net::HasQueuedWrites;
using uring_net::HoldWrites;
using uring_net::QueueRest;
using uring_net::ReleaseHeldWrites;
using uring_net::ReleaseWrites;
using uring_net::WaitsForRoom;

// Text of the first expectation that did not hold.
std::string failure;

#define STRING(x) #x
#define LINE(x) STRING(x)
#define EXPECT(condition)                                                                  \
  do {                                                                                     \
    if (!(condition) && failure.empty()) failure = "line " LINE(__LINE__) ": " #condition; \
  } while (0)

struct Write {
  uv_write_t request;
  std::string bytes;
  int calls = 0;
  int status = 1;
  int order = 0;
};

int written = 0;
int ended = 0;
int end_status = 1;

void OnWritten(uv_write_t* request, int status) {
  Write* write = reinterpret_cast<Write*>(request);
  ++write->calls;
  write->status = status;
  write->order = ++written;
}

void OnEnded(void* data, int status) {
  ++ended;
  end_status = status;
  EXPECT(data == &ended);
}

// One end is a stream of libuv, the other a plain descriptor.
struct Rig {
  uv_loop_t loop;
  uv_pipe_t pipe;
  uv_stream_t* stream = reinterpret_cast<uv_stream_t*>(&pipe);
  int fd = -1;
  int peer = -1;
  std::string sent;
  std::string came;
  std::deque<Write> writes;
  bool closed = false;

  explicit Rig(int ipc = 0) {
    int pair[2];
    EXPECT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
    fd = pair[0];
    peer = pair[1];
    const int least = 1;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &least, sizeof(least));
    EXPECT(uv_loop_init(&loop) == 0);
    EXPECT(uv_pipe_init(&loop, &pipe, ipc) == 0);
    EXPECT(uv_pipe_open(&pipe, fd) == 0);
  }

  ~Rig() {
    if (!closed) Close();
    Turn();
    EXPECT(uv_loop_close(&loop) == 0);
    for (const Write& write : writes) EXPECT(write.calls == 1);
    if (peer != -1) close(peer);
  }

  void Turn() { uv_run(&loop, UV_RUN_NOWAIT); }

  void Close() {
    closed = true;
    uv_close(reinterpret_cast<uv_handle_t*>(stream), nullptr);
  }

  std::string Next(size_t length) {
    std::string bytes;
    for (size_t i = 0; i < length; ++i) {
      const size_t at = sent.size() + i;
      bytes.push_back(static_cast<char>(at * 31 + (at >> 8) * 7));
    }
    sent += bytes;
    return bytes;
  }

  Write* Queue(size_t length, unsigned pieces = 1, uv_stream_t* handle = nullptr) {
    Write* write = &writes.emplace_back();
    write->bytes = Next(length);
    std::vector<uv_buf_t> buffers;
    size_t at = 0;
    for (unsigned i = 0; i < pieces; ++i) {
      const size_t part = i + 1 == pieces ? length - at : length / pieces;
      buffers.push_back(uv_buf_init(write->bytes.data() + at, part));
      at += part;
    }
    const int error = uv_write2(&write->request, stream, buffers.data(), pieces, handle, OnWritten);
    EXPECT(error == 0);
    return write;
  }

  Write* QueueHeld(size_t length, unsigned pieces = 1) {
    HoldWrites(stream);
    Write* write = Queue(length, pieces);
    ReleaseWrites(stream);
    return write;
  }

  // What the engine does at the end of a turn. At most `limit` bytes go.
  ssize_t Flush(const CollectLimits& limits = {}, size_t limit = SIZE_MAX) {
    std::vector<iovec> list;
    size_t bytes = 0;
    if (CollectWrites(stream, 0, limits, &list, &bytes) == 0) return 0;
    for (iovec& item : list) {
      item.iov_len = std::min(item.iov_len, limit);
      limit -= item.iov_len;
    }
    msghdr message = {};
    message.msg_iov = list.data();
    message.msg_iovlen = list.size();
    ssize_t result = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (result < 0) result = -errno;
    AdvanceWrites(stream, result);
    return result;
  }

  void Drain(size_t most = SIZE_MAX) {
    char sink[4096];
    while (most > 0) {
      const ssize_t length = recv(peer, sink, std::min(sizeof(sink), most), MSG_DONTWAIT);
      if (length <= 0) return;
      came.append(sink, length);
      most -= length;
    }
  }

  void Finish() {
    for (int i = 0; i < 10000 && came.size() < sent.size(); ++i) {
      Turn();
      Drain();
    }
    Turn();
    Drain();
    EXPECT(came == sent);
  }
};

void Limits() {
  Rig rig;
  for (int i = 0; i < 5; ++i) rig.QueueHeld(10, 2);
  std::vector<iovec> list;
  size_t bytes = 0;
  EXPECT(CollectWrites(rig.stream, 0, {.iovecs = 1}, &list, &bytes) == 0);
  EXPECT(CollectWrites(rig.stream, 0, {.bytes = 9}, &list, &bytes) == 0);
  EXPECT(CollectWrites(rig.stream, 5, {}, &list, &bytes) == 0);
  EXPECT(CollectWrites(rig.stream, 9, {}, &list, &bytes) == 0);
  EXPECT(list.empty() && bytes == 0);
  // libuv still sends what we did not take.
  EXPECT((rig.stream->io_watcher.pevents & POLLOUT) != 0);
  EXPECT(CollectWrites(rig.stream, 0, {.iovecs = 5}, &list, &bytes) == 2);
  EXPECT(list.size() == 4 && bytes == 20);
  EXPECT((rig.stream->io_watcher.pevents & POLLOUT) == 0);
  EXPECT(CollectWrites(rig.stream, 2, {.bytes = 25}, &list, &bytes) == 2);
  EXPECT(list.size() == 8 && bytes == 40);
  EXPECT(std::memcmp(list[7].iov_base, rig.sent.data() + 35, 5) == 0);
  AdvanceWrites(rig.stream, 0);
  rig.Finish();
}

void NoBytes() {
  Rig rig;
  rig.QueueHeld(10);
  Write* empty = rig.QueueHeld(0);
  rig.QueueHeld(10);
  EXPECT(rig.Flush() == 10);
  EXPECT(rig.stream->write_queue_size == 10);
  rig.Finish();
  EXPECT(empty->status == 0 && empty->order == 2);
}

void SendHandle() {
  Rig rig(1);
  uv_pipe_t given;
  EXPECT(uv_pipe_init(&rig.loop, &given, 0) == 0);
  EXPECT(uv_pipe_open(&given, dup(rig.peer)) == 0);
  HoldWrites(rig.stream);
  rig.Queue(10);
  rig.Queue(10, 1, reinterpret_cast<uv_stream_t*>(&given));
  rig.Queue(10);
  ReleaseWrites(rig.stream);
  EXPECT(rig.Flush() == 10);
  EXPECT(rig.Flush() == 0);
  rig.Finish();
  uv_close(reinterpret_cast<uv_handle_t*>(&given), nullptr);
  rig.Turn();
}

void Holds() {
  Rig rig;
  uv_buf_t byte = uv_buf_init(const_cast<char*>("x"), 1);
  HoldWrites(rig.stream);
  HoldWrites(rig.stream);
  ReleaseWrites(rig.stream);
  EXPECT(uv_try_write(rig.stream, &byte, 1) == UV_EAGAIN);
  HoldWrites(rig.stream);
  EXPECT(ReleaseHeldWrites() == 2);
  ReleaseWrites(rig.stream);
  EXPECT(ReleaseHeldWrites() == 0);
  EXPECT(rig.stream->write_queue_size == 0);
  EXPECT(uv_try_write(rig.stream, &byte, 1) == 1);
  // An error is the same as without.
  EXPECT(shutdown(rig.peer, SHUT_RD) == 0);
  Write* write = rig.QueueHeld(10);
  EXPECT(rig.Flush() == -EPIPE);
  rig.Turn();
  EXPECT(write->status == UV_EPIPE);
}

void Rests() {
  Rig rig;
  Write* large = rig.Queue(32 * 1024);
  const std::string rest = rig.Next(1000);
  ended = 0;
  EXPECT(QueueRest(rig.stream, reinterpret_cast<const uint8_t*>(rest.data()), rest.size(), OnEnded,
                   &ended) == 0);
  const std::string more = rig.Next(1000);
  EXPECT(QueueRest(rig.stream, reinterpret_cast<const uint8_t*>(more.data()), more.size(), nullptr,
                   nullptr) == 0);
  rig.QueueHeld(10);
  EXPECT(ended == 0);
  rig.Finish();
  EXPECT(large->status == 0 && ended == 1 && end_status == 0);
  rig.Queue(32 * 1024);
  QueueRest(rig.stream, reinterpret_cast<const uint8_t*>(rest.data()), rest.size(), OnEnded,
            &ended);
  rig.Close();
  EXPECT(QueueRest(rig.stream, reinterpret_cast<const uint8_t*>(rest.data()), rest.size(), OnEnded,
                   &ended) == UV_EBADF);
  EXPECT(ended == 1);
  rig.Turn();
  EXPECT(ended == 2 && end_status == UV_ECANCELED);
}

// libuv waits for room when we find that there is some.
void Room() {
  Rig rig;
  rig.Queue(32 * 1024);
  EXPECT(!WaitsForRoom(rig.stream));
  rig.Turn();
  EXPECT(WaitsForRoom(rig.stream));
  rig.Drain();
  EXPECT(rig.Flush() > 0);
  EXPECT(WaitsForRoom(rig.stream));
  rig.QueueHeld(10);
  rig.Finish();
  rig.Turn();
  EXPECT(!WaitsForRoom(rig.stream));
  EXPECT(!HasQueuedWrites(rig.stream) && rig.stream->write_queue_size == 0);
}

// Each callback of a write makes the next one and sends it.
void InCallback() {
  static Rig* rig;
  static int depth;
  static int deepest;
  Rig here;
  rig = &here;
  depth = deepest = 0;
  static uv_write_cb next;
  next = [](uv_write_t* request, int status) {
    deepest = std::max(deepest, ++depth);
    OnWritten(request, status);
    if (rig->writes.size() < 100) {
      rig->QueueHeld(100)->request.cb = next;
      EXPECT(rig->Flush() == 100);
      rig->Drain();
    }
    --depth;
  };
  here.QueueHeld(100)->request.cb = next;
  EXPECT(here.Flush() == 100);
  for (int i = 0; i < 200; ++i) here.Turn();
  here.Finish();
  EXPECT(written == 100 && deepest == 1);
}

void Connecting() {
  uv_loop_t loop;
  uv_tcp_t server, client, accepted;
  sockaddr_in address;
  uv_connect_t connect;
  static int connected;
  static std::string came;
  connected = 0;
  came.clear();
  EXPECT(uv_loop_init(&loop) == 0 && uv_tcp_init(&loop, &server) == 0);
  EXPECT(uv_ip4_addr("127.0.0.1", 0, &address) == 0);
  EXPECT(uv_tcp_bind(&server, reinterpret_cast<sockaddr*>(&address), 0) == 0);
  server.data = &accepted;
  EXPECT(uv_listen(reinterpret_cast<uv_stream_t*>(&server), 1, [](uv_stream_t* listener, int) {
           uv_stream_t* stream = static_cast<uv_stream_t*>(listener->data);
           uv_tcp_init(listener->loop, reinterpret_cast<uv_tcp_t*>(stream));
           EXPECT(uv_accept(listener, stream) == 0);
           uv_read_start(
               stream,
               [](uv_handle_t*, size_t, uv_buf_t* buffer) {
                 static char memory[256];
                 *buffer = uv_buf_init(memory, sizeof(memory));
               },
               [](uv_stream_t*, ssize_t length, const uv_buf_t* buffer) {
                 if (length > 0) came.append(buffer->base, length);
               });
         }) == 0);
  int size = sizeof(address);
  EXPECT(uv_tcp_getsockname(&server, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  EXPECT(uv_tcp_init(&loop, &client) == 0);
  EXPECT(uv_tcp_connect(&connect, &client, reinterpret_cast<sockaddr*>(&address),
                        [](uv_connect_t*, int status) { connected += status == 0; }) == 0);
  uv_stream_t* stream = reinterpret_cast<uv_stream_t*>(&client);
  Write write;
  uv_buf_t buffer = uv_buf_init(const_cast<char*>("early"), 5);
  HoldWrites(stream);
  EXPECT(uv_write(&write.request, stream, &buffer, 1, OnWritten) == 0);
  ReleaseWrites(stream);
  std::vector<iovec> list;
  size_t bytes = 0;
  EXPECT(CollectWrites(stream, 0, {}, &list, &bytes) == 0);
  AdvanceWrites(stream, 0);
  EXPECT(connected == 0);
  for (int i = 0; i < 1000 && came.size() < 5; ++i) uv_run(&loop, UV_RUN_ONCE);
  EXPECT(connected == 1 && came == "early" && write.calls == 1 && write.status == 0);
  uv_os_fd_t fd;
  EXPECT(uv_fileno(reinterpret_cast<uv_handle_t*>(&client), &fd) == 0);
  EXPECT(FindStream(&loop, fd) == stream);
  for (uv_tcp_t* handle : {&server, &client, &accepted})
    uv_close(reinterpret_cast<uv_handle_t*>(handle), nullptr);
  uv_run(&loop, UV_RUN_DEFAULT);
  EXPECT(uv_loop_close(&loop) == 0);
}

// Anything, in any order: the peer gets all bytes in their places, and each write ends once.
void AnyOrder(unsigned seed) {
  std::mt19937 random(seed);
  const auto below = [&random](size_t n) { return random() % n; };
  const bool shut = below(2) == 0;
  Rig rig;
  if (below(2) == 0) {
    uv_read_start(
        rig.stream,
        [](uv_handle_t*, size_t, uv_buf_t* buffer) {
          static char memory[256];
          *buffer = uv_buf_init(memory, sizeof(memory));
        },
        [](uv_stream_t*, ssize_t, const uv_buf_t*) {});
  }
  for (int step = 0; step < 60; ++step) {
    switch (below(8)) {
      case 0:
        rig.Queue(below(200), 1 + below(3));
        break;
      case 1:
      case 2:
        rig.QueueHeld(1 + below(200), 1 + below(9));
        break;
      case 3:
        rig.QueueHeld(1 + below(9000), 1 + below(9));
        break;
      case 4:
        rig.Flush({.iovecs = 1 + below(20), .bytes = 1 + below(9000)}, 1 + below(4000));
        break;
      case 5:
        rig.Flush();
        break;
      case 6:
        rig.Turn();
        break;
      default:
        rig.Drain(below(6000));
    }
  }
  static int shut_after;
  static int shut_status;
  uv_shutdown_t request;
  shut_after = -1;
  if (shut) {
    EXPECT(uv_shutdown(&request, rig.stream, [](uv_shutdown_t*, int status) {
             shut_after = written;
             shut_status = status;
           }) == 0);
    rig.Flush();
  }
  rig.Finish();
  int order = 0;
  for (const Write& write : rig.writes) {
    EXPECT(write.calls == 1 && write.status == 0 && write.order > order);
    order = write.order;
  }
  if (!shut) return;
  rig.Turn();
  EXPECT(shut_after == order || rig.writes.empty());
  EXPECT(shut_status == 0);
  char end;
  EXPECT(recv(rig.peer, &end, 1, MSG_DONTWAIT) == 0);
}

void Run(const std::string& name) {
  failure.clear();
  written = 0;
  if (name == "limits") Limits();
  if (name == "noBytes") NoBytes();
  if (name == "sendHandle") SendHandle();
  if (name == "holds") Holds();
  if (name == "rests") Rests();
  if (name == "room") Room();
  if (name == "inCallback") InCallback();
  if (name == "connecting") Connecting();
  if (name != "anyOrder") return;
  for (unsigned seed = 1; seed <= 300 && failure.empty(); ++seed) {
    AnyOrder(seed);
    if (!failure.empty()) failure += " (seed " + std::to_string(seed) + ")";
  }
}

napi_value Scenario(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value argument;
  char name[32] = "";
  napi_get_cb_info(env, info, &count, &argument, nullptr, nullptr);
  napi_get_value_string_utf8(env, argument, name, sizeof(name), nullptr);
  Run(name);
  napi_value value;
  napi_create_string_utf8(env, failure.empty() ? "ok" : failure.c_str(), NAPI_AUTO_LENGTH, &value);
  return value;
}

}  // namespace

NAPI_MODULE_INIT() {
  napi_value function;
  napi_create_function(env, "scenario", NAPI_AUTO_LENGTH, Scenario, nullptr, &function);
  napi_set_named_property(env, exports, "scenario", function);
  return exports;
}
