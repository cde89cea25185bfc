// A driver as a plain JavaScript object.
#pragma once

#include <napi.h>

#include "driver.h"
#include "js_call.h"

namespace uring_net {

// False when one is missing, not an integer or out of range.
bool ReadOptions(const Napi::Object& from, Options* out);

// Null when the engine refuses external memory.
Napi::Value MakeDriverObject(Napi::Env env, Handle<Driver>* handle);

// Counters by name.
Napi::Object MakeStats(Napi::Env env, const Counters& counters);

Napi::Array FeatureNames(Napi::Env env, uint32_t features);

}  // namespace uring_net
