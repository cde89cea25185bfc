// What every engine shares: its libuv handles and the places in the loop's turn where it works, the
// JavaScript function that it calls, the views of its memory, and its end. Knows nothing of
// sockets.
#pragma once

#include <napi.h>
#include <uv.h>

#include <memory>
#include <vector>

#include "js_batch.h"
#include "memory.h"

namespace uring_net {

class LoopEngine;

// The environment an engine lives in.
class EngineOwner {
 public:
  // The engine's last libuv handle is closed; it may be deleted.
  virtual void OnEngineGone(LoopEngine* engine) = 0;

 protected:
  ~EngineOwner() = default;
};

class LoopEngine {
 public:
  LoopEngine(napi_env env, EngineOwner* owner) : env_(env), owner_(owner), js_(env) {}
  virtual ~LoopEngine();
  LoopEngine(const LoopEngine&) = delete;
  LoopEngine& operator=(const LoopEngine&) = delete;

  // Ends everything; nothing is dispatched any more. `detach` is false when the environment itself
  // is going down and has detached its buffers already. Returns the number of operations that would
  // not end.
  int Shutdown(bool detach);
  bool closed() const { return closed_; }
  // True when the kernel may still use this engine's memory: it must never be deleted.
  bool stuck() const { return stuck_ > 0; }

  void SetRef(bool on);

  // The process is about to end: hands over what is to be sent, without waiting.
  virtual void Flush() = 0;
  // The same for what other threads may send, from any thread.
  virtual void FlushFromAnyThread() {}

 protected:
  // Starts to work in the loop's turns. `poll_descriptor` becomes readable when there is something
  // to take; -1 if there is none. 0 or -errno: then nothing was started.
  int StartTurns(uv_loop_t* loop, napi_value dispatch, int poll_descriptor);

  // Before the loop sleeps. True when there is work that nothing will announce.
  virtual bool OnPrepare() = 0;
  virtual void OnPoll() = 0;
  // After the poll phase, before immediates.
  virtual void OnCheck() = 0;
  // Ends all operations, waiting a bounded time; returns how many would not end.
  virtual int End() = 0;

  // An ArrayBuffer over a region, or null. Shutdown detaches it.
  napi_value View(const std::shared_ptr<Region>& region);

  // Calls dispatch until `*cursor` has reached `count`. Whatever JavaScript calls meanwhile, no
  // phase of the loop comes through.
  void Dispatch(int32_t* cursor, int32_t count);

  napi_env env() const { return env_; }
  uv_loop_t* loop() const { return loop_; }
  bool dispatching() const { return dispatching_; }

 private:
  static void OnHandleClosed(uv_handle_t* handle);
  void DropReferences(bool detach);

  napi_env env_;
  EngineOwner* const owner_;
  JsBatch js_;
  std::vector<napi_ref> views_;

  uv_poll_t poll_;
  uv_prepare_t prepare_;
  uv_check_t check_;
  // Active while there is unannounced work: keeps the loop from sleeping.
  uv_idle_t idle_;
  bool has_poll_ = false;
  uv_loop_t* loop_ = nullptr;
  int handles_open_ = 0;

  bool dispatching_ = false;
  bool closed_ = false;
  int stuck_ = 0;
};

}  // namespace uring_net
