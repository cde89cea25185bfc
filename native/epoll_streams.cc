// The epoll backend of the stream engine: libuv receives by itself, and a plain system call sends
// for each socket. On epoll a receive of ours saves no call, and costs what libuv's costs and the
// way to JavaScript besides.
#include <cerrno>

#include "stream_backend.h"

namespace uring_net {

namespace {

class EpollStreams final : public StreamBackend {
 public:
  int Setup(StreamHost*, const Options&) override {
    pool_ = Region::Map(1);
    return pool_ ? 0 : -ENOMEM;
  }
  int poll_descriptor() const override { return -1; }
  const std::shared_ptr<Region>& pool() const override { return pool_; }
  int Arm(Stream&) override { return -ENOTSUP; }
  void Disarm(Stream&) override {}
  void Submit() override {}
  void Reap() override {}
  void SendAll(std::span<SendOp> ops) override { SendPlainly(ops); }
  void Recycle(uint64_t) override {}
  bool HasUnannouncedWork() const override { return false; }
  int Drain() override { return 0; }
  void Teardown(bool) override {}

 private:
  // Nothing is ever in it.
  std::shared_ptr<Region> pool_;
};

}  // namespace

std::unique_ptr<StreamBackend> MakeEpollStreams() { return std::make_unique<EpollStreams>(); }

}  // namespace uring_net
