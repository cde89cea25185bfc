// native/libuv_stream.cc as an addon, with nothing of the engine around it: libuv-facts.test.ts
// also builds it for other layouts than the one of the libuv that it runs on. Functions answer
// null, or what did not hold.
#include <node_api.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

#include "libuv_stream.h"

namespace {

using uring_net::FindStream;
using uring_net::HasQueuedWrites;
using uring_net::QueueRest;

#define STRING(x) #x
#define LINE(x) STRING(x)
#define EXPECT(condition)                                            \
  do {                                                               \
    if (!(condition)) return "line " LINE(__LINE__) ": " #condition; \
  } while (0)

constexpr size_t kLargeBytes = 32 * 1024;

int written = 0;
int last_status = 1;

void OnWritten(uv_write_t*, int status) {
  ++written;
  last_status = status;
}

int Queue(uv_stream_t* stream, const std::string& rest) {
  return QueueRest(stream, reinterpret_cast<const uint8_t*>(rest.data()), rest.size());
}

void Close(uv_loop_t* loop, uv_stream_t* stream) {
  uv_close(reinterpret_cast<uv_handle_t*>(stream), nullptr);
  uv_run(loop, UV_RUN_NOWAIT);
}

// Rests leave in their place, and are cancelled with the stream.
const char* Rests() {
  uv_loop_t loop;
  uv_pipe_t pipe;
  auto* stream = reinterpret_cast<uv_stream_t*>(&pipe);
  int pair[2];
  EXPECT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
  const int least = 1;
  setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &least, sizeof(least));
  EXPECT(uv_loop_init(&loop) == 0 && uv_pipe_init(&loop, &pipe, 0) == 0);
  EXPECT(uv_pipe_open(&pipe, pair[0]) == 0);
  EXPECT(FindStream(&loop, pair[0]) == stream && FindStream(&loop, pair[1]) == nullptr);

  std::string large(kLargeBytes, 'l');
  std::string behind = "behind";
  uv_write_t requests[3];
  const auto write = [&](uv_write_t* request, std::string* bytes) {
    const uv_buf_t buffer = uv_buf_init(bytes->data(), bytes->size());
    return uv_write(request, stream, &buffer, 1, OnWritten);
  };
  EXPECT(!HasQueuedWrites(stream) && Queue(stream, "at once") == 0 && !HasQueuedWrites(stream));
  EXPECT(write(&requests[0], &large) == 0 && HasQueuedWrites(stream));
  EXPECT(Queue(stream, "first") == 0 && Queue(stream, "second") == 0);
  EXPECT(write(&requests[1], &behind) == 0 && written == 0);
  std::string came;
  for (int i = 0; i < 1000 && written < 2; ++i) {
    char bytes[4096];
    ssize_t length;
    while ((length = recv(pair[1], bytes, sizeof(bytes), 0)) > 0) came.append(bytes, length);
    uv_run(&loop, UV_RUN_NOWAIT);
  }
  char bytes[64];
  const ssize_t length = recv(pair[1], bytes, sizeof(bytes), 0);
  if (length > 0) came.append(bytes, length);
  EXPECT(came == "at once" + large + "firstsecondbehind");
  EXPECT(written == 2 && last_status == 0 && !HasQueuedWrites(stream));

  EXPECT(write(&requests[2], &large) == 0 && Queue(stream, "cut off") == 0);
  uv_close(reinterpret_cast<uv_handle_t*>(stream), nullptr);
  EXPECT(Queue(stream, "too late") == UV_EBADF);
  uv_run(&loop, UV_RUN_NOWAIT);
  EXPECT(written == 3 && last_status == UV_ECANCELED);
  EXPECT(uv_loop_close(&loop) == 0 && close(pair[1]) == 0);
  return nullptr;
}

// Among many, in whatever order they come and go.
const char* Finds() {
  constexpr int kCount = 32;
  uv_loop_t loop;
  uv_tcp_t tcp[kCount];
  uv_pipe_t pipes[kCount];
  uv_timer_t timers[kCount];
  int pairs[kCount][2];
  EXPECT(uv_loop_init(&loop) == 0);
  const auto stream = [](auto& handle) { return reinterpret_cast<uv_stream_t*>(&handle); };
  for (int i = 0; i < kCount; ++i) {
    EXPECT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pairs[i]) == 0);
    EXPECT(uv_tcp_init(&loop, &tcp[i]) == 0 && uv_pipe_init(&loop, &pipes[i], 0) == 0);
    EXPECT(uv_timer_init(&loop, &timers[i]) == 0);
    EXPECT(FindStream(&loop, pairs[i][0]) == nullptr);
    EXPECT(uv_tcp_open(&tcp[i], pairs[i][0]) == 0 && uv_pipe_open(&pipes[i], pairs[i][1]) == 0);
  }
  for (int i = 0; i < kCount; i += 3) Close(&loop, stream(tcp[i]));
  for (int i = 0; i < kCount; ++i) {
    EXPECT(FindStream(&loop, pairs[i][0]) == (i % 3 == 0 ? nullptr : stream(tcp[i])));
    EXPECT(FindStream(&loop, pairs[i][1]) == stream(pipes[i]));
  }
  // Wherever the search begins.
  for (int i = 0; i < kCount; ++i) {
    for (int near : {0, i, (i + 1) % kCount, kCount - 1}) {
      EXPECT(FindStream(&loop, pairs[i][1], stream(pipes[near])) == stream(pipes[i]));
    }
  }
  EXPECT(FindStream(&loop, -1) == nullptr);
  for (int i = 0; i < kCount; ++i) {
    if (i % 3 != 0) Close(&loop, stream(tcp[i]));
    Close(&loop, stream(pipes[i]));
    uv_close(reinterpret_cast<uv_handle_t*>(&timers[i]), nullptr);
  }
  uv_run(&loop, UV_RUN_NOWAIT);
  EXPECT(uv_loop_close(&loop) == 0);
  return nullptr;
}

template <const char* (*kTrial)()>
napi_value Try(napi_env env, napi_callback_info) {
  const char* reason = kTrial();
  napi_value value;
  if (reason == nullptr) {
    napi_get_null(env, &value);
  } else {
    napi_create_string_utf8(env, reason, NAPI_AUTO_LENGTH, &value);
  }
  return value;
}

void Export(napi_env env, napi_value exports, const char* name, napi_callback callback) {
  napi_value function;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, nullptr, &function);
  napi_set_named_property(env, exports, name, function);
}

}  // namespace

NAPI_MODULE_INIT() {
  Export(env, exports, "prove", Try<uring_net::ProveLibuv>);
  Export(env, exports, "rests", Try<Rests>);
  Export(env, exports, "finds", Try<Finds>);
  return exports;
}
