// What both drivers share: taking commands, building and dispatching batches, closing endpoints,
// the libuv handles and the teardown. Knows endpoints and completions; the subclasses know how
// operations are carried out.
#pragma once

#include <napi.h>
#include <uv.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "contract.h"
#include "js_batch.h"
#include "memory.h"
#include "slots.h"
#include "socket_calls.h"

namespace uring_net {

struct Options {
  uint32_t arena_bytes = 0;
  uint32_t pool_bytes = 0;
  uint32_t submission_entries = 0;
  uint32_t completion_entries = 0;
  uint32_t command_capacity = 0;
  uint32_t batch_size = 0;
  uint32_t endpoints_max = 0;
  uint32_t gather_us = 0;
  uint64_t heap_bytes_max = 0;
  uint32_t disable = 0;
};

struct Command {
  int32_t opcode;
  int32_t id;
  int32_t a;
  int32_t b;
};

// What a completion does to its endpoint when it is put into a batch.
enum class Effect : uint8_t {
  kNone,    // a refusal: nothing was in flight
  kEndsOp,  // the operation's last completion
};

struct Completion {
  int32_t opcode;
  int32_t flags;
  int32_t id;
  int32_t result;
  int32_t extra;
  Effect effect;
};

struct Counters {
  uint64_t in_flight = 0;
  uint64_t submissions = 0;
  uint64_t completions = 0;
  uint64_t batches = 0;
  uint64_t enters = 0;
  uint64_t bytes_received = 0;
  uint64_t bytes_sent = 0;
  uint64_t pool_exhausted = 0;
  uint64_t overflows = 0;
  // Sends gathered for which the kernel had no room after all.
  uint64_t rests = 0;
  uint64_t heap_bytes = 0;
  uint32_t submission_entries = 0;
  uint32_t completion_entries = 0;
  uint32_t endpoints = 0;
  uint32_t features = 0;
};

class Driver;

// The environment a driver lives in: told when the driver's last libuv handle is closed, after
// which it may be deleted.
class DriverOwner {
 public:
  virtual void OnDriverGone(Driver* driver) = 0;

 protected:
  ~DriverOwner() = default;
};

class Driver {
 public:
  Driver(napi_env env, DriverOwner* owner, const Options& options);
  virtual ~Driver();
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

  // 0 or -errno; after an error the driver may be deleted at once.
  int Start(uv_loop_t* loop, napi_value dispatch);

  // Ends everything; see NativeDriver.close(). `detach` is false when the environment itself is
  // going down and has detached its buffers already. Returns the number of operations that would
  // not end.
  int Shutdown(bool detach);
  bool closed() const { return closed_; }
  // True when the kernel may still use this driver's memory: it must never be deleted.
  bool stuck() const { return stuck_ > 0; }

  // The interface of binding.ts, argument types already checked.
  void Submit();
  void Take();
  void SetRef(bool on);
  int Open(int32_t family);
  int Bind(int32_t id, std::string_view address, int32_t port, int32_t flags);
  int Connect(int32_t id, std::string_view address, int32_t port);
  int Listen(int32_t id, int32_t backlog);
  int Name(int32_t id, bool peer, SocketName* out);
  int Descriptor(int32_t id);
  int32_t SendNow(int32_t id, Pieces pieces);
  int32_t SendBlock(int32_t id, int32_t offset, int32_t length);
  int32_t Unsent(int32_t id);
  int32_t Offer(int32_t id, Pieces pieces);
  Counters Stats();

  // Views for JavaScript; null when the engine refuses.
  napi_value ArenaView(int32_t offset, int32_t length) {
    return MakeView(env_, arena_, static_cast<size_t>(offset), static_cast<size_t>(length));
  }
  // Whether that is a range of the arena that is not empty.
  bool IsInArena(int32_t offset, int32_t length) const;
  // Whether memory is the arena's.
  bool IsArena(const void* data, size_t length) const;

