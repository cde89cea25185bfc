// The epoll backend of the stream engine: libuv's own readiness tells when to receive, and a plain
// system call sends for each socket. What libuv does with a stream that it reads (references, ends,
// errors) it does here, too.
#include <uv.h>

#include <cerrno>
#include <vector>

#include "contract.h"
#include "options.h"
#include "stream_backend.h"

namespace uring_net {

namespace {

// What libuv reads at a time.
constexpr uint32_t kReadBytes = 64 * 1024;

class EpollStreams;

// libuv's callbacks are told a handle, whose data is Node's: whose it is follows from its
// descriptor.
struct Reader {
  EpollStreams* backend = nullptr;
  int32_t id = 0;
};
// Of the thread's loop, by descriptor; there while the thread has a backend. Not destroyed with the
// thread: that would take the C++ library.
thread_local std::vector<Reader>* readers = nullptr;
thread_local uint32_t backends = 0;

class EpollStreams final : public StreamBackend {
 public:
  EpollStreams() {
    if (backends++ == 0) readers = new std::vector<Reader>();
  }
  ~EpollStreams() override {
    if (--backends == 0) delete readers;
  }
  int Setup(StreamHost* host, const Options&) override {
    host_ = host;
    pool_ = Region::Map(kReadBytes);
    return pool_ ? 0 : -ENOMEM;
  }
  int poll_descriptor() const override { return -1; }
  const std::shared_ptr<Region>& pool() const override { return pool_; }
  int Arm(Stream& stream) override;
  void Disarm(Stream& stream) override;
  void Submit() override {}
  void Reap() override {}
  void SendAll(std::span<SendOp> ops) override { SendPlainly(ops); }
  void Recycle(uint64_t) override {}
  bool HasUnannouncedWork() const override { return false; }
  int Drain() override;
  void Teardown(bool) override {}

 private:
  static void OnAlloc(uv_handle_t* handle, size_t suggested, uv_buf_t* buffer);
  static void OnRead(uv_stream_t* handle, ssize_t count, const uv_buf_t* buffer);
  void Read(Stream& stream, ssize_t count);
  static Reader& ReaderOf(int fd);

  StreamHost* host_ = nullptr;
  std::shared_ptr<Region> pool_;
};

Reader& EpollStreams::ReaderOf(int fd) {
  const size_t at = static_cast<size_t>(fd);
  if (at >= readers->size()) readers->resize(at + 64);
  return (*readers)[at];
}

int EpollStreams::Arm(Stream& stream) {
  const int error = uv_read_start(stream.handle, OnAlloc, OnRead);
  if (error != 0) return error;
  stream.armed = true;
  ReaderOf(stream.fd) = {this, stream.id};
  return 0;
}

void EpollStreams::Disarm(Stream& stream) {
  stream.armed = false;
  ReaderOf(stream.fd) = {};
  uv_read_stop(stream.handle);
}

void EpollStreams::OnAlloc(uv_handle_t* handle, size_t, uv_buf_t* buffer) {
  // None: the read is told of ENOBUFS.
  *buffer = uv_buf_init(nullptr, 0);
  int fd;
  if (uv_fileno(handle, &fd) != 0) return;
  const Reader reader = ReaderOf(fd);
  if (reader.backend == nullptr) return;
  Stream* stream = reader.backend->host_->FindStreamById(reader.id);
  if (stream == nullptr) return;
  Region& pool = *reader.backend->pool_;
  *buffer = uv_buf_init(reinterpret_cast<char*>(pool.data()), kReadBytes);
}

void EpollStreams::OnRead(uv_stream_t* handle, ssize_t count, const uv_buf_t*) {
  int fd;
  if (count == 0 || count == UV_ENOBUFS) return;
  if (uv_fileno(reinterpret_cast<uv_handle_t*>(handle), &fd) != 0) return;
  const Reader reader = ReaderOf(fd);
  if (reader.backend == nullptr) return;
  Stream* stream = reader.backend->host_->FindStreamById(reader.id);
  if (stream != nullptr) reader.backend->Read(*stream, count);
}

// Delivered at once, in the order of libuv's events: what a program does with one socket comes
// before what happens to others. Lifetime: the bytes stay in the pool until the next read.
void EpollStreams::Read(Stream& stream, ssize_t count) {
  if (count < 0) Disarm(stream);
  host_->OnArrived(stream, count == UV_EOF ? 0 : static_cast<int32_t>(count), 0);
  host_->DeliverNow();
}

int EpollStreams::Drain() {
  for (Reader& reader : *readers) {
    if (reader.backend != this) continue;
    if (Stream* stream = host_->FindStreamById(reader.id)) Disarm(*stream);
  }
  return 0;
}

}  // namespace

std::unique_ptr<StreamBackend> MakeEpollStreams() { return std::make_unique<EpollStreams>(); }

}  // namespace uring_net
