// The stream engine as a plain JavaScript object.
#pragma once

#include <napi.h>

#include "js_call.h"
#include "stream_engine.h"

namespace uring_net {

// Empty when the engine of JavaScript refuses.
Napi::Value MakeEngineObject(Napi::Env env, Handle<StreamEngine>* handle);

}  // namespace uring_net
