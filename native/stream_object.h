// The stream engine as a JavaScript object: reads arguments, checks their types.
#pragma once

#include <napi.h>

#include "stream_engine.h"

namespace uring_net {

struct EngineHandle {
  // Null when it is closed.
  StreamEngine* engine = nullptr;
  int closed_with = 0;
};

// Empty when the engine of JavaScript refuses.
Napi::Value MakeEngineObject(Napi::Env env, EngineHandle* handle);

}  // namespace uring_net
