// A driver as a plain JavaScript object.
#pragma once

#include <napi.h>

#include "driver.h"
#include "js_call.h"

namespace uring_net {

// Empty when the engine of JavaScript refuses.
Napi::Value MakeDriverObject(Napi::Env env, Handle<Driver>* handle);

}  // namespace uring_net
