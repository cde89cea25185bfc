// Receives and sends below libuv's own TCP and pipe handles, for sockets that only JavaScript
// reads: the table of streams, batches of what has arrived, gathered writes, the place in the
// loop's turn. The handles stay Node's; see libuv_stream.h for what is known of them. How bytes are
// received and sent is the backend's.
#pragma once

#include <napi.h>
#include <uv.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "contract.h"
#include "loop_engine.h"
#include "options.h"
#include "send_batch.h"
#include "stream_backend.h"

namespace uring_net {

class StreamEngine final : public LoopEngine, public StreamHost {
 public:
  StreamEngine(napi_env env, EngineOwner* owner, const Options& options,
               std::unique_ptr<StreamBackend> backend);

  // 0 or -errno; after an error it may be deleted at once.
  int Start(uv_loop_t* loop, napi_value dispatch);

  // --- what JavaScript calls; arguments are of the right type ---

  // The stream of the handle with this descriptor. An id or -errno.
  int32_t Attach(int32_t fd, bool is_unix);
  // Sends what is gathered, stops receiving, forgets the stream. As Disarm().
  int32_t Detach(int32_t id, std::string* bytes);
  // 0 or -errno.
  int32_t Arm(int32_t id);
  // Nothing arrives for it any more. Appends what had arrived and was not delivered; the header of
  // the pieces says how the stream has ended behind it. 0 or -EBADF.
  int32_t Disarm(int32_t id, std::string* bytes);
  // A piece with -EAGAIN arrives. 0 or -errno.
  int32_t Wake(int32_t id);
  // SO_LINGER with 0 seconds. 0 or -errno.
  int32_t ResetOnClose(int32_t id);
  // Bytes that the kernel has certainly room for, or -errno.
  int32_t Room(int32_t id);
  // What is gathered waits no longer than a moment from now. 0 or -errno.
  int32_t Begin() { return closed() ? -EBADF : batch_.Begin(); }
  // Sends what is gathered.
  void Flush() override;
  // Sends a range of the gathered bytes now. Bytes taken, or -errno.
  int32_t Send(int32_t id, int32_t offset, int32_t length);
  // Of a stream that has ended libuv's handle keeps nothing alive, though it is still to be told.
  void KeepAlive(bool on) { SetRef(on); }
  Counters Stats() const;

  enum Buffer { kPieces, kPool, kEntries, kBytes };
  napi_value MakeBuffer(Buffer which);

  // LoopEngine. The loop's own thread learns of it with its next flush.
  void FlushFromAnyThread() override { batch_.SendLate(); }

  // StreamHost
  Stream* FindStreamById(int32_t id) override;
  void OnArrived(Stream& stream, int32_t result, uint32_t offset) override;
  uint64_t arrived() const override { return arrived_; }

 private:
  // Words before the pieces of a batch: how many; the cursor; -errno when libuv has to receive; how
  // the stream has ended that was disarmed last.
  static constexpr uint32_t kHeaderWords = 4;
  // [id, result, offset, next]: where in this batch the stream's next piece is, or 0; and whether
  // the stream ends behind it: 1 and its -errno, times kEnds.
  static constexpr uint32_t kPieceWords = 4;
  static constexpr int32_t kEnds = 1 << 16;

  bool OnPrepare() override;
  void OnPoll() override { Deliver(); }
  void OnCheck() override;
  int End() override;

  void Deliver();
  void LetGo();
  bool FillBatch();
  void Emit(Stream& stream, int32_t result, uint32_t offset);
  bool HasWork() const;
  void Finish(const SendOp& op);
  void FailSend(Stream& stream, int32_t error);
  int32_t WhyBroken(const Stream& stream);
  int32_t TakeWaiting(Stream& stream, std::string* bytes);
  Piece& Waiting(uint64_t number) { return waiting_[number - taken_ - 1]; }
  int32_t* PieceWords(uint32_t place) { return pieces_ + kHeaderWords + place * kPieceWords; }

  const Options options_;
  std::unique_ptr<StreamBackend> backend_;
  SendBatch batch_;

  static constexpr uint32_t kIndexMask = (1u << kSlotBits) - 1;
  // Streams never move: the backend and the kernel know them by id, sends by address.
  std::vector<std::unique_ptr<Stream>> streams_;
  std::vector<uint32_t> generations_;
  std::deque<uint32_t> free_;
  uint32_t live_ = 0;
  // The one that was attached last.
  const Stream* latest_ = nullptr;

  std::shared_ptr<Region> pieces_region_;
  int32_t* pieces_ = nullptr;

  // What has arrived and is not in a batch yet. Piece `n` of all that have arrived is at
  // [n - taken_ - 1].
  std::deque<Piece> waiting_;
  std::deque<int32_t> wakes_;
  // Streams that ended in a turn in which they brought bytes: libuv reads once in a turn.
  std::deque<int32_t> late_ends_;
  // Sends that failed.
  std::vector<Piece> failed_;
  uint64_t arrived_ = 0;
  uint64_t taken_ = 0;
  uint64_t batch_number_ = 0;
  uint64_t turn_ = 1;

  Counters counters_;
};

}  // namespace uring_net