  enum Buffer { kCommandsBuffer, kCompletionsBuffer, kArenaBuffer, kPoolBuffer, kBufferCount };
  // The ArrayBuffer behind driver.commands and so on. Remembers it so that Shutdown can detach it.
  napi_value MakeBuffer(Buffer which);

 protected:
  // --- what a driver of a kind provides ---

  // Kernel side set-up (the pool's size may be rounded up to whole buffers). 0 or -errno.
  virtual int Setup() = 0;
  virtual int poll_descriptor() const = 0;
  virtual bool nonblocking_sockets() const = 0;
  // A connected or listening socket has come to be. 0 or -errno.
  virtual int Register(Slot& slot) = 0;
  // Whether `count` operations can be started now. May submit to make room.
  virtual bool Room(unsigned count) = 0;
  // Room() has been asked and the slot says kInFlight. The operation ends by Emit() or Post().
  virtual void StartReceive(Slot& slot) = 0;
  virtual void StartSend(Slot& slot) = 0;
  virtual void StartAccept(Slot& slot) = 0;
  // Of a connect that is in progress: tells when it is decided.
  virtual void StartConnect(Slot& slot) = 0;
  // The slot says kCancelling.
  virtual void StartCancel(Slot& slot, int32_t op) = 0;
  // Commands of the kind's own (opcodes from kOwnCommand on). False: no room now.
  virtual bool RunOwn(const Command&) { return true; }
  // Hands over to the kernel what was started.
  virtual void Flush() = 0;
  // Calls Emit() for what has completed until BatchFull(). Never calls JavaScript.
  virtual void Gather() = 0;
  // The batch of the last Gather() has been dispatched.
  virtual void Recycle() = 0;
  // Whether there is work that no descriptor's readiness will announce.
  virtual bool HasUnannouncedWork() const = 0;
  // Whether the kernel has taken the whole send in flight, although its completion was not emitted.
  virtual bool SendIsWhole(const Slot& slot) const = 0;
  // Whether bytes were received whose completion was not emitted.
  virtual bool HasReceived(const Slot&) const { return false; }
  // The poll descriptor became readable.
  virtual void OnReadable() {}
  // Ends all operations, waiting at most kDrainMs; returns how many would not. Accepted descriptors
  // are closed.
  virtual int Drain() = 0;
  // Closes ring or epoll descriptor; with `keep_mapped`, memory the kernel may use stays.
  virtual void Teardown(bool keep_mapped) = 0;
  virtual void FillStats(Counters*) {}

  // --- what the kinds use ---

  // Opcodes JavaScript cannot give. [kResume, id, op]: start, or go on with, an operation that is
  // in flight for JavaScript and unknown to the kernel.
  static constexpr int32_t kResume = 256;
  static constexpr int32_t kOwnCommand = 257;
  static constexpr int kDrainMs = 1000;

  uint32_t BatchSize() const {
    return first_ + static_cast<uint32_t>(others_.size() + failed_.size());
  }
  bool BatchFull() const { return BatchSize() >= options_.batch_size; }
  // Whether an end of stream that recv(2) reports is the connection's reset.
  bool EndIsReset(const Slot& slot) const;
  // Into the batch under construction; only from Gather().
  void Emit(const Completion& completion);
  void Emit(Slot& slot, int32_t op, bool more, int32_t result, int32_t extra = 0);
  // Adds to the receive that was emitted last, of the same slot, what follows it in the pool.
  void ExtendReceive(Slot& slot, bool more, int32_t bytes);
  // Into the queue that precedes the next batch; from anywhere.
  void Post(Slot& slot, int32_t op, int32_t result, int32_t extra = 0);
  // Moves what was posted into the batch.
  void EmitPosted();
  // A connection accepted on `listener`; the descriptor is ours. Returns the new id or -errno with
  // it closed.
  int32_t Admit(int fd, const Slot& listener);
  // Whether accept's -errno is dealt with, so that accepting goes on without telling JavaScript.
  bool AcceptErrorAbsorbed(Slot& listener, int error);
  void Defer(const Command& command) { deferred_.push_back(command); }
  void Resume(Slot& slot, int32_t op);
  bool has_posted() const { return !posted_.empty(); }
  // Gathered, and kept for the next Deliver().
  bool has_kept() const { return !others_.empty() || !failed_.empty(); }
  bool has_deferred() const { return !deferred_.empty(); }

