// One batch into JavaScript; see js_batch.h.
#include "js_batch.h"

#include <algorithm>

namespace uring_net {

namespace {

// Exceptions in a row after which a completion that could not be delivered is dropped.
constexpr int kUnmovedMax = 1 << 16;

}  // namespace

bool JsBatch::Init(napi_value dispatch) {
  napi_value run = nullptr;
  napi_value receiver = nullptr;
  // An object of its own: Node takes the receiver's `domain` for the domain to run in.
  return napi_create_object(env_, &receiver) == napi_ok &&
         napi_create_function(env_, "dispatch", NAPI_AUTO_LENGTH, RunInScope, this, &run) ==
             napi_ok &&
         napi_create_reference(env_, dispatch, 1, &dispatch_) == napi_ok &&
         napi_create_reference(env_, receiver, 1, &receiver_) == napi_ok &&
         napi_create_reference(env_, run, 1, &run_) == napi_ok;
}

void JsBatch::Drop() {
  for (napi_ref* reference : {&dispatch_, &run_, &receiver_}) {
    if (*reference != nullptr) napi_delete_reference(env_, *reference);
    *reference = nullptr;
  }
}

void JsBatch::Run(int32_t* cursor, int32_t count) {
  answer_ = 0;
  napi_handle_scope scope;
  if (run_ == nullptr || napi_open_handle_scope(env_, &scope) != napi_ok) return;
  napi_value run = nullptr;
  napi_value receiver = nullptr;
  napi_get_reference_value(env_, run_, &run);
  napi_get_reference_value(env_, receiver_, &receiver);
  cursor_ = cursor;
  count_ = count;
  // Async id 0, so that no hooks run.
  if (napi_make_callback(env_, nullptr, receiver, run, 0, nullptr, nullptr) != napi_ok) {
    // What the ticks at the end of the scope threw.
    ReportException();
  }
  cursor_ = nullptr;
  napi_close_handle_scope(env_, scope);
}

// False: nothing was thrown, so the environment is being terminated and runs no more JavaScript.
bool JsBatch::ReportException() {
  bool pending = false;
  napi_is_exception_pending(env_, &pending);
  if (!pending) return false;
  napi_value exception = nullptr;
  napi_get_and_clear_last_exception(env_, &exception);
  return exception != nullptr && napi_fatal_exception(env_, exception) == napi_ok;
}

napi_value JsBatch::RunInScope(napi_env env, napi_callback_info info) {
  void* data = nullptr;
  napi_get_cb_info(env, info, nullptr, nullptr, nullptr, &data);
  static_cast<JsBatch*>(data)->RunInScope();
  return nullptr;
}

// Called through the engine, inside the callback scope. What JavaScript throws has to be reported
// in here: reporting empties Node's stack of async ids, which the end of the scope otherwise finds
// corrupted when it was a tick that threw, and aborts the process.
void JsBatch::RunInScope() {
  // Somebody else got hold of the function and calls it.
  if (cursor_ == nullptr) return;
  napi_value dispatch = nullptr;
  napi_value receiver = nullptr;
  napi_get_reference_value(env_, dispatch_, &dispatch);
  napi_get_reference_value(env_, receiver_, &receiver);
  int32_t before = *cursor_;
  int unmoved = 0;
  napi_value answer = nullptr;
  while (napi_call_function(env_, receiver, dispatch, 0, nullptr, &answer) != napi_ok) {
    if (!ReportException() || cursor_ == nullptr || run_ == nullptr) return;
    // A tick that was due may throw before the cursor moves, and so may the next one: nothing has
    // been delivered then. Only what throws without end is given up, one completion at a time.
    unmoved = *cursor_ > before ? 0 : unmoved + 1;
    before = std::max(before, *cursor_);
    if (unmoved > kUnmovedMax) {
      ++before;
      unmoved = 0;
    }
    if (before > count_) return;
    *cursor_ = before;
  }
  napi_get_value_int32(env_, answer, &answer_);
}

}  // namespace uring_net
