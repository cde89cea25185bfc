// Calls JavaScript's dispatch function for a batch: one callback scope for all of it, exceptions
// reported where they happen. Owns the references; knows nothing of what is in the batch.
#pragma once

#include <napi.h>

#include <cstdint>

namespace uring_net {

class JsBatch {
 public:
  explicit JsBatch(napi_env env) : env_(env) {}

  // False when the engine refuses.
  bool Init(napi_value dispatch);
  void Drop();

  // Calls dispatch until `*cursor` has reached `count`: it is called again after an exception. Word
  // `cursor` is JavaScript's to move, before it runs a callback.
  void Run(int32_t* cursor, int32_t count);
  // What dispatch said (0 if nothing).
  int32_t answer() const { return answer_; }

 private:
  static napi_value RunInScope(napi_env env, napi_callback_info info);
  void RunInScope();
  bool ReportException();

  napi_env env_;
  napi_ref dispatch_ = nullptr;
  napi_ref run_ = nullptr;
  napi_ref receiver_ = nullptr;
  int32_t* cursor_ = nullptr;
  int32_t count_ = 0;
  int32_t answer_ = 0;
};

}  // namespace uring_net