  const Options options_;
  SlotTable slots_;
  Counters counters_;
  std::shared_ptr<Region> arena_;
  std::shared_ptr<Region> pool_;

 private:
  static void OnPrepare(uv_prepare_t* handle);
  static void OnPoll(uv_poll_t* handle, int status, int events);
  static void OnHandleClosed(uv_handle_t* handle);
  static void OnClosingPhase(uv_handle_t* handle);

  void Turn();
  int Deliver();
  void DeliverPosted();
  void Dispatch();
  int DeliverGathered();
  int DeliverFirst();
  void SealBatch(bool whole);
  void SubmitBetween(bool last);
  bool CommandsQueued() const { return commands_[0] != 0 || !deferred_.empty(); }
  uint32_t CommandCount() const;
  void TakeCommands();
  bool Run(const Command& command);
  bool RunClose(Slot& slot, int32_t how);
  void MarkReset(Slot& slot, int32_t how);
  bool RunResume(Slot* slot, int32_t op);
  static bool ComesFirst(const Completion& completion, const Slot* slot);
  void Refuse(const Command& command, int error);
  void FinishClose(Slot& slot);
  void FlushAll();
  void AnnounceClosed(const Slot& slot);
  void AwaitClosingPhase();
  void DeliverClosed();
  void AdvanceKeptOfClosed(std::vector<Completion>* kept);
  void EndStreams();
  bool EndStream(Slot& slot);
  bool IsUnread(const Slot& slot) const;
  void CloseDescriptor(Slot& slot);
  void EndOperation(Slot& slot, int32_t op);
  void StopHandles();
  void DropReferences(bool detach);
  Slot* FindOpen(int32_t id);
  int32_t TrySendNow(Slot* slot, Pieces pieces);
  void BeginRest(Slot& slot, SendProgress rest);
  bool HasQueuedWrite(int32_t id) const;

  napi_env env_;
  DriverOwner* const owner_;
  JsBatch js_;
  napi_ref buffers_[kBufferCount] = {};

  std::shared_ptr<Region> commands_region_;
  std::shared_ptr<Region> completions_region_;
  int32_t* commands_ = nullptr;
  int32_t* completions_ = nullptr;

  // Commands that found no room, in order; they go before any later one.
  std::deque<Command> deferred_;
  std::deque<Completion> posted_;
  // Connections whose close waits for operations to end.
  std::vector<int32_t> closing_;
  bool began_closing_ = false;
  // Endpoints that are closed; told in the loop's closing phase.
  std::deque<int32_t> closed_ids_;
  // The batch under construction: what comes first is written in place, the rest is appended when
  // it is sealed.
  uint32_t first_ = 0;
  // Whether JavaScript was given all of it.
  bool is_whole_ = false;
  std::vector<Completion> others_;
  // Sends that were cut short.
  std::vector<Completion> failed_;

  ReserveDescriptor reserve_;

  uv_poll_t poll_;
  uv_prepare_t prepare_;
  // Active while there is unannounced work: keeps the loop from sleeping.
  uv_idle_t idle_;
  // Never started: closed to be called back in the loop's closing phase.
  uv_idle_t closing_phase_;
  bool awaits_closing_phase_ = false;
  uv_loop_t* loop_ = nullptr;
  int handles_open_ = 0;

  // Turns of the loop so far.
  uint32_t turn_ = 0;
  bool dispatching_ = false;
  bool closed_ = false;
  int stuck_ = 0;
};

}  // namespace uring_net
