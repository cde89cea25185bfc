// Small writes of one turn of the loop, waiting to be sent together. Owns the memory that
// JavaScript puts them into, and the thread that sends them when JavaScript keeps the loop's thread
// longer than they may wait. Never calls JavaScript.
#pragma once

#include <sys/uio.h>
#include <uv.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "memory.h"
#include "stream_backend.h"

namespace uring_net {

class SendBatch {
 public:
  // Words before the entries: how many entries there are; at how many JavaScript has to flush;
  // writes in this turn of the loop so far; how many of the bytes are used.
  static constexpr uint32_t kHeaderWords = 4;
  // [id, offset, length]: `length` bytes at `offset` of the bytes.
  static constexpr uint32_t kEntryWords = 3;
  static constexpr uint32_t kEntriesMax = 512;
  static constexpr uint32_t kBytes = 1 << 20;

  using FindStream = Stream* (*)(void* host, int32_t id);

  // What is gathered waits `delay_us` at most.
  SendBatch(void* host, FindStream find, uint32_t delay_us)
      : host_(host), find_(find), delay_us_(delay_us) {}
  ~SendBatch();

  // False when there is no memory.
  bool Map();
  const std::shared_ptr<Region>& entries() const { return entries_; }
  const std::shared_ptr<Region>& bytes() const { return bytes_; }

  // Held by whoever changes what FindStream answers, or closes a descriptor.
  std::mutex& mutex() { return mutex_; }

  uint32_t count() const {
    return std::min(std::atomic_ref<uint32_t>(words_[0]).load(std::memory_order_seq_cst),
                    kEntriesMax);
  }
  // So many writes are expected now; below 0: none is to be gathered.
  void MarkTurn(int32_t writes) { words_[2] = static_cast<uint32_t>(writes); }

  // The first entry was made: what waits is sent in delay_us at the latest. 0 or -errno.
  int Begin();
  // Sends all entries. Returns what each stream sent, valid until the next call; those with less
  // than all of it sent are for the caller to deal with, before anything else is sent on them.
  std::span<SendOp> Flush(StreamBackend& backend);

  // Sends what waits, from any thread.
  void SendLate();

  // Nothing is gathered, and the loop is about to sleep.
  void Rest();

 private:
  // 0 or -errno.
  int StartThread();
  void Watch();
  void SetTimer(int64_t us);
  // Null for an entry that names no stream or no range.
  Stream* Read(uint32_t index, iovec* piece);
  static void TakeLateResult(SendOp* op, ssize_t result, iovec* piece);
  void PlacePieces();
  void AdaptLimit(uint32_t entries);

  void* const host_;
  const FindStream find_;
  const uint32_t delay_us_;
  std::shared_ptr<Region> entries_;
  std::shared_ptr<Region> bytes_;
  uint32_t* words_ = nullptr;

  std::mutex mutex_;
  uv_thread_t thread_;
  bool has_thread_ = false;
  int timer_ = -1;
  std::atomic<bool> stopping_ = false;

  // Guarded by the mutex: entries that the thread has dealt with, and what each came to.
  uint32_t late_ = 0;
  std::vector<ssize_t> late_results_;

  // The loop's thread only.
  int64_t began_ns_ = 0;
  bool timed_ = false;
  bool is_armed_ = false;
  double entry_us_ = 10;
  static constexpr uint32_t kLimitFloor = 4;
  uint32_t limit_ = kLimitFloor;
  std::vector<iovec> pieces_;
  std::vector<iovec> placed_;
  // For each piece, the place of its op.
  std::vector<uint32_t> owners_;
  std::vector<SendOp> ops_;
};

}  // namespace uring_net
