// The table of endpoints: descriptor, generation, and the state of every operation that may be in
// flight. Owns the bookkeeping and the memory an operation needs beyond the arena; never makes a
// system call.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "contract.h"
#include "memory.h"
#include "socket_calls.h"

namespace uring_net {

enum class OpState : uint8_t {
  kIdle,        // none; a new one may start
  kInFlight,    // started, last completion not seen
  kCancelling,  // the same, and we asked the kernel to end it
  kEnding,      // over, its last completion waits in our own queue
};

enum class Life : uint8_t {
  kFree,
  kOpen,
  kClosing,  // close was commanded; operations are still ending
  kClosed,   // descriptor closed; the close completion is on its way
};

// The bytes of the send in flight: in the arena, or in `heap`.
struct SendProgress {
  const uint8_t* bytes = nullptr;
  uint32_t length = 0;
  uint32_t sent = 0;
  HeapBlock heap;
};

struct Slot {
  int32_t id = 0;
  int fd = -1;
  int family = 0;
  Life life = Life::kFree;
  bool listening = false;
  bool reset = false;
  bool from_reserve = false;  // the receive takes one buffer that is kept for those left empty
  bool reset_taken = false;   // a send has met the connection's reset, and taken the error with it
  uint8_t in_flight = 0;

  // Used by the epoll driver only.
  bool registered = false;
  bool readable = false;
  bool writable = false;
  bool read_to_end = false;  // a short read does not mean that the socket is empty
  bool listed = false;

  SendProgress send;
  // Path of a bound Unix socket, unlinked on close.
  std::string path;

  OpState state(int32_t op) const { return states_[op]; }
  bool idle(int32_t op) const { return states_[op] == OpState::kIdle; }
  bool active(int32_t op) const { return states_[op] == OpState::kInFlight; }

  // The only places where an operation's state changes.
  void Begin(int32_t op) {
    URING_CHECK(life == Life::kOpen && idle(op));
    states_[op] = OpState::kInFlight;
    ++in_flight;
  }
  void MarkCancelling(int32_t op) {
    URING_CHECK(states_[op] == OpState::kInFlight);
    states_[op] = OpState::kCancelling;
  }
  void MarkEnding(int32_t op) {
    URING_CHECK(states_[op] == OpState::kInFlight || states_[op] == OpState::kCancelling);
    states_[op] = OpState::kEnding;
  }
  void End(int32_t op) {
    URING_CHECK(!idle(op) && in_flight > 0);
    states_[op] = OpState::kIdle;
    --in_flight;
  }

 private:
  OpState states_[kOperationMax + 1] = {};
};

// Slots are allocated in chunks that never move: callers hold references across Acquire().
class SlotTable {
 public:
  explicit SlotTable(uint32_t max) : max_(max) {}

  // Returns null when `max` endpoints exist.
  Slot* Acquire(int fd, int family) {
    uint32_t index;
    if (free_.size() > kReuseDelay || (used_ == max_ && !free_.empty())) {
      index = free_.front();
      free_.pop_front();
    } else if (used_ < max_) {
      index = used_++;
      if (index % kChunk == 0) {
        chunks_.push_back(std::make_unique<Slot[]>(kChunk));
        generations_.resize(chunks_.size() * kChunk, 0);
      }
    } else {
      return nullptr;
    }
    Slot& slot = At(index);
    URING_CHECK(slot.life == Life::kFree);
    uint16_t& generation = generations_[index];
    generation = generation == kGenerationMax ? 1 : generation + 1;
    slot = Slot();
    slot.id = static_cast<int32_t>(static_cast<uint32_t>(generation) << kSlotBits | index);
    slot.fd = fd;
    slot.family = family;
    slot.life = Life::kOpen;
    ++count_;
    return &slot;
  }

  // Every field of the slot but its generation is forgotten.
  void Release(Slot& slot) {
    URING_CHECK(slot.life == Life::kClosed && slot.in_flight == 0);
    free_.push_back(static_cast<uint32_t>(slot.id) & kIndexMask);
    slot = Slot();
    --count_;
  }

  // Null for every id that is not that of an existing endpoint.
  Slot* Find(int32_t id) {
    const uint32_t index = static_cast<uint32_t>(id) & kIndexMask;
    if (id <= 0 || index >= used_) return nullptr;
    Slot& slot = At(index);
    return slot.life != Life::kFree && slot.id == id ? &slot : nullptr;
  }

  template <typename Visit>
  void ForEach(Visit visit) {
    for (uint32_t index = 0; index < used_; ++index) {
      if (At(index).life != Life::kFree) visit(At(index));
    }
  }

  uint32_t count() const { return count_; }
  bool full() const { return count_ >= max_; }

 private:
  static constexpr uint32_t kChunk = 256;
  static constexpr uint32_t kIndexMask = (1u << kSlotBits) - 1;
  // A freed slot waits for this many others before it is used again, so that a stale id stays stale
  // for long.
  static constexpr uint32_t kReuseDelay = 64;

  Slot& At(uint32_t index) { return chunks_[index / kChunk][index % kChunk]; }

  const uint32_t max_;
  uint32_t used_ = 0;
  uint32_t count_ = 0;
  std::vector<std::unique_ptr<Slot[]>> chunks_;
  std::vector<uint16_t> generations_;
  std::deque<uint32_t> free_;
};

}  // namespace uring_net
