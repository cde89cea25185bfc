// The engine of UDP handles as a plain JavaScript object.
#pragma once

#include <napi.h>

#include "datagram_engine.h"
#include "js_call.h"

namespace uring_net {

// Empty when the engine of JavaScript refuses.
Napi::Value MakeDatagramObject(Napi::Env env, Handle<DatagramEngine>* handle);

}  // namespace uring_net
