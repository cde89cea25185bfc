// Receives for UDP handles of libuv's: many datagrams with one system call, and one call of
// JavaScript for all of them. The handles and their descriptors stay Node's, and sending is
// libuv's. On both drivers alike: it only watches (epoll(7)) and receives (recvmmsg(2)), so that
// nothing of a socket is in flight when its handle is closed.
#pragma once

#include <uv.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "datagrams.h"
#include "loop_engine.h"
#include "options.h"

namespace uring_net {

// Bytes of the pool for each datagram of a batch: the largest one and its header. No multiple of a
// page, or small datagrams would all lie in the same few sets of the cache.
inline constexpr uint32_t kDatagramSlotBytes = 65536 + kDatagramHeaderBytes;

class DatagramEngine final : public LoopEngine {
 public:
  DatagramEngine(napi_env env, EngineOwner* owner) : LoopEngine(env, owner) {}

  // 0 or -errno; after an error it may be deleted at once.
  int Start(uv_loop_t* loop, napi_value dispatch);

  // --- what JavaScript calls; arguments are of the right type ---

  // From now on what arrives at the descriptor is received. An id or -errno.
  int32_t Watch(int32_t fd);
  // Nothing of it is received any more, nor is it looked at. To be called before it is closed.
  int32_t Unwatch(int32_t id);
  void KeepAlive(bool on) { SetRef(on); }
  Counters Stats() const;

  napi_value MakePieces() { return View(pieces_region_); }
  napi_value MakePool() { return View(pool_); }

  // LoopEngine. It sends nothing.
  void Flush() override {}

 private:
  // Words before the pieces of a batch: how many, and the cursor.
  static constexpr uint32_t kHeaderWords = 2;
  // [id, result]. Piece i lies in slot i of the pool: a header as in datagrams.h, and the bytes.
  static constexpr uint32_t kPieceWords = 2;

  bool OnPrepare() override { return false; }
  void OnPoll() override;
  void OnCheck() override {}
  int End() override;

  int FdOf(int32_t id) const;
  // True when there may be more.
  bool Receive(int32_t id);
  void Deliver();

  int epoll_ = -1;
  struct Watched {
    int fd = -1;
    uint32_t generation = 0;
  };
  std::vector<Watched> watched_;
  std::deque<uint32_t> free_;

  std::shared_ptr<Region> pieces_region_;
  int32_t* pieces_ = nullptr;
  // Lifetime: the kernel writes there within a call of ours only.
  std::shared_ptr<Region> pool_;

  Counters counters_;
};

}  // namespace uring_net
