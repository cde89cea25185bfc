// The shared half of the engines; see loop_engine.h.
#include "loop_engine.h"

#include <cerrno>

#include "contract.h"

namespace uring_net {

namespace {

template <typename Handle>
uv_handle_t* AsHandle(Handle* handle) {
  return reinterpret_cast<uv_handle_t*>(handle);
}

LoopEngine* EngineOf(const void* handle) {
  return static_cast<LoopEngine*>(static_cast<const uv_handle_t*>(handle)->data);
}

}  // namespace

LoopEngine::~LoopEngine() { URING_CHECK(handles_open_ == 0 && !stuck()); }

int LoopEngine::StartTurns(uv_loop_t* loop, napi_value dispatch, int poll_descriptor) {
  loop_ = loop;
  has_poll_ = poll_descriptor != -1;
  if (!js_.Init(dispatch)) return -ENOMEM;
  const int error = has_poll_ ? uv_poll_init(loop, &poll_, poll_descriptor) : 0;
  if (error != 0) {
    js_.Drop();
    return error;
  }
  uv_prepare_init(loop, &prepare_);
  uv_check_init(loop, &check_);
  uv_idle_init(loop, &idle_);
  handles_open_ = has_poll_ ? 4 : 3;
  prepare_.data = check_.data = idle_.data = poll_.data = this;
  uv_unref(AsHandle(&prepare_));
  uv_unref(AsHandle(&check_));
  uv_unref(AsHandle(&idle_));
  if (has_poll_) {
    uv_unref(AsHandle(&poll_));
    uv_poll_start(&poll_, UV_READABLE, [](uv_poll_t* handle, int, int) {
      LoopEngine* engine = EngineOf(handle);
      if (!engine->dispatching_) engine->OnPoll();
    });
  }
  uv_prepare_start(&prepare_, [](uv_prepare_t* handle) {
    LoopEngine* engine = EngineOf(handle);
    if (engine->dispatching_) return;
    if (engine->OnPrepare()) {
      uv_idle_start(&engine->idle_, [](uv_idle_t*) {});
    } else if (!engine->closed_) {
      uv_idle_stop(&engine->idle_);
    }
  });
  uv_check_start(&check_, [](uv_check_t* handle) {
    LoopEngine* engine = EngineOf(handle);
    if (!engine->dispatching_) engine->OnCheck();
  });
  return 0;
}

void LoopEngine::SetRef(bool on) {
  if (closed_) return;
  on ? uv_ref(AsHandle(&prepare_)) : uv_unref(AsHandle(&prepare_));
}

napi_value LoopEngine::View(const std::shared_ptr<Region>& region) {
  napi_value view = MakeView(env_, region, 0, region->size());
  if (view == nullptr) return nullptr;
  napi_ref reference = nullptr;
  if (napi_create_reference(env_, view, 1, &reference) != napi_ok) return nullptr;
  views_.push_back(reference);
  return view;
}

void LoopEngine::Dispatch(int32_t* cursor, int32_t count) {
  dispatching_ = true;
  js_.Run(cursor, count);
  dispatching_ = false;
}

int LoopEngine::Shutdown(bool detach) {
  if (closed_) return stuck_;
  Flush();
  closed_ = true;
  // uv_close stops watching at once, so that the descriptor may be closed after it; the memory of
  // the handles stays libuv's until the callbacks.
  if (has_poll_) uv_close(AsHandle(&poll_), OnHandleClosed);
  uv_close(AsHandle(&prepare_), OnHandleClosed);
  uv_close(AsHandle(&check_), OnHandleClosed);
  uv_close(AsHandle(&idle_), OnHandleClosed);
  stuck_ = End();
  DropReferences(detach);
  return stuck_;
}

void LoopEngine::OnHandleClosed(uv_handle_t* handle) {
  LoopEngine* engine = EngineOf(handle);
  if (--engine->handles_open_ == 0) engine->owner_->OnEngineGone(engine);
}

void LoopEngine::DropReferences(bool detach) {
  napi_handle_scope scope;
  if (napi_open_handle_scope(env_, &scope) != napi_ok) return;
  for (napi_ref reference : views_) {
    napi_value view = nullptr;
    if (detach && napi_get_reference_value(env_, reference, &view) == napi_ok && view != nullptr) {
      napi_detach_arraybuffer(env_, view);
    }
    napi_delete_reference(env_, reference);
  }
  views_.clear();
  js_.Drop();
  napi_close_handle_scope(env_, scope);
}

}  // namespace uring_net
